"""States keep their meaning on another device and in another dtype."""

from dataclasses import fields

import torch
from small_states import states_of
from torch import Tensor

from goldrm.reward_model.states import States


def tensors_of(states: States) -> dict[str, Tensor]:
    return {field.name: getattr(states, field.name) for field in fields(states)}


def test_numbers_change_their_dtype_and_indices_do_not():
    completions = [torch.full((length, 4), 0.5).half() for length in (2, 3)]
    states = states_of(completions, [torch.ones(6, 4).half()], [0, 0])
    there = tensors_of(states.to(torch.device("meta"), torch.float32))
    assert {tensor.device.type for tensor in there.values()} == {"meta"}
    floats = {name for name, tensor in there.items() if tensor.dtype == torch.float32}
    assert floats == {"rows", "prompt_rows"}
    assert {there[name].dtype for name in there.keys() - floats} == {torch.int64}
    back = tensors_of(states.to(torch.device("cpu"), torch.float32))
    for name, tensor in tensors_of(states).items():
        assert back[name].tolist() == tensor.tolist()


def test_the_prompts_last_token_is_not_a_completions_own():
    states = states_of([torch.zeros(3, 1), torch.zeros(1, 1), torch.zeros(2, 1)])
    assert states.is_own.flatten().tolist() == [0, 1, 1, 0, 0, 1]
    assert states.tokens.offsets.tolist() == [0, 3, 4]

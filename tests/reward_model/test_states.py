"""States keep their meaning on another device and in another dtype."""

import torch
from small_states import states_of

from goldrm.reward_model.lm_log_probs import LM_LOG_PROBS


def test_numbers_change_their_dtype_and_indices_do_not():
    completions = [torch.full((length, 4 + LM_LOG_PROBS), 0.5).half() for length in (2, 3)]
    states = states_of(completions, [torch.ones(6, 4).half()], [0, 0])
    there = states.to(torch.device("meta"), torch.float32)
    floats = (there.rows, there.lm_log_probs, there.prompt_rows)
    indices = (
        there.token_rows,
        there.token_counts,
        there.prompt_token_counts,
        there.prompt,
    )
    assert {tensor.device.type for tensor in (*floats, *indices)} == {"meta"}
    assert {tensor.dtype for tensor in floats} == {torch.float32}
    assert {tensor.dtype for tensor in indices} == {torch.int64}
    back = states.to(torch.device("cpu"), torch.float32)
    assert torch.equal(back.rows, states.rows.float())
    assert torch.equal(back.prompt, states.prompt)


def test_the_prompts_last_token_is_not_a_completions_own():
    states = states_of([torch.zeros(3, 1), torch.zeros(1, 1), torch.zeros(2, 1)])
    assert states.is_own.flatten().tolist() == [0, 1, 1, 0, 0, 1]
    assert states.tokens.offsets.tolist() == [0, 3, 4]

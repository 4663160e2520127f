"""What the exported reward model computes is what the reward model does, whatever pads a text."""

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from exported_models import PAIRED, PROMPTS, READOUTS
from small_sorting import random_backbone, small_sorting
from torch import Tensor

from goldrm.commands.params import Params
from goldrm.huggingface.rewards import Rewards
from goldrm.lm.model import right_aligned
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.model import RewardModel
from goldrm.reward_model.params import PlainEnsembleParams, ReadoutParams
from goldrm.task.arithmetic_series import ArithmeticSeries
from goldrm.task.prompts import Prompts
from goldrm.task.sorting import Sorting


def rewards_of(
    model: RewardModel, readout: ReadoutParams, prompts: type[Prompts] = ArithmeticSeries
) -> Rewards:
    """The exported one with the same weights."""
    tokens, patterns = model.dictionary.tokens, prompts.patterns
    rewards = Rewards(model.backbone.sizes, readout, model.ensemble, tokens, patterns)
    rewards.backbone.load_state_dict(model.backbone.state_dict())
    for own, member in zip(rewards.members, model.members, strict=True):
        own.load_state_dict(member.state_dict())
    return rewards


@pytest.fixture(params=list(READOUTS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(kind: str, reward_models: dict[str, RewardModel]) -> RewardModel:
    return reward_models[kind]


@pytest.fixture
def rewards(kind: str, model: RewardModel) -> Rewards:
    return rewards_of(model, READOUTS[kind])


@pytest.fixture
def token_ids(model: RewardModel) -> list[list[int]]:
    return [model.dictionary.encode(f"{prompt} {own}") for prompt, own in PAIRED]


@pytest.fixture
def expected(model: RewardModel) -> Tensor:
    scores = torch.tensor(model.score(*map(list, zip(*PAIRED, strict=True))))
    assert scores.unique().numel() > len(PAIRED) // 2  # or equal ones would prove little
    return scores


def test_every_kind_of_readout_is_tried_here():
    union, _ = get_args(ReadoutParams)
    kinds = {get_args(params.model_fields["kind"].annotation) for params in get_args(union)}
    assert kinds == {(kind,) for kind in READOUTS}


def left(rows: Sequence[list[int]], pad: int) -> Tensor:
    return right_aligned(list(rows), 42, pad)


def right(rows: Sequence[list[int]], pad: int) -> Tensor:
    return left([row[::-1] for row in rows], pad).flip(1)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("padded", [left, right])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_padding_and_an_end_token_change_no_reward(
    rewards: Rewards,
    token_ids: list[list[int]],
    expected: Tensor,
    padded,
    masked: bool,
    ended: bool,
):
    sizes = rewards.backbone.sizes
    rows = padded([row + [sizes.eos_int] * ended for row in token_ids], sizes.padding_int)
    mask = (rows != sizes.padding_int).long() if masked else None
    torch.testing.assert_close(rewards(rows, mask), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_rest_of_the_batch_changes_no_reward(
    rewards: Rewards, token_ids: list[list[int]], expected: Tensor
):
    alone = torch.cat([rewards(torch.tensor([row]), None) for row in token_ids])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_the_mask_leaves_out_is_not_read(
    rewards: Rewards, token_ids: list[list[int]], expected: Tensor
):
    rows = torch.tensor([[*token_ids[0], 5, 6]])
    mask = torch.tensor([[1] * len(token_ids[0]) + [0, 0]])
    torch.testing.assert_close(rewards(rows, mask), expected[:1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_training_mode_and_16_bits_around_it_change_no_reward(
    rewards: Rewards, token_ids: list[list[int]], expected: Tensor
):
    rows = left(token_ids, rewards.backbone.sizes.padding_int)
    with torch.autocast("cpu", torch.bfloat16):
        found = rewards.train()(rows, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["the series 3 4", PROMPTS[0].rpartition(" ")[0], ""])
def test_a_text_without_a_prompt_of_the_task_is_refused(
    rewards: Rewards, model: RewardModel, text: str
):
    rows = torch.tensor([model.dictionary.encode(f"<PAD> {text}")])
    with pytest.raises(ValueError, match="begins with no prompt that this reward model"):
        rewards(rows, None)


@torch.no_grad()
def test_prompts_of_another_task_are_told_from_their_completions(params: Params):
    """Where both are mostly numbers; the padding token is another one, too."""
    task, readout = small_sorting(params, held_out_numbers=8), READOUTS["token_damage"]
    backbone = random_backbone(task)
    members = [new_readout(readout, backbone.sizes, seed=0)]
    model = RewardModel(
        backbone, members, PlainEnsembleParams(members=1, combine="mean"), task.dictionary
    )
    prompts = [task.space[i].text for i in (0, 1, 9)]
    pairs = [(prompt, own) for prompt in prompts for own in ("3 4 9", "7 <SEP> numbers", "")]
    expected = torch.tensor(model.score(*map(list, zip(*pairs, strict=True))))
    assert expected.unique().numel() == len(pairs)
    rewards = rewards_of(model, readout, Sorting)
    rows = [task.dictionary.encode(f"{prompt} {own}") for prompt, own in pairs]
    for padded in (left, right):
        found = rewards(padded(rows, task.dictionary.pad_id), None)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    foreign = torch.tensor([task.dictionary.encode("sort 3 4")])
    with pytest.raises(ValueError, match="begins with no prompt"):
        rewards(foreign, None)

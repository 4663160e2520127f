"""The readout of every token is what its formula says, in any company."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from small_states import states_of
from torch import Tensor
from torch.nn import functional as F

from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.lm_log_probs import LM_LOG_PROBS
from goldrm.reward_model.params import TokenDamageParams
from goldrm.reward_model.scale import Standardised
from goldrm.reward_model.states import States
from goldrm.reward_model.token_damage import TokenDamageReadout


@pytest.fixture
def damage(token_damage: TokenDamageParams, small_sizes: BackboneSizes) -> TokenDamageReadout:
    """With a scale, deviations that add up to much over many rows, and attention that chooses."""
    readout = new_readout(token_damage, small_sizes, seed=0)
    assert isinstance(readout, TokenDamageReadout)
    completions = states_of([3 + 2 * some_rows(50, seed=4)], [1 - some_rows(30, 24, seed=5)])
    readout.fit_scale(completions, torch.tensor([7.0]))
    torch.nn.init.constant_(readout.token_judgement.deviations.bias, 3.0)
    readout.prompt_attention.queries.weight.data *= 8
    return readout.eval().requires_grad_(False)


def some_rows(count: int, width: int = 51, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def some_states(lengths: Sequence[int], prompts: Sequence[int], prompt: Sequence[int]) -> States:
    """Random ones, of such lengths."""
    return states_of(
        some_rows(sum(lengths)).split(list(lengths)),
        some_rows(sum(prompts), 24).split(list(prompts)),
        prompt,
    )


def scaled(values: Tensor, scale: Standardised) -> Tensor:
    return (values - scale.mean) / scale.deviation


def damage_reward(readout: TokenDamageReadout, rows: Tensor, prompt_rows: Tensor) -> float:
    """The reward of one completion, query by query and token by token."""
    states = scaled(rows[:, :48], readout.scale.rows)
    log_probs = scaled(rows[:, 48:], readout.scale.lm_log_probs)
    prompt = scaled(prompt_rows, readout.scale.prompt_rows)

    attention = readout.prompt_attention
    weights = torch.softmax(attention.queries(prompt), dim=0).T
    values = [prompt @ matrix for matrix in attention.values]
    answers = torch.cat([own @ value for own, value in zip(weights, values, strict=True)])

    judgement, damage_sum = readout.token_judgement, readout.damage_sum
    kinds = damage_sum.damage.out_features
    so_far, total = torch.zeros(kinds), torch.zeros(kinds)
    carried = F.relu(damage_sum.carried.bias)  # of a completion without tokens: nothing seen
    for (before, expected_before), (at, expected_at) in pairwise(
        zip(states, log_probs, strict=True)
    ):
        both = judgement.previous_and_current(torch.stack((before, at)))
        of_before, of_at = both.chunk(2, dim=1)
        linear = of_before[0] + of_at[1] + judgement.answers(answers)
        expected = judgement.lm_log_probs(torch.cat((expected_before, expected_at)))
        features = F.relu(judgement.features(F.relu(linear[:-kinds] + expected)))
        so_far = so_far + linear[-kinds:] + judgement.deviations(features)
        seen = torch.cat((features, so_far.relu(), (-so_far).relu()))
        carried = F.relu(damage_sum.carried(seen))
        total = total + F.softplus(damage_sum.damage(carried))

    missing = damage_sum.missing
    end = missing.rows(states[-1]) + missing.lm_log_probs(log_probs[-1]) + missing.answers(answers)
    hidden = F.relu(missing.hidden(torch.cat((F.relu(end), carried))))
    total = total + F.softplus(missing.damage(hidden))
    reward = readout.damage_reward
    return reward.reward(F.relu(reward.hidden(torch.log(1 + total)))).item()


def test_reward_is_the_completions_own(damage: TokenDamageReadout):
    """Whatever stands before or behind it and its prompt, to 1e-5, however much company."""
    damage.ceiling.fill_(torch.inf)
    completions = some_rows(5575).split([i % 15 + 1 for i in range(700)])
    prompts = some_rows(45, 24).split([1, 21, 9, 1, 13])
    prompt = [3 * i % 5 for i in range(700)]
    together = damage(states_of(completions, prompts, prompt))
    backwards = states_of(completions[::-1], prompts[::-1], [4 - each for each in prompt[::-1]])
    pairs = zip(completions, prompt, strict=True)
    alone = [damage_reward(damage, rows, prompts[own]) for rows, own in pairs]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert damage(backwards).flip(0).tolist() == pytest.approx(alone, abs=1e-5)
    assert torch.tensor(alone).std() > 1e-3, "the rewards should differ"


def test_shared_rows_are_as_good_as_their_copies(damage: TokenDamageReadout):
    """Completions that begin alike share rows, not what is expected there; in any order."""
    damage.ceiling.fill_(torch.inf)
    rows, prompt = some_rows(7, 48), some_rows(5, 24)
    log_probs = some_rows(14, LM_LOG_PROBS, seed=1)
    token_rows = [[6, 0, 1, 2, 3], [6, 0, 1, 4, 5], [6, 0], [6, 0]]
    parts = zip(token_rows, log_probs.split([5, 5, 2, 2]), strict=True)
    copies = states_of([torch.cat((rows[own], logs), 1) for own, logs in parts], [prompt], [0] * 4)
    shared = replace(copies, rows=rows, token_rows=torch.tensor(sum(token_rows, [])))
    rewards = damage(shared)
    assert rewards.tolist() == pytest.approx(damage(copies).tolist(), abs=1e-5)
    assert len(set(rewards.tolist())) == 4


@pytest.mark.parametrize("name", ["rows", "lm_log_probs"])
@pytest.mark.parametrize("changed", range(6))
def test_every_token_matters_and_the_state_before_the_first(
    damage: TokenDamageReadout, changed: int, name: str
):
    """And every token of the prompt, to the completions that answer it."""
    damage.ceiling.fill_(torch.inf)
    states = some_states([4, 6, 3], [5, 6], [1, 0, 1])
    before = damage(states)
    row = getattr(states, name)[4 + changed]
    row += torch.linspace(-10, 10, len(row))
    between = damage(states)
    states.prompt_rows[5 + changed] += torch.linspace(-20, 20, 24)
    after = damage(states)
    assert ((between - before).abs() > 1e-4).tolist() == [False, True, False]
    assert ((after - between).abs() > 1e-4).tolist() == [True, False, True]


def test_no_reward_is_above_the_ceiling_but_training_leaves_a_slope(damage: TokenDamageReadout):
    states = some_states([4, 6, 3], [5, 6], [1, 0, 1])
    damage.ceiling.fill_(torch.inf)
    free = damage(states)
    low, middle, high = free.sort().values.tolist()
    damage.ceiling.fill_(middle)
    assert damage(states).tolist() == free.clamp(max=middle).tolist()
    bias = damage.damage_reward.reward.bias.requires_grad_(True)
    rewards = damage.train()(states)
    assert rewards.sort().values.tolist() == pytest.approx(
        [low, middle, middle + 0.1 * (high - middle)], abs=1e-6
    )
    (slope,) = torch.autograd.grad(rewards[free.argmax()], bias)
    assert slope.item() == pytest.approx(0.1)


@pytest.mark.parametrize(("gold", "headroom"), [([6.0, 2.0, 7.0, 7.0], 0.5), ([7.0] * 4, 0.0)])
def test_training_aims_half_a_leap_above_the_ceiling(
    damage: TokenDamageReadout,
    token_damage: TokenDamageParams,
    small_sizes: BackboneSizes,
    gold: list[float],
    headroom: float,
):
    """The leap is the distance between the two highest gold rewards. Only training sees it.

    So does a loaded readout, as the one it was saved from.
    """
    gold_rewards = torch.tensor(gold)
    damage.fit_scale(some_states([4, 6, 3, 5], [5, 6], [1, 0, 1, 0]), gold_rewards)
    loaded = new_readout(token_damage, small_sizes, seed=1)
    loaded.load_state_dict(damage.state_dict())
    for readout in (damage, loaded):
        rewards = torch.tensor([6.5, 7.25, 9.5])
        assert readout.eval().targets(gold_rewards).tolist() == gold
        assert readout.bounded(rewards).tolist() == [6.5, 7.0, 7.0]
        targets = readout.train().targets(gold_rewards)
        assert targets.tolist() == [reward + headroom * (reward == 7.0) for reward in gold]
        top = 7.0 + headroom
        expected = [min(each, top) + 0.1 * max(each - top, 0.0) for each in rewards.tolist()]
        assert readout.bounded(rewards).tolist() == pytest.approx(expected)


def test_fitting_brings_features_to_one_scale_and_rewards_to_their_mean(
    damage: TokenDamageReadout,
):
    states = some_states([4, 6, 3], [5, 6], [1, 0, 1])
    damage.fit_scale(states, torch.tensor([1.0, 6.0, 2.0]))
    for name in ("rows", "lm_log_probs", "prompt_rows"):
        fitted = getattr(damage.scale, name)
        values = getattr(states, name)
        torch.testing.assert_close(fitted.mean, values.mean(0), atol=1e-5, rtol=0)
        deviation = values.std(0, correction=0)
        torch.testing.assert_close(fitted.deviation, deviation, atol=1e-5, rtol=0)
    assert damage.damage_reward.reward.bias.item() == 3.0
    assert damage.ceiling.item() == 6.0
    assert damage.headroom.item() == 2.0


def test_dropout_is_on_in_training_only(
    token_damage: TokenDamageParams, small_sizes: BackboneSizes
):
    """Where a token is judged and where the end is."""
    params = token_damage.model_copy(update={"dropout": 0.5})
    readout = new_readout(params, small_sizes, seed=0)
    assert isinstance(readout, TokenDamageReadout)
    states = some_states([4, 6, 3], [5, 6], [1, 0, 1])
    assert torch.equal(readout.eval()(states), readout(states))
    readout.train()
    for module in (readout.token_judgement, readout.damage_sum.missing):
        readout.token_judgement.dropout.probability = 0.0
        readout.damage_sum.missing.dropout.probability = 0.0
        assert torch.equal(readout(states), readout(states))
        module.dropout.probability = 0.5
        assert not torch.equal(readout(states), readout(states))

"""The readout of every token is what its formula says, in any company."""

from dataclasses import replace

import pytest
import torch
from small_states import token_states
from torch import Tensor
from torch.nn import functional as F

from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.params import TokenDamageParams
from goldrm.reward_model.states import States
from goldrm.reward_model.token_damage import Damage, TokenDamageReadout
from goldrm.task.dictionary import Dictionary

KINDS = 5  # of the fixture's readout
ANSWERS = range(100)  # tokens that completions are made of
PROMPTS = [[7, 110, 9, 12, 120], [100, 101, 102], [3, 99], [128], [5, 5, 60, 111, 80, 2, 1, 103]]


@pytest.fixture
def fresh(token_damage: TokenDamageParams, small_sizes: BackboneSizes) -> TokenDamageReadout:
    readout = new_readout(token_damage, small_sizes, seed=0)
    assert isinstance(readout, TokenDamageReadout)
    return readout


@pytest.fixture
def damage(fresh: TokenDamageReadout) -> TokenDamageReadout:
    """With a scale, values that are far apart, and attention that chooses; without a ceiling."""
    rows = 1 - some_rows(30, seed=5)
    fresh.fit_scale(token_states([[*ANSWERS]], [([*range(99, 129)], rows)], [0]), torch.ones(1))
    fresh.prompt_attention.queries.weight.data *= 8
    for values in (fresh.prompt_attention.values, fresh.deviation.values):
        values.weight.data *= 30
    fresh.ceiling.fill_(torch.inf)
    return fresh.eval().requires_grad_(False)


def some_rows(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed))


def some_prompts() -> list[tuple[list[int], Tensor]]:
    return [(ids, some_rows(len(ids), seed)) for seed, ids in enumerate(PROMPTS)]


def some_states() -> States:
    return token_states([[1, 2, 3], [4, 99, 6, 7, 8], []], some_prompts(), [4, 0, 2])


def judged(module: Damage, known: Tensor) -> Tensor:
    """Softplus, starting from small damages."""
    return F.softplus(module.damage(F.relu(module.hidden(known))) - 3)


def found_in_prompt(readout: TokenDamageReadout, prompt: list[int], rows: Tensor) -> Tensor:
    """Query by query; among the tokens of answers, or among all if there are none."""
    attention = readout.prompt_attention
    seen = [at for at, token in enumerate(prompt) if token in ANSWERS] or range(len(prompt))
    scaled = (rows - readout.scale.mean) / readout.scale.deviation
    answers: list[Tensor] = []
    for number, query in enumerate(attention.queries.weight):
        weights = torch.softmax(torch.stack([query @ scaled[at] for at in seen]), dim=0)
        values = [10 * attention.values.weight[prompt[at]].split(KINDS)[number] for at in seen]
        answers += [weights @ torch.stack(values)]
    return torch.cat(answers)


def slow_reward(
    readout: TokenDamageReadout, completion: list[int], prompt: list[int], rows: Tensor
) -> float:
    """The reward of one completion, token by token."""
    answers = found_in_prompt(readout, prompt, rows)
    off, total = torch.zeros(KINDS), torch.zeros(KINDS)
    expected = readout.deviation.first(answers)
    for token in completion:
        off = 10 * readout.deviation.values.weight[token] - expected
        known = torch.cat((off.clamp(min=0), (-off).clamp(min=0), answers))
        total += readout.weight.abs() * off.abs() + judged(readout.token_damage, known)
        expected = expected + readout.deviation.step(answers)
    known = torch.cat((off.clamp(min=0), (-off).clamp(min=0), answers))
    total += judged(readout.missing_damage, known)
    reward = readout.damage_reward
    return reward.reward(F.relu(reward.hidden(torch.log(1 + total)))).item()


def test_reward_is_the_completions_own(damage: TokenDamageReadout):
    """Whatever stands before or behind it and its prompt, to 1e-5, however much company."""
    damage.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]))
    prompts, generator = some_prompts(), torch.Generator().manual_seed(1)
    lengths = [n % 16 for n in range(200)] + [45]
    completions = [torch.randint(129, (n,), generator=generator).tolist() for n in lengths]
    prompt = [3 * n % 5 for n in range(201)]
    together = damage(token_states(completions, prompts, prompt))
    backwards = token_states(completions[::-1], prompts[::-1], [4 - n for n in prompt[::-1]])
    alone = [
        slow_reward(damage, completion, *prompts[own])
        for completion, own in zip(completions, prompt, strict=True)
    ]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert damage(backwards).flip(0).tolist() == pytest.approx(alone, abs=1e-5)
    for n in (0, 1, 200):
        states = token_states([completions[n]], [prompts[prompt[n]]], [0])
        assert damage(states).item() == pytest.approx(alone[n], abs=1e-5)
    assert torch.tensor(alone).std() > 1e-2, "the rewards should differ"


def test_shared_rows_are_as_good_as_their_copies(damage: TokenDamageReadout):
    """Completions that begin alike share rows, in any order."""
    copies = token_states([[5, 6, 7, 8], [5, 6, 9, 1], [], []], some_prompts()[:1], [0] * 4)
    token_rows = [[6, 0, 1, 2, 3], [6, 0, 1, 4, 5], [6], [6]]
    shared = replace(
        copies,
        rows=torch.zeros(7, 0),
        row_token_ids=torch.tensor([5, 6, 7, 8, 9, 1, 120]),
        token_rows=torch.tensor(sum(token_rows, [])),
    )
    assert damage(shared).tolist() == pytest.approx(damage(copies).tolist(), abs=1e-5)


def test_deviations_are_errors_where_values_are_the_integers(
    fresh: TokenDamageReadout, dictionary: Dictionary
):
    """And one query finds the start, another one the difference."""
    fresh.requires_grad_(False)
    attention, deviation = fresh.prompt_attention, fresh.deviation
    values, queries = attention.values.weight, attention.queries.weight
    first, step = deviation.first, deviation.step
    for tensor in (values, queries, first.weight, first.bias, step.weight, step.bias):
        tensor.zero_()
    integers = [dictionary.ids[str(n)] for n in range(101)]
    attention.is_answer[integers] = 1.0
    for column in (values[:, 0], values[:, KINDS], deviation.values.weight[:, 0]):
        column[integers] = torch.arange(101) / 10
    queries[0, 0] = queries[1, 1] = first.weight[0, 0] = step.weight[0, KINDS] = 1.0

    texts = ["at 3 with 7 elements and 4 difference", "at 20 with 3 elements and 5 difference"]
    prompts = [(dictionary.encode(text), torch.zeros(8, 24)) for text in texts]
    for _, rows in prompts:
        rows[1, 0] = rows[6, 1] = 100.0  # where the start and the difference stand
    completions = [dictionary.encode(text) for text in ("3 7 12 15 18 23", "19 25 40", "20")]
    states = token_states(completions, prompts, [0, 1, 1])
    answers = attention(states.prompt_rows, states)
    errors = deviation(states, answers[states.prompt])[:, 0]
    expected = [0, 0, 0, 1, 0, -1, 0] + [0, -1, 0, 10] + [0, 0]
    assert errors.tolist() == pytest.approx(expected, abs=1e-4)


def test_attention_sees_only_tokens_that_completions_are_made_of(damage: TokenDamageReadout):
    """Of the first and the last prompt; where there is no such token, it is still finite."""
    states = token_states([[1, 2]] * 5, some_prompts(), [0, 1, 2, 3, 4])
    before = damage(states)
    hidden = torch.isin(states.prompt_row_token_ids, torch.tensor(ANSWERS), invert=True)
    states.prompt_rows[hidden] *= -3
    damage.prompt_attention.values.weight[100:] += 100.0
    after = damage(states)
    assert (before == after).tolist() == [True, False, True, False, True]
    assert after.isfinite().all()


def test_gradients_reach_all_parameters(fresh: TokenDamageReadout):
    states = some_states()
    fresh.fit_scale(states, torch.tensor([1.0, 6.0, 2.0]))
    fresh.prompt_attention.is_answer.fill_(1.0)
    fresh(states).sum().backward()
    lacking = [
        name
        for name, parameter in fresh.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert lacking == []


def test_no_reward_is_above_the_ceiling_but_training_leaves_a_slope(damage: TokenDamageReadout):
    states = some_states()
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


@pytest.mark.parametrize(("gold", "headroom"), [([6.0, 2.0, 7.0], 0.5), ([7.0] * 3, 0.0)])
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
    damage.fit_scale(some_states(), gold_rewards)
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


def test_what_is_fitted_is_that_of_the_training_completions(fresh: TokenDamageReadout):
    """The tokens are the completions' own, without their prompts' last ones."""
    states = some_states()
    fresh.fit_scale(states, torch.tensor([1.0, 6.0, 2.0]))
    torch.testing.assert_close(fresh.scale.mean, states.prompt_rows.mean(0), atol=1e-5, rtol=0)
    deviation = states.prompt_rows.std(0, correction=0)
    torch.testing.assert_close(fresh.scale.deviation, deviation, atol=1e-5, rtol=0)
    own = fresh.prompt_attention.is_answer.nonzero().flatten().tolist()
    assert own == [1, 2, 3, 4, 6, 7, 8, 99]
    assert fresh.damage_reward.reward.bias.item() == 3.0
    assert (fresh.ceiling.item(), fresh.headroom.item()) == (6.0, 2.0)

"""Readouts are what their formulas say, in any company; the loss is the notebook's, and more."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from conftest import labelled, states_of
from jaxtyping import TypeCheckError
from notebook_reference import NotebookLM, NotebookRM, freeze_backbone, training_loss
from torch import Tensor
from torch.nn import functional as F

from goldrm import reward_model
from goldrm.backbone import Backbone, BackboneSizes
from goldrm.config import Params, RewardModelParams, TrainParams
from goldrm.errors import GoldrmError
from goldrm.features import States
from goldrm.hidden_states import OUTLOOK, last_hidden_states
from goldrm.reward_model import (
    LastTokenReadout,
    Outcome,
    TokenDamageReadout,
    combined,
    new_readout,
)


@pytest.fixture(scope="module")
def train(params: Params) -> TrainParams:
    """The notebook's weights of the two losses."""
    weights = {"mse_weight": 1.0, "rank_weight": 0.1, "margin": False, "center_weight": 0.0}
    return params.train.model_copy(update=weights)


@pytest.fixture
def reference_rm(reference_lm: NotebookLM) -> NotebookRM:
    """The notebook's reward model with random weights, frozen backbone, in evaluation mode."""
    torch.manual_seed(2)
    rm = NotebookRM(reference_lm).eval()
    freeze_backbone(rm)
    return rm


@pytest.fixture
def readout(reference_rm: NotebookRM) -> LastTokenReadout:
    """Ours with the same weights."""
    readout = LastTokenReadout(24)
    readout.reward_prediction.load_state_dict(reference_rm.reward_prediction.state_dict())
    return readout


@pytest.fixture
def sequences() -> list[list[int]]:
    """Prompts with completions of many lengths: pairs 0 and 1, 2 and 3 …"""
    generator = torch.Generator().manual_seed(6)
    lengths = [18, 25, 22, 22, 40, 21, 30, 1]
    return [torch.randint(127, (n,), generator=generator).tolist() for n in lengths]


# The notebook's readout


def test_rewards_are_the_notebooks(
    backbone: Backbone, readout: LastTokenReadout, reference_rm: NotebookRM, sequences
):
    rewards = readout(states_of(last_hidden_states(backbone, sequences).split(1)))
    expected = reference_rm.predict([torch.tensor(sequence) for sequence in sequences])
    torch.testing.assert_close(rewards, expected, atol=1e-5, rtol=0)


def test_full_size_has_the_notebooks_parameters(small_sizes: BackboneSizes):
    full = replace(small_sizes, d=384, num_heads=6, num_layers=6)
    with torch.device("meta"):
        readout, backbone = LastTokenReadout(384), Backbone(full)
    of_readout = sum(parameter.numel() for parameter in readout.parameters())
    assert of_readout == 148_993
    assert of_readout + sum(p.numel() for p in backbone.parameters()) == 10_910_338


# The readout of every token


@pytest.fixture
def damage(token_damage: RewardModelParams, small_sizes: BackboneSizes) -> TokenDamageReadout:
    """With a scale, deviations that add up to much over many rows, and attention that chooses."""
    readout = new_readout(token_damage, small_sizes, seed=0)
    assert isinstance(readout, TokenDamageReadout)
    completions = states_of([3 + 2 * some_rows(50, seed=4)], [1 - some_rows(30, 24, seed=5)])
    readout.fit_scale(labelled(completions, torch.tensor([7.0]), [1]))
    torch.nn.init.constant_(readout.deviation.bias, 3.0)
    readout.queries.weight.data *= 8
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


def damage_reward(readout: TokenDamageReadout, rows: Tensor, prompt_rows: Tensor) -> float:
    """The reward of one completion, query by query and token by token."""
    states = (rows[:, :48] - readout.scale.mean) / readout.scale.deviation
    expected = (rows[:, 48:] - readout.outlook_scale.mean) / readout.outlook_scale.deviation
    prompt = (prompt_rows - readout.prompt_scale.mean) / readout.prompt_scale.deviation
    attention = torch.softmax(readout.queries(prompt), dim=0).T
    values = [prompt @ each for each in readout.values]
    asked = torch.cat([each @ value for each, value in zip(attention, values, strict=True)])
    kinds = readout.damage.out_features
    deviation, total = torch.zeros(kinds), torch.zeros(kinds)
    token = F.relu(readout.carried.bias)  # of a completion without tokens: nothing seen
    for (before, expected_before), (at, expected_at) in pairwise(
        zip(states, expected, strict=True)
    ):
        of_before, of_at = readout.before_and_at(torch.stack((before, at))).chunk(2, dim=1)
        found = of_before[0] + of_at[1] + readout.asked(asked)
        of_outlook = readout.outlook(torch.cat((expected_before, expected_at)))
        seen = F.relu(readout.token(F.relu(found[:-kinds] + of_outlook)))
        deviation = deviation + found[-kinds:] + readout.deviation(seen)
        token = F.relu(readout.carried(torch.cat((seen, deviation.relu(), (-deviation).relu()))))
        total = total + F.softplus(readout.damage(token))
    end = readout.end(states[-1]) + readout.outlook_at_end(expected[-1])
    end = F.relu(end + readout.asked_at_end(asked))
    end = F.relu(readout.missing(torch.cat((end, token))))
    total = total + F.softplus(readout.missing_damage(end))
    return readout.reward(F.relu(readout.reward_hidden(torch.log(1 + total)))).item()


def test_reward_is_the_completions_own(damage: TokenDamageReadout):
    """Whatever stands before or behind it and its prompt, to 1e-5, however much company."""
    damage.ceiling.fill_(torch.inf)
    completions = some_rows(5575).split([i % 15 + 1 for i in range(700)])
    prompts = some_rows(45, 24).split([1, 21, 9, 1, 13])
    prompt = [3 * i % 5 for i in range(700)]
    together = damage(states_of(completions, prompts, prompt))
    backwards = states_of(completions[::-1], prompts[::-1], [4 - each for each in prompt[::-1]])
    pairs = zip(completions, prompt, strict=True)
    alone = [damage_reward(damage, rows, prompts[each]) for rows, each in pairs]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    assert damage(backwards).flip(0).tolist() == pytest.approx(alone, abs=1e-5)
    assert torch.tensor(alone).std() > 1e-3, "the rewards should differ"


def test_shared_rows_are_as_good_as_their_copies(damage: TokenDamageReadout):
    """Completions that begin alike share rows, not what is expected there; in any order."""
    damage.ceiling.fill_(torch.inf)
    rows, outlook, prompt = some_rows(7, 48), some_rows(14, OUTLOOK, seed=1), some_rows(5, 24)
    places = [[6, 0, 1, 2, 3], [6, 0, 1, 4, 5], [6, 0], [6, 0]]
    parts = zip(places, outlook.split([5, 5, 2, 2]), strict=True)
    copies = states_of([torch.cat((rows[at], own), 1) for at, own in parts], [prompt], [0] * 4)
    shared = replace(copies, rows=rows, place=torch.tensor(sum(places, [])))
    found = damage(shared)
    assert found.tolist() == pytest.approx(damage(copies).tolist(), abs=1e-5)
    assert len(set(found.tolist())) == 4


@pytest.mark.parametrize("name", ["rows", "outlook"])
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
    damage.reward.bias.requires_grad_(True)
    found = damage.train()(states)
    assert found.sort().values.tolist() == pytest.approx(
        [low, middle, middle + 0.1 * (high - middle)], abs=1e-6
    )
    (slope,) = torch.autograd.grad(found[free.argmax()], damage.reward.bias)
    assert slope.item() == pytest.approx(0.1)


@pytest.mark.parametrize(("gold", "headroom"), [([6.0, 2.0, 7.0, 7.0], 0.5), ([7.0] * 4, 0.0)])
def test_training_aims_half_a_leap_above_the_ceiling(
    damage: TokenDamageReadout, gold: list[float], headroom: float
):
    """The leap is the distance between the two highest gold rewards. Only training sees it."""
    gold_rewards = torch.tensor(gold)
    states = some_states([4, 6, 3, 5], [5, 6], [1, 0, 1, 0])
    damage.fit_scale(labelled(states, gold_rewards, [4]))
    rewards = torch.tensor([6.5, 7.25, 9.5])
    assert damage.eval().aims(gold_rewards).tolist() == gold
    assert damage.bounded(rewards).tolist() == [6.5, 7.0, 7.0]
    aims = damage.train().aims(gold_rewards)
    assert aims.tolist() == [each + headroom * (each == 7.0) for each in gold]
    top = 7.0 + headroom
    expected = [min(each, top) + 0.1 * max(each - top, 0.0) for each in rewards.tolist()]
    assert damage.bounded(rewards).tolist() == pytest.approx(expected)


def test_dropout_is_on_in_training_only(
    token_damage: RewardModelParams, small_sizes: BackboneSizes
):
    params = token_damage.model_copy(update={"dropout": 0.5})
    readout = new_readout(params, small_sizes, seed=0)
    states = some_states([4, 6, 3], [5, 6], [1, 0, 1])
    assert not torch.equal(readout(states), readout(states))
    readout.eval()
    assert torch.equal(readout(states), readout(states))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_fit_scale_standardises(
    damage: TokenDamageReadout, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
):
    """In several parts; far from 0, where float32's squares would cancel; one feature constant."""
    monkeypatch.setattr(reward_model, "SCALE_ROWS", 7)
    rows, prompt_rows = (500 + 3 * some_rows(100, width).to(dtype) for width in (51, 24))
    rows[:, 5] = rows[:, 50] = prompt_rows[:, 5] = 2.0
    states = states_of(rows.split(50), [prompt_rows])
    damage.fit_scale(labelled(states, torch.tensor([1.0, 6.0]), [2]))
    for scale, values in (
        (damage.scale, states.rows),
        (damage.outlook_scale, states.outlook),
        (damage.prompt_scale, prompt_rows),
    ):
        mean, deviation = values.double().mean(0), values.double().std(0, correction=0)
        torch.testing.assert_close(scale.mean.double(), mean, atol=1e-4, rtol=0)
        expected = deviation.clamp(min=1e-3)
        torch.testing.assert_close(scale.deviation.double(), expected, atol=1e-4, rtol=0)
        standardised = (values.double() - mean) / expected
        itself = torch.nn.Linear(len(mean), len(mean))
        torch.nn.init.eye_(itself.weight)
        torch.nn.init.zeros_(itself.bias)
        found = scale.linear(values.float(), itself).double()
        torch.testing.assert_close(found, standardised, atol=1e-3, rtol=0)
    assert (damage.reward.bias.item(), damage.ceiling.item()) == (3.5, 6.0)


# Fresh weights


@pytest.mark.parametrize("kind", ["last_token", "token_damage"])
def test_fresh_weights_depend_on_the_seed_alone(
    token_damage: RewardModelParams, small_sizes: BackboneSizes, kind: str
):
    """TRL created the head before seeding (its issue 4887), so no two runs began alike."""
    params = token_damage.model_copy(update={"readout": kind})
    weights: list[Tensor] = []
    for global_seed, seed in [(1, 0), (2, 0), (2, 5)]:
        torch.manual_seed(global_seed)
        parameters = new_readout(params, small_sizes, seed).parameters()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("layers", [([0, 3], [1]), ([0, 2], [0, 3])], ids=str)
def test_layer_that_is_not_there_is_refused(
    token_damage: RewardModelParams,
    small_sizes: BackboneSizes,
    layers: tuple[list[int], list[int]],
):
    update = {"layers": layers[0], "prompt_layers": layers[1]}
    params = token_damage.model_copy(update=update)
    with pytest.raises(
        GoldrmError, match=r"reward_model\.layers or .* ask for layer 3, .* has 2\."
    ):
        new_readout(params, small_sizes, seed=0)
    of_last_token = params.model_copy(update={"readout": "last_token"})  # which reads no layers
    assert isinstance(new_readout(of_last_token, small_sizes, seed=0), LastTokenReadout)


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("mean", [3.0, 3.0]), ("worst", [1.0, 1.0]), ("uncertainty", [3 - 0.75 * 8 / 3, 3 - 1.5])],
)
def test_members_combined_by_hand(
    token_damage: RewardModelParams, combine: str, expected: list[float]
):
    """Coste et al.'s variances are (4 + 0 + 4) / 3 and (1 + 1 + 4) / 3."""
    params = token_damage.model_copy(update={"combine": combine, "uncertainty_weight": 0.75})
    rewards = torch.tensor([[1.0, 4.0], [3.0, 4.0], [5.0, 1.0]])
    assert combined(rewards, params).tolist() == pytest.approx(expected)


# The loss


def outcome(
    rewards: Sequence[float], gold: Sequence[float], sizes: Sequence[int], train: TrainParams
) -> Outcome:
    return Outcome.of(torch.tensor(rewards), torch.tensor(gold), torch.tensor(sizes), train)


def test_loss_and_gradients_of_pairs_are_the_notebooks(
    backbone: Backbone,
    readout: LastTokenReadout,
    reference_rm: NotebookRM,
    sequences: list[list[int]],
    train: TrainParams,
):
    """In whatever order the completions stand."""
    gold = torch.tensor([7.0, 6.2, 5.5, 1.9, 7.0, 3.0, 4.0, 3.9])
    ids = [torch.tensor(sequence) for sequence in sequences]
    expected = training_loss(reference_rm(ids[::2], ids[1::2]), gold.reshape(8, 1))
    expected.backward()

    order = torch.tensor([3, 2, 6, 7, 1, 0, 5, 4])
    hidden = states_of(last_hidden_states(backbone, sequences)[order].split(1))
    loss = Outcome.of(readout(hidden), gold[order], torch.tensor([2] * 4), train).loss(train)
    loss.backward()

    torch.testing.assert_close(loss, expected)
    gradients = {name: p.grad for name, p in readout.reward_prediction.named_parameters()}
    for name, parameter in reference_rm.reward_prediction.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-4, "the comparison should say something"
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, 0.625 + 0.1 * softplus(-0.5)),
        ({"mse_weight": 3.0, "rank_weight": 2.0}, 3 * 0.625 + 2 * softplus(-0.5)),
        ({"margin": True}, 0.625 + 0.1 * softplus(-(0.5 - 2))),
        ({"center_weight": 0.01}, 0.625 + 0.1 * softplus(-0.5) + 0.01 * 11.5**2),
    ],
    ids=str,
)
def test_loss_of_a_pair_by_hand(train: TrainParams, weights: dict[str, Any], expected: float):
    """Rewards 6 and 5.5 where 7 and 5 are right: errors -1 and 0.5, margin 0.5 instead of 2."""
    train = train.model_copy(update=weights)
    for rewards, gold in [((6.0, 5.5), (7.0, 5.0)), ((5.5, 6.0), (5.0, 7.0))]:
        found = outcome(rewards, gold, [2], train).loss(train)
        assert found.item() == pytest.approx(expected)


def test_groups_of_any_size_by_hand(train: TrainParams):
    """Gold 5 is above 1 twice in group 0; group 1 is alone, group 2 equal, group 3 a tie."""
    found = outcome(
        [3.0, 1.0, 2.0, 9.0, 4.0, 6.0, 0.5, 0.5],
        [5.0, 5.0, 1.0, 9.0, 6.0, 6.0, 2.5, 0.5],
        [3, 1, 2, 2],
        train,
    )
    assert (found.completions, found.pairs) == (8, 3)
    assert found.squared_error.item() == 4 + 16 + 1 + 0 + 4 + 0 + 4 + 0
    assert found.rank.item() == pytest.approx(softplus(-1) + softplus(1) + softplus(0))
    assert found.centre.item() == 5**2 + 3**2 + 1
    assert found.correct.item() == 1.5
    assert found.accuracy() == 0.5
    rank = softplus(-1) + softplus(1) + softplus(0)
    assert found.loss(train).item() == pytest.approx(29 / 8 + 0.1 * rank / 3)


def test_groups_of_any_size_are_all_their_pairs(train: TrainParams):
    """Against a loop over the pairs; and a whole is the sum of its parts."""
    train = train.model_copy(update={"margin": True, "center_weight": 0.5})
    generator = torch.Generator().manual_seed(3)
    rewards = torch.randn(60, generator=generator)
    gold = torch.randint(1, 8, (60,), generator=generator).float()
    group = torch.randint(9, (60,), generator=generator).sort().values
    pairs = [
        (i, j) if gold[i] > gold[j] else (j, i)
        for i, j in combinations(range(60), 2)
        if group[i] == group[j] and gold[i] != gold[j]
    ]
    rank = sum(softplus(float(gold[i] - gold[j] - rewards[i] + rewards[j])) for i, j in pairs)
    centre = sum(float(rewards[i] + rewards[j]) ** 2 for i, j in pairs)
    squared = float(((rewards - gold) ** 2).sum())
    parts = [
        Outcome.of(rewards[some], gold[some], group[some].unique(return_counts=True)[1], train)
        for some in (group < 2, group == 2, group > 2)
    ]
    whole = Outcome.of(rewards, gold, group.unique(return_counts=True)[1], train)
    for found in (whole, Outcome.sum(parts).detached()):
        expected = squared / 60 + (0.1 * rank + 0.5 * centre) / len(pairs)
        assert found.loss(train).item() == pytest.approx(expected, rel=1e-5)
        right = sum(bool(rewards[i] > rewards[j]) for i, j in pairs)
        assert found.accuracy() == pytest.approx(right / len(pairs))


def test_without_pairs_only_the_squared_error_counts(train: TrainParams):
    train = train.model_copy(update={"margin": True, "center_weight": 1.0})
    rewards = torch.tensor([3.0, 4.0, 6.0], requires_grad=True)
    found = Outcome.of(rewards, torch.tensor([5.0, 5.0, 7.0]), torch.tensor([2, 1]), train)
    found.loss(train).backward()
    assert found.loss(train).item() == pytest.approx((4 + 1 + 1) / 3)
    assert (found.pairs, found.accuracy()) == (0, 0.5)
    assert rewards.grad is not None
    assert rewards.grad.tolist() == pytest.approx([-4 / 3, -2 / 3, -2 / 3])


@pytest.mark.parametrize(("margin", "loss", "slope"), [(-1000.0, 100.0, -0.1), (1000.0, 0.0, 0.0)])
def test_rank_loss_is_finite_at_huge_margins(
    train: TrainParams, margin: float, loss: float, slope: float
):
    """-log(sigmoid(-1000)) is infinite in the notebook: sigmoid underflows. Here it is 1000."""
    assert math.isinf(training_loss(torch.tensor([[margin], [0.0]]), torch.zeros(2, 1)).item()) == (
        margin < 0
    )
    rank_only = train.model_copy(update={"mse_weight": 0.0})
    rewards = torch.tensor([margin, 0.0], requires_grad=True)
    ours = Outcome.of(rewards, torch.tensor([7.0, 1.0]), torch.tensor([2]), rank_only)
    ours = ours.loss(rank_only)
    ours.backward()
    assert ours.item() == pytest.approx(loss)
    assert rewards.grad is not None
    assert rewards.grad.tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize(
    ("rewards", "gold_rewards", "sizes"),
    [
        ((4, 1), (4,), (1,)),
        ((4,), (4, 1), (1,)),
        ((4,), (4,), (1, 1)),
        ((4, 1), (4, 1), (1,)),
        ((4,), (1,), (1,)),
    ],
)
def test_shapes_never_broadcast(
    train: TrainParams,
    rewards: tuple[int, ...],
    gold_rewards: tuple[int, ...],
    sizes: tuple[int, ...],
):
    """(N, 1) - (N,) is (N, N): the classic bug that trains on every wrong pair, silently."""
    with pytest.raises(TypeCheckError):
        Outcome.of(
            torch.zeros(rewards),
            torch.zeros(gold_rewards),
            torch.full(sizes, 4),
            train,
        )

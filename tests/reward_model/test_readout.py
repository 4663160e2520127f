"""Readouts are what their formulas say, in any company."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM, freeze_backbone
from small_states import labelled, states_of
from torch import Tensor
from torch.nn import functional as F

from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model import readout as reward_model
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.hidden_states import OUTLOOK, last_hidden_states
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.readout import combined
from goldrm.reward_model.states import States
from goldrm.reward_model.token_damage import TokenDamageReadout


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

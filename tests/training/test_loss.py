"""The loss is the notebook's, and more; sums over examples, never means of batch means."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from notebook_reference import NotebookLM, NotebookRM, freeze_backbone, training_loss
from small_states import labelled, states_of

from goldrm.commands.params import Params
from goldrm.lm.model import Backbone
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.reading import last_hidden_states
from goldrm.training.loss import RewardsAndTargets
from goldrm.training.params import TrainingParams


@pytest.fixture(scope="module")
def training(params: Params) -> TrainingParams:
    """The notebook's weights of the two losses."""
    weights = {"mse_weight": 1.0, "rank_weight": 0.1, "margin": False, "center_weight": 0.0}
    return params.models["notebook"].training.model_copy(update=weights)


def rewards_and_targets(
    rewards: Sequence[float], targets: Sequence[float], pairs: Sequence[tuple[int, int]]
) -> RewardsAndTargets:
    """Pairs are numbers of the chosen and the rejected completion."""
    numbers = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    return RewardsAndTargets(
        torch.tensor(rewards, requires_grad=True), torch.tensor(targets), *numbers.unbind(1)
    )


def test_loss_and_gradients_of_pairs_are_the_notebooks(
    backbone: Backbone, reference_lm: NotebookLM, training: TrainingParams
):
    """In whatever order the completions stand, of many lengths."""
    torch.manual_seed(2)
    reference_rm = NotebookRM(reference_lm).eval()
    freeze_backbone(reference_rm)
    readout = LastTokenReadout(backbone.sizes.d).eval()
    readout.reward_prediction.load_state_dict(reference_rm.reward_prediction.state_dict())
    gold = torch.tensor([7.0, 6.2, 5.5, 1.9, 7.0, 3.0, 4.0, 3.9])
    generator = torch.Generator().manual_seed(6)
    lengths = [18, 25, 22, 22, 40, 21, 30, 1]
    ids = [torch.randint(127, (length,), generator=generator) for length in lengths]
    expected = training_loss(reference_rm(ids[::2], ids[1::2]), gold.reshape(8, 1))
    expected.backward()

    order = torch.tensor([3, 2, 6, 7, 1, 0, 5, 4])
    hidden = last_hidden_states(backbone, [sequence.tolist() for sequence in ids])
    states = states_of(hidden[order].split(1))
    [batch] = labelled(states, gold[order], [2] * 4).batches(torch.arange(4), 4)
    rewards = readout(batch.states)
    loss = RewardsAndTargets(rewards, batch.gold_rewards, batch.chosen, batch.rejected).loss(
        training
    )
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
def test_loss_of_a_pair_by_hand(training: TrainingParams, weights: dict[str, Any], expected: float):
    """Rewards 6 and 5.5 where 7 and 5 are right: errors -1 and 0.5, margin 0.5 instead of 2."""
    training = training.model_copy(update=weights)
    for rewards, targets, pair in [
        ((6.0, 5.5), (7.0, 5.0), (0, 1)),
        ((5.5, 6.0), (5.0, 7.0), (1, 0)),
    ]:
        assert rewards_and_targets(rewards, targets, [pair]).loss(training).item() == pytest.approx(
            expected
        )


def test_loss_and_accuracy_of_many_by_hand(training: TrainingParams):
    """A pair ranked wrong, one right, and a tie, which counts one half."""
    found = rewards_and_targets(
        [3.0, 1.0, 2.0, 9.0, 4.0, 6.0, 0.5, 0.5],
        [5.0, 5.0, 1.0, 9.0, 6.0, 6.0, 2.5, 0.5],
        [(0, 2), (1, 2), (6, 7)],
    )
    squared = 4 + 16 + 1 + 0 + 4 + 0 + 4 + 0
    rank = softplus(-1) + softplus(1) + softplus(0)
    assert found.loss(training).item() == pytest.approx(squared / 8 + 0.1 * rank / 3)
    assert found.detached().accuracy() == 0.5


def test_a_whole_is_its_parts_concatenated(training: TrainingParams):
    """Against a loop over the pairs, which are more in some parts than in others."""
    training = training.model_copy(update={"margin": True, "center_weight": 0.5})
    generator = torch.Generator().manual_seed(3)
    rewards = torch.randn(60, generator=generator)
    targets = torch.randint(1, 8, (60,), generator=generator).float()
    group = torch.randint(9, (60,), generator=generator).sort().values
    pairs = [
        (i, j) if targets[i] > targets[j] else (j, i)
        for i, j in combinations(range(60), 2)
        if group[i] == group[j] and targets[i] != targets[j]
    ]
    rank = sum(softplus(float(targets[i] - targets[j] - rewards[i] + rewards[j])) for i, j in pairs)
    centre = sum(float(rewards[i] + rewards[j]) ** 2 for i, j in pairs)
    squared = float(((rewards - targets) ** 2).sum())
    parts: list[RewardsAndTargets] = []
    for some in (group < 2, group == 2, group > 2):
        first, end = int(some.nonzero().min()), int(some.nonzero().max()) + 1
        own = [(i - first, j - first) for i, j in pairs if first <= i < end]
        parts.append(
            rewards_and_targets(rewards[first:end].tolist(), targets[first:end].tolist(), own)
        )
    whole = rewards_and_targets(rewards.tolist(), targets.tolist(), pairs)
    together = RewardsAndTargets.concatenated([part.detached() for part in parts])
    assert not together.rewards.requires_grad
    for found in (whole.detached(), together):
        expected = squared / 60 + (0.1 * rank + 0.5 * centre) / len(pairs)
        assert found.loss(training).item() == pytest.approx(expected, rel=1e-5)
        right = sum(bool(rewards[i] > rewards[j]) for i, j in pairs)
        assert found.accuracy() == pytest.approx(right / len(pairs))


def test_without_pairs_only_the_squared_error_counts(training: TrainingParams):
    training = training.model_copy(update={"margin": True, "center_weight": 1.0})
    found = rewards_and_targets([3.0, 4.0, 6.0], [5.0, 5.0, 7.0], [])
    loss = found.loss(training)
    loss.backward()
    assert loss.item() == pytest.approx((4 + 1 + 1) / 3)
    assert found.accuracy() == 0.5
    assert found.rewards.grad is not None
    assert found.rewards.grad.tolist() == pytest.approx([-4 / 3, -2 / 3, -2 / 3])


@pytest.mark.parametrize(("margin", "loss", "slope"), [(-1000.0, 100.0, -0.1), (1000.0, 0.0, 0.0)])
def test_rank_loss_is_finite_at_huge_margins(
    training: TrainingParams, margin: float, loss: float, slope: float
):
    """-log(sigmoid(-1000)) is infinite in the notebook: sigmoid underflows. Here it is 1000."""
    assert math.isinf(training_loss(torch.tensor([[margin], [0.0]]), torch.zeros(2, 1)).item()) == (
        margin < 0
    )
    found = rewards_and_targets([margin, 0.0], [7.0, 1.0], [(0, 1)])
    ours = found.loss(training.model_copy(update={"mse_weight": 0.0}))
    ours.backward()
    assert ours.item() == pytest.approx(loss)
    assert found.rewards.grad is not None
    assert found.rewards.grad.tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize(
    "changed",
    [
        {"rewards": torch.zeros(4, 1)},
        {"targets": torch.zeros(4, 1)},
        {"targets": torch.zeros(3)},
        {"rejected": torch.tensor([1, 1])},
        {"chosen": torch.tensor([[0]])},
    ],
    ids=str,
)
def test_shapes_never_broadcast(changed: dict[str, Any]):
    """(N, 1) - (N,) is (N, N): the classic bug that trains on every wrong pair, silently."""
    right = rewards_and_targets([1.0] * 4, [2.0] * 4, [(0, 1)])
    with pytest.raises(TypeCheckError):
        replace(right, **changed)


def test_unknown_targets_are_no_errors(training: TrainingParams):
    """Errors -1 and 0.5 of the known ones; the ranking counts all three pairs."""
    unknown = float("nan")
    found = rewards_and_targets(
        [6.0, 5.5, 2.0, 1.0], [7.0, 5.0, unknown, unknown], [(0, 1), (2, 3), (3, 2)]
    )
    loss = found.loss(training)
    loss.backward()
    rank = [softplus(-0.5), softplus(-1.0), softplus(1.0)]
    assert loss.item() == pytest.approx(0.625 + 0.1 * sum(rank) / 3)
    assert found.rewards.grad is not None
    slope = 0.1 / 3 * (1 / (1 + math.exp(1.0)) - 1 / (1 + math.exp(-1.0)))
    assert found.rewards.grad[2:].tolist() == pytest.approx([-slope, slope])


def test_without_targets_only_the_ranking_counts(training: TrainingParams):
    found = rewards_and_targets([6.0, 5.5], [float("nan")] * 2, [(0, 1)])
    for weight in (0.0, 1.0):
        loss = found.loss(training.model_copy(update={"mse_weight": weight}))
        assert loss.item() == pytest.approx(0.1 * softplus(-0.5))

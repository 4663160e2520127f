"""Pairs are flipped with a known probability, and what can be reached is known."""

import pytest
import torch
from small_states import labelled, states_of

from goldrm.training.batches import LabelledCompletions
from goldrm.training.label_noise import with_label_noise

GROUPS = 800


@pytest.fixture(scope="module")
def completions() -> LabelledCompletions:
    """Three completions a group, gold rewards descending: three pairs."""
    gold = torch.tensor([3.0, 2.0, 1.0]).repeat(GROUPS)
    return labelled(states_of(torch.zeros(3 * GROUPS, 1).split(1)), gold, [3] * GROUPS)


def flipped(completions: LabelledCompletions) -> torch.Tensor:
    """Which pairs have the other order; gold rewards descend, so that the first is better."""
    return completions.chosen > completions.rejected


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.25, 0.5])
def test_as_many_pairs_are_flipped_as_asked_for(completions: LabelledCompletions, noise: float):
    noisy, reachable = with_label_noise(completions, noise, seed=0)
    share = float(flipped(noisy).float().mean())
    assert reachable == pytest.approx(1 - share)
    assert share == pytest.approx(noise, abs=4 * (noise * (1 - noise) / (3 * GROUPS)) ** 0.5)
    both = torch.stack([noisy.chosen, noisy.rejected]).sort(dim=0).values
    assert torch.equal(both, torch.stack([completions.chosen, completions.rejected]))


def test_reachable_accuracy_is_the_right_rankings(completions: LabelledCompletions):
    """Counted in batches, with the gold rewards as rewards."""
    noisy, reachable = with_label_noise(completions, 0.25, seed=0)
    right = 0
    for batch in noisy.batches(torch.arange(GROUPS), 50):
        gold = batch.gold_rewards
        right += int((gold[batch.chosen] > gold[batch.rejected]).sum())
    assert right / (3 * GROUPS) == pytest.approx(reachable)


def test_labels_are_a_function_of_the_seed(completions: LabelledCompletions):
    """And more noise flips the same pairs and more."""
    first, same, other, more = (
        flipped(with_label_noise(completions, noise, seed)[0])
        for noise, seed in ((0.1, 0), (0.1, 0), (0.1, 1), (0.25, 0))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert bool((more >= first).all())


def test_no_pairs_can_all_be_ranked_right():
    alone = labelled(states_of(torch.zeros(2, 1).split(1)), torch.ones(2), [1, 1])
    assert with_label_noise(alone, 0.5, seed=0)[1] == 1

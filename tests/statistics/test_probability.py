"""Probabilities of preference against values worked out by hand and slow references."""

from math import e, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from goldrm.statistics import probability


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


# Probabilities 3/4, 1/2, 1/5 and 9/10 that the chosen one is preferred.
DIFFERENCE = floats(log(3), 0, -log(4), log(9))
HARD = np.ones(4)
SOFT = floats(0.5, 0.75, 0.5, 1)


def test_preference_probability():
    assert probability.preference_probability(DIFFERENCE) == pytest.approx([0.75, 0.5, 0.2, 0.9])


@pytest.mark.parametrize(
    ("target", "log_loss", "brier"),
    [
        (HARD, -log(0.75 * 0.5 * 0.2 * 0.9) / 4, (1 / 16 + 1 / 4 + 0.64 + 0.01) / 4),
        (
            SOFT,
            -(log(0.75 * 0.25) / 2 + log(0.5) + log(0.2 * 0.8) / 2 + log(0.9)) / 4,
            (1 / 16 + 1 / 16 + 0.09 + 0.01) / 4,
        ),
    ],
)
def test_losses_by_hand(target, log_loss: float, brier: float):
    assert probability.log_loss(DIFFERENCE, target) == pytest.approx(log_loss)
    assert probability.brier(DIFFERENCE, target) == pytest.approx(brier)


@pytest.mark.parametrize(
    ("difference", "target", "expected"), [(2000, 1, 0), (-2000, 1, 2000), (2000, 0.25, 1500)]
)
def test_log_loss_where_probabilities_underflow(difference, target, expected: float):
    assert probability.log_loss(floats(difference), floats(target)) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=9))
def test_excess_log_loss_is_scipys_divergence(rows: list[tuple[float, float]]):
    difference, gold_difference = np.array(rows).T
    p, target = [[1 / (1 + exp(-x)) for x in side] for side in (difference, gold_difference)]
    found = probability.excess_log_loss(difference, gold_difference)
    assert found == pytest.approx(
        stats.entropy([target, [1 - t for t in target]], [p, [1 - x for x in p]]).mean(), abs=1e-9
    )


@pytest.mark.parametrize(
    ("target", "bins", "expected"),
    [
        # Confidences 3/4, 1/2, 4/5, 9/10 with the preferred side right, tied, wrong, right.
        (HARD, 1, abs(0.75 + 0.5 + 0.8 + 0.9 - 2.5) / 4),
        (HARD, 2, (0 + abs(0.75 + 0.8 + 0.9 - 2)) / 4),
        (HARD, 50, (0.25 + 0 + 0.8 + 0.1) / 4),
        # The preferred sides' targets are 1/2, 1/2, 1/2, 1.
        (SOFT, 1, (2.95 - 2.5) / 4),
        (SOFT, 3, (0 + (1.55 - 1) + 0.1) / 4),  # up to 2/3, up to 5/6, up to 1
    ],
)
def test_calibration_error_by_hand(target, bins: int, expected: float):
    # 3/4 lies on the edge of two bins: a hair more for it to be in the upper.
    difference = DIFFERENCE + [1e-9, 0, 0, 0]
    found = probability.expected_calibration_error(difference, target, bins)
    assert found == pytest.approx(expected, abs=1e-6)


pairs = st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 8)), min_size=1, max_size=30)


@settings(deadline=None)
@given(pairs, st.integers(1, 12))
def test_calibration_error_counts_every_pair_in_both_orders(rows: list, bins: int):
    """An independent reference: no folding, bins over the probabilities 0 to 1, closed outwards."""
    difference, target = np.array(rows).T / 8
    both = [(1 / (1 + exp(-d)), t) for d, t in zip(difference, target, strict=True)]
    both += [(1 / (1 + exp(d)), 1 - t) for d, t in zip(difference, target, strict=True)]
    gaps = dict.fromkeys(range(-bins, bins), 0.0)
    for p, t in both:
        step = int(abs(p - 0.5) * 2 * bins + 1e-9)
        if p == 0.5:
            gaps[0] += (p - t) / 2
            gaps[-1] += (p - t) / 2
        else:
            gaps[step if p > 0.5 else -1 - step] += p - t
    expected = sum(map(abs, gaps.values())) / len(both)
    found = probability.expected_calibration_error(difference, target, bins)
    assert found == pytest.approx(expected, abs=1e-9)


def test_reliability_by_hand():
    table = probability.reliability(DIFFERENCE + [1e-9, 0, 0, 0], HARD, 4)
    assert list(table) == ["low", "high", "n", "mean_confidence", "mean_target"]
    assert table.to_numpy() == pytest.approx(
        np.array([[0.5, 0.625, 1, 0.5, 0.5], [0.75, 0.875, 2, 0.775, 0.5], [0.875, 1, 1, 0.9, 1]])
    )


def test_certainty_is_in_the_last_bin():
    table = probability.reliability(floats(1000), floats(1), 7)
    assert table[["high", "n", "mean_confidence", "mean_target"]].to_numpy().tolist() == [
        [1, 1, 1, 1]
    ]


def test_soft_targets_of_a_perfect_regressor():
    gold_difference = np.random.default_rng(0).uniform(0, 4, size=300)
    target = probability.preference_probability(gold_difference)
    assert probability.excess_log_loss(gold_difference, gold_difference) == 0
    assert probability.brier(gold_difference, target) == 0
    assert probability.expected_calibration_error(gold_difference, target, 10) < 1e-12
    assert probability.fit_temperature(3 * gold_difference, target) == pytest.approx(3, rel=1e-3)
    # Hard labels call it under-confident.
    assert probability.expected_calibration_error(gold_difference, np.ones(300), 10) > 0.1


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        # Three right of four with the same lead d: sigmoid(d / T) = 3/4.
        (floats(1, 1, 1, -1), 1 / log(3)),
        (floats(50, 50, 50, -50), 50 / log(3)),
        (floats(e, e, -e, e, e), e / log(4)),
        (floats(1, 2, 0.1), probability.TEMPERATURES[0]),
        (floats(1e4, 2e4, 3e4), probability.TEMPERATURES[0]),
        (floats(-1, -2, 0.5), probability.TEMPERATURES[1]),
        (floats(1, -1), probability.TEMPERATURES[1]),
        (floats(0, 0, 0), 1),
    ],
)
def test_temperature_by_hand(difference, expected: float):
    found = probability.fit_temperature(difference, np.ones(len(difference)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_no_temperature_on_a_grid_is_better():
    rng = np.random.default_rng(4)
    difference, target = rng.normal(0.4, 3, size=200), rng.uniform(size=200)
    target[difference > 0] += (1 - target[difference > 0]) * 0.3
    temperature = probability.fit_temperature(difference, target)
    losses = [probability.log_loss(difference / t, target) for t in np.geomspace(1e-3, 1e3, 999)]
    assert probability.log_loss(difference / temperature, target) <= min(losses)
    assert 1e-2 < temperature < 1e2

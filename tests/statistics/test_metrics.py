"""Statistics against values worked out by hand."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from goldrm.statistics import metrics


def floats(*values: float) -> metrics.Floats:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (floats(2, 2, 2, 2), floats(1, 3, 2, 2), 0.5),  # right, wrong, two ties
        (floats(5, 6, 7), floats(4, 5, 7), 2.5 / 3),
        (floats(1, 1), floats(1, 1), 0.5),
        (floats(2, 3), floats(1, 2), 1.0),
        (floats(1), floats(2), 0.0),
        (floats(6, 6), floats(6 - 1e-12, 1e9), 0.5),
    ],
)
def test_a_tie_counts_half(chosen: metrics.Floats, rejected: metrics.Floats, expected: float):
    assert metrics.pairs_right(chosen, rejected).mean() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reward", "gold_reward", "expected"),
    [
        (floats(1, 2, 6), floats(1, 2, 6), 1.0),
        (floats(3, 3, 3), floats(1, 2, 6), 0.0),  # the mean itself
        (floats(1, 4, 6), floats(1, 2, 6), 1 - 4 / (4 + 1 + 9)),
        (floats(6, 2, 1), floats(1, 2, 6), 1 - 50 / 14),
        (floats(2, 4), floats(3, 3), 0.0),
    ],
)
def test_r_squared_by_hand(reward: metrics.Floats, gold_reward: metrics.Floats, expected: float):
    columns = (reward - gold_reward) ** 2, gold_reward, gold_reward**2, np.ones(len(reward))
    found = metrics.r_squared(*(column.sum(keepdims=True) for column in columns))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reward", "gold_reward", "expected"),
    [
        (floats(1, 2, 3), floats(10, 20, 1000), 1.0),
        (floats(3, 2, 1), floats(10, 20, 1000), -1.0),
        # ranks 1 2.5 2.5 4 and 1 2 3 4, less their mean: 4.5 / sqrt(4.5 * 5)
        (floats(1, 2, 2, 3), floats(1, 2, 3, 4), 4.5 / sqrt(4.5 * 5)),
        # ranks 1 3 2 4 5 and 1 2 3 4 5: 1 - 6 (1 + 1) / (5 * 24)
        (floats(1, 3, 2, 4, 5), floats(1, 2, 3, 4, 5), 0.9),
    ],
)
def test_spearman_by_hand(reward: metrics.Floats, gold_reward: metrics.Floats, expected: float):
    assert metrics.spearman(reward, gold_reward) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reward", "gold_reward"),
    [
        (floats(2, 2, 2), floats(1, 2, 3)),
        (floats(1, 2, 3), floats(7, 7, 7)),
        (floats(1), floats(2)),
    ],
)
def test_rank_correlation_of_a_constant_is_0(reward: metrics.Floats, gold_reward: metrics.Floats):
    assert metrics.spearman(reward, gold_reward) == 0.0
    assert metrics.kendall(reward, gold_reward) == 0.0


def partial_spearman(*columns: metrics.Floats) -> float:
    """Of the rows as they are, which are one cluster."""
    clusters = np.zeros(len(columns[0]))
    return float(metrics.resampled_partial_spearman(*columns, clusters)(np.ones((1, 1)))[0])


def ranks(values: list[int]) -> metrics.Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    below = [sum(other < value for other in values) for value in values]
    return np.array([b + (values.count(v) + 1) / 2 for b, v in zip(below, values, strict=True)])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=25))
def test_spearman_is_pearson_of_ranks(rows: list[tuple[int, int]]):
    left, right = [list(side) for side in zip(*rows, strict=True)]
    found = metrics.spearman(floats(*left), floats(*right))
    a, b = ranks(left) - ranks(left).mean(), ranks(right) - ranks(right).mean()
    spread = sqrt((a @ a) * (b @ b))
    assert found == pytest.approx(a @ b / spread if spread else 0.0, abs=1e-9)


small_rows = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=2, max_size=25)


@settings(deadline=None)
@given(small_rows)
def test_kendall_counts_pairs(rows: list[tuple[int, int, int]]):
    """tau-b: agreeing less opposed pairs over the root of pairs that differ on either side."""
    left, right, _ = [list(side) for side in zip(*rows, strict=True)]
    found = metrics.kendall(floats(*left), floats(*right))
    signs = [
        (np.sign(a - c), np.sign(b - d)) for i, (a, b, _) in enumerate(rows) for c, d, _ in rows[:i]
    ]
    differ = [sum(abs(pair[side]) for pair in signs) for side in (0, 1)]
    agreed = sum(a * b for a, b in signs)
    assert found == pytest.approx(agreed / sqrt(differ[0] * differ[1]) if all(differ) else 0.0)


@settings(deadline=None)
@given(small_rows)
def test_partial_spearman_correlates_what_regression_leaves(rows: list[tuple[int, int, int]]):
    columns = [list(column) for column in zip(*rows, strict=True)]
    found = partial_spearman(*[floats(*column) for column in columns])
    first, second, control = [ranks(column) for column in columns]
    design = np.column_stack([np.ones(len(rows)), control])
    a, b = [side - design @ np.linalg.lstsq(design, side)[0] for side in (first, second)]
    remains = min(a @ a, b @ b) > 1e-9
    assert found == pytest.approx(a @ b / sqrt((a @ a) * (b @ b)) if remains else 0.0, abs=1e-6)


clustered_rows = st.lists(
    st.tuples(*[st.integers(0, 6)] * 3, st.sampled_from("bca")), min_size=2, max_size=25
)


@settings(max_examples=40)
@given(clustered_rows, st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=3))
def test_a_cluster_that_is_drawn_twice_is_twice_its_rows(rows: list, draws: list):
    """Several resamples at once, against each one's rows repeated."""
    *columns, clusters = map(np.array, zip(*rows, strict=True))
    columns = [column.astype(float) for column in columns]
    numbers = np.unique(clusters, return_inverse=True)[1]
    counts = np.array(draws, dtype=float)[:, : numbers.max() + 1]
    counts[counts.sum(axis=1) == 0] = 1  # something is drawn
    correlation = metrics.resampled_spearman(*columns[:2], clusters)(counts)
    beyond = metrics.resampled_partial_spearman(*columns, clusters)(counts)
    assert correlation.shape == beyond.shape == (len(draws),)
    for resample, times in enumerate(counts[:, numbers].astype(int)):
        repeated = [np.repeat(column, times) for column in columns]
        assert correlation[resample] == pytest.approx(metrics.spearman(*repeated[:2]), abs=1e-9)
        assert beyond[resample] == pytest.approx(partial_spearman(*repeated), abs=1e-6)


def test_partial_spearman_takes_the_control_out():
    """Length drives neither side here: gold reward drives both, the noises are independent."""
    rng = np.random.default_rng(0)
    gold_reward = rng.normal(size=4000)
    reward, length = gold_reward + rng.normal(size=(2, 4000))
    assert metrics.spearman(reward, length) > 0.4
    assert partial_spearman(reward, length, gold_reward) == pytest.approx(0, abs=0.05)


def test_rank_correlations_are_scipys():
    reward, gold_reward = np.random.default_rng(1).integers(0, 30, size=(2, 500)) ** 1.5
    gold_reward += reward
    found = metrics.spearman(reward, gold_reward), metrics.kendall(reward, gold_reward)
    expected = stats.spearmanr(reward, gold_reward), stats.kendalltau(reward, gold_reward)
    assert found == pytest.approx([result.statistic for result in expected])

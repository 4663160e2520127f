"""Statistics against values worked out by hand."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from goldrm.evaluation.statistics import metrics


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
    assert metrics.r_squared(reward, gold_reward) == pytest.approx(expected)


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
    found = metrics.partial_spearman(*[floats(*column) for column in columns])
    first, second, control = [ranks(column) for column in columns]
    design = np.column_stack([np.ones(len(rows)), control])
    a, b = [side - design @ np.linalg.lstsq(design, side)[0] for side in (first, second)]
    remains = min(a @ a, b @ b) > 1e-9
    assert found == pytest.approx(a @ b / sqrt((a @ a) * (b @ b)) if remains else 0.0, abs=1e-6)


counted_rows = st.lists(
    st.tuples(*[st.integers(0, 6)] * 3, *[st.integers(0, 3)] * 2), min_size=2, max_size=25
).filter(lambda rows: all(any(row[resample] for row in rows) for resample in (3, 4)))


@given(counted_rows)
def test_a_row_that_counts_twice_is_two_rows(rows: list[tuple[int, ...]]):
    """Two resamples at once, against each one's rows repeated."""
    *columns, first, second = [floats(*column) for column in zip(*rows, strict=True)]
    counts = np.stack([first, second])
    ranked = metrics.ranks(columns[0], counts)
    rank_correlation = metrics.spearman(*columns[:2], counts)
    beyond = metrics.partial_spearman(*columns, counts)
    for resample, times in enumerate(counts.astype(int)):
        repeated = [np.repeat(column, times) for column in columns]
        expected = stats.rankdata(repeated[0])
        assert np.repeat(ranked[resample], times) == pytest.approx(expected)
        assert rank_correlation[resample] == pytest.approx(metrics.spearman(*repeated[:2]))
        assert beyond[resample] == pytest.approx(metrics.partial_spearman(*repeated), abs=1e-6)


def test_ranks_of_the_docstring():
    assert metrics.ranks(floats(5, 5, 8), floats(2, 1, 1)).tolist() == [2, 2, 4]


def test_partial_spearman_takes_the_control_out():
    """Length drives neither side here: gold reward drives both, the noises are independent."""
    rng = np.random.default_rng(0)
    gold_reward = rng.normal(size=4000)
    reward, length = gold_reward + rng.normal(size=(2, 4000))
    assert metrics.spearman(reward, length) > 0.4
    assert metrics.partial_spearman(reward, length, gold_reward) == pytest.approx(0, abs=0.05)


def test_rank_correlations_are_scipys():
    reward, gold_reward = np.random.default_rng(1).integers(0, 30, size=(2, 500)) ** 1.5
    gold_reward += reward
    found = metrics.spearman(reward, gold_reward), metrics.kendall(reward, gold_reward)
    expected = stats.spearmanr(reward, gold_reward), stats.kendalltau(reward, gold_reward)
    assert found == pytest.approx([result.statistic for result in expected])

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
def test_pairwise_accuracy_counts_a_tie_half(
    chosen: metrics.Floats, rejected: metrics.Floats, expected: float
):
    assert metrics.pairwise_accuracy(chosen, rejected) == pytest.approx(expected)


def test_errors_by_hand():
    reward, gold_reward = floats(1, 2, 7, 4), floats(2, 2, 4, 6)  # off by -1, 0, 3, -2
    assert metrics.mean_squared_error(reward, gold_reward) == pytest.approx((1 + 0 + 9 + 4) / 4)
    assert metrics.mean_absolute_error(reward, gold_reward) == pytest.approx((1 + 0 + 3 + 2) / 4)


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


def test_bootstrap_keeps_clusters_whole():
    clusters = np.array([7, 3, 7, 7, 9, 3])
    seen: list[metrics.Ints] = []

    def statistic(rows: metrics.Ints) -> float:
        seen.append(rows)
        return 0.0

    metrics.bootstrap_interval(statistic, clusters, 200, 0.95, np.random.default_rng(0))
    counts = np.array([np.bincount(rows, minlength=6) for rows in seen])
    drawn = counts[:, [0, 1, 4]]  # how often clusters 7, 3 and 9 were drawn
    assert (counts == drawn[:, [0, 1, 0, 0, 2, 1]]).all()
    assert (drawn.sum(axis=1) == 3).all()
    assert len(seen) == 200
    assert len(np.unique(drawn, axis=0)) == 10  # all ways to draw 3 of 3 with replacement


def test_interval_of_one_cluster_is_the_value():
    values = floats(1, 2, 6)
    interval = metrics.bootstrap_interval(
        lambda rows: float(values[rows].mean()),
        np.array([4, 4, 4]),
        100,
        0.95,
        np.random.default_rng(0),
    )
    assert interval == (3.0, 3.0)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.960), (0.8, 1.2816)])
def test_interval_of_equal_rows_is_the_binomials(confidence: float, z: float):
    """5 equal rows a cluster say no more than 1: resampling rows would give 1/sqrt(5) the width."""
    right = np.repeat(np.arange(400) < 280, 5).astype(float)
    low, high = metrics.bootstrap_interval(
        lambda rows: float(right[rows].mean()),
        np.repeat(np.arange(400), 5),
        2000,
        confidence,
        np.random.default_rng(1),
    )
    half = z * sqrt(0.7 * 0.3 / 400)
    assert low == pytest.approx(0.7 - half, abs=0.1 * half)
    assert high == pytest.approx(0.7 + half, abs=0.1 * half)


def test_interval_follows_its_stream():
    values = np.random.default_rng(5).normal(size=50)

    def interval(seed: int) -> tuple[float, float]:
        return metrics.bootstrap_interval(
            lambda rows: float(values[rows].mean()),
            np.arange(50),
            100,
            0.9,
            np.random.default_rng(seed),
        )

    assert interval(0) == interval(0)
    assert interval(0) != interval(1)


def test_mean_interval_is_the_interval_of_the_mean():
    rng = np.random.default_rng(2)
    values, clusters = rng.normal(size=120), rng.integers(0, 30, size=120).astype(str)
    fast = metrics.bootstrap_mean_interval(values, clusters, 300, 0.8, np.random.default_rng(3))
    slow = metrics.bootstrap_interval(
        lambda rows: float(values[rows].mean()), clusters, 300, 0.8, np.random.default_rng(3)
    )
    assert fast == pytest.approx(slow)
    assert fast[0] < values.mean() < fast[1]


@pytest.mark.parametrize(("value", "expected"), [(1.0, (0.025 ** (1 / 6), 1)), (0.0, None)])
def test_share_without_exceptions_still_has_an_interval(
    value: float, expected: tuple[float, float] | None
):
    """Six clusters all right: the least share that shows that with 2.5 %, p⁶ = 0.025."""
    low, high = expected or (0, 1 - 0.025 ** (1 / 6))
    values, clusters = np.full(20, value), np.arange(20) % 6
    found = metrics.bootstrap_share_interval(values, clusters, 50, 0.95, np.random.default_rng(0))
    assert found == pytest.approx((low, high))


@pytest.mark.parametrize("values", [[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
def test_share_is_otherwise_a_mean(values: list[float]):
    asked = (np.array(values), np.arange(3), 50, 0.9)
    found = metrics.bootstrap_share_interval(*asked, np.random.default_rng(1))
    assert found == metrics.bootstrap_mean_interval(*asked, np.random.default_rng(1))

"""Intervals against distributions that are known, and against resampling by hand."""

from math import sqrt

import numpy as np
import pytest

from goldrm.evaluation.statistics import bootstrap as module
from goldrm.evaluation.statistics import metrics
from goldrm.evaluation.statistics.bootstrap import Bootstrap, one_by_one


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def of_mean(values: metrics.Floats) -> module.Statistic:
    """The mean, by the way that any statistic goes."""
    return one_by_one(lambda resampled: float(resampled.mean()), values)


def test_clusters_are_kept_whole():
    clusters = np.array([7, 3, 7, 7, 9, 3])
    seen: list[np.ndarray] = []

    def statistic(counts: np.ndarray) -> np.ndarray:
        seen.append(counts)
        return counts[:, 0]

    Bootstrap(200, 0.95, seed=0).of(statistic, clusters)
    assert (seen[0] == 1).all()  # of the rows as they are
    counts = np.concatenate(seen[1:])
    drawn = counts[:, [0, 1, 4]]  # how often clusters 7, 3 and 9 were drawn
    assert (counts == drawn[:, [0, 1, 0, 0, 2, 1]]).all()
    assert (drawn.sum(axis=1) == 3).all()
    assert len(counts) == 200
    assert len(np.unique(drawn, axis=0)) == 10  # all ways to draw 3 of 3 with replacement


@pytest.mark.parametrize("at_once", [1, 50, 10**6])
def test_interval_is_that_of_resamples_drawn_by_hand(monkeypatch: pytest.MonkeyPatch, at_once: int):
    """Whatever the number of resamples that are in memory at once."""
    monkeypatch.setattr(module, "RESAMPLED_NUMBERS", at_once)
    values, clusters = floats(5, 1, 2, 8, 3, 3, 9), np.array([0, 0, 1, 1, 2, 3, 3])
    rng = np.random.default_rng(4)
    means: list[float] = []
    for _ in range(300):
        drawn = rng.integers(0, 4, size=4)
        means.append(np.concatenate([values[clusters == cluster] for cluster in drawn]).mean())
    expected = (31 / 7, *np.quantile(means, [0.1, 0.9]), 7)
    bootstrap = Bootstrap(300, 0.8, seed=4)
    assert bootstrap.of(of_mean(values), clusters) == pytest.approx(expected)
    assert bootstrap.mean(values, clusters) == pytest.approx(expected)


def test_interval_of_one_cluster_is_the_value():
    values, clusters = floats(1, 2, 6), np.array([4, 4, 4])
    bootstrap = Bootstrap(100, 0.95, seed=0)
    assert bootstrap.of(of_mean(values), clusters) == (3.0, 3.0, 3.0, 3)
    assert bootstrap.mean(values, clusters) == (3.0, 3.0, 3.0, 3)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.960), (0.8, 1.2816)])
def test_interval_of_equal_rows_is_the_binomials(confidence: float, z: float):
    """5 equal rows a cluster say no more than 1: resampling rows would give 1/sqrt(5) the width."""
    right = np.repeat(np.arange(400) < 280, 5).astype(float)
    bootstrap = Bootstrap(2000, confidence, seed=1)
    _, low, high, n = bootstrap.of(of_mean(right), np.repeat(np.arange(400), 5))
    half = z * sqrt(0.7 * 0.3 / 400)
    assert low == pytest.approx(0.7 - half, abs=0.1 * half)
    assert high == pytest.approx(0.7 + half, abs=0.1 * half)
    assert n == 2000


def test_interval_follows_its_seed():
    values = np.random.default_rng(5).normal(size=50)
    first, other = (Bootstrap(100, 0.9, seed) for seed in (0, 2**63 - 1))
    interval = first.mean(values, np.arange(50))
    assert first.mean(values[::-1], np.arange(50)) != interval  # other rows in between
    assert first.mean(values, np.arange(50)) == interval
    assert other.mean(values, np.arange(50)) != interval


def test_mean_interval_is_the_interval_of_the_mean():
    rng = np.random.default_rng(2)
    values, clusters = rng.normal(size=120), rng.integers(0, 30, size=120).astype(str)
    bootstrap = Bootstrap(300, 0.8, seed=3)
    fast = bootstrap.mean(values, clusters)
    assert fast == pytest.approx(bootstrap.of(of_mean(values), clusters))
    assert fast.low < values.mean() < fast.high


def test_mean_of_nothing():
    nothing = Bootstrap(100, 0.9, seed=0).share(floats(), np.array([]))
    assert np.isnan(nothing[:3]).all()
    assert nothing.n == 0


@pytest.mark.parametrize(("value", "expected"), [(1.0, (0.025 ** (1 / 6), 1)), (0.0, None)])
def test_share_without_exceptions_still_has_an_interval(
    value: float, expected: tuple[float, float] | None
):
    """Six clusters all right: the least share that shows that with 2.5 %, p⁶ = 0.025."""
    ends = expected or (0, 1 - 0.025 ** (1 / 6))
    share = Bootstrap(50, 0.95, seed=0).share(np.full(20, value), np.arange(20) % 6)
    assert share == pytest.approx((value, *ends, 20))


@pytest.mark.parametrize("values", [[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
def test_share_is_otherwise_a_mean(values: list[float]):
    bootstrap = Bootstrap(50, 0.9, seed=1)
    assert bootstrap.share(np.array(values), np.arange(3)) == bootstrap.mean(
        np.array(values), np.arange(3)
    )

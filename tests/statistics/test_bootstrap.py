"""Intervals against distributions that are known, and how often they hold what is true."""

from math import sqrt

import numpy as np
import pytest

from goldrm.statistics import metrics
from goldrm.statistics.bootstrap import Bootstrap


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_clusters_are_kept_whole():
    clusters = np.array([7, 3, 7, 7, 9, 3])
    seen: list[np.ndarray] = []

    def statistic(counts: np.ndarray) -> np.ndarray:
        seen.append(counts.reshape(-1, 3))
        return counts @ floats(1, 2, 5)

    found = Bootstrap(200, 0.95, seed=0).of(statistic, clusters)
    assert (found.value, found.n, found.families) == (8, 6, 3)
    counts = np.concatenate(seen)
    resamples = counts[counts.sum(axis=1) == 3]  # the others leave a cluster out
    assert len(resamples) == 200 + 2  # and the clusters as they are, twice
    assert len(np.unique(resamples, axis=0)) == 10  # all ways to draw 3 of 3 with replacement
    left_out = counts[counts.sum(axis=1) == 2]
    assert sorted(left_out.tolist()) == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_mean_is_of_rows_and_its_interval_of_clusters():
    values, clusters = floats(5, 1, 2, 8, 3, 3, 9), np.array([0, 0, 1, 1, 2, 3, 3])
    found = Bootstrap(300, 0.8, seed=4).mean(values, clusters)
    assert (found.value, found.n, found.families) == (pytest.approx(31 / 7), 7, 4)
    assert 3 < found.low < found.value < found.high < 6  # of the clusters' means the ends


def test_interval_of_one_cluster_is_the_value():
    assert Bootstrap(100, 0.95, seed=0).mean(floats(1, 2, 6), np.zeros(3)) == (3, 3, 3, 3, 1)


def test_interval_of_what_doesnt_vary_is_the_value():
    """All resamples are equal, and so BCa's corrections are 0 / 0."""
    bootstrap, clusters = Bootstrap(100, 0.95, seed=0), np.arange(9)
    assert bootstrap.mean(np.full(9, 0.25), clusters) == (0.25, 0.25, 0.25, 9, 9)
    constant = metrics.resampled_spearman(np.ones(9), np.arange(9.0), clusters)
    assert bootstrap.of(constant, clusters) == (0, 0, 0, 9, 9)


def test_mean_of_nothing():
    nothing = Bootstrap(100, 0.9, seed=0).mean(floats(), np.array([]))
    assert np.isnan(nothing[:3]).all()
    assert nothing[3:] == (0, 0)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.960), (0.8, 1.2816)])
def test_interval_of_equal_rows_is_the_binomials(confidence: float, z: float):
    """5 equal rows a cluster say no more than 1: resampling rows would give 1/sqrt(5) the width."""
    right = np.repeat(np.arange(400) < 280, 5).astype(float)
    found = Bootstrap(2000, confidence, seed=1).mean(right, np.repeat(np.arange(400), 5))
    half = z * sqrt(0.7 * 0.3 / 400)
    assert found.low == pytest.approx(0.7 - half, abs=0.1 * half)
    assert found.high == pytest.approx(0.7 + half, abs=0.1 * half)
    assert found.n == 2000


def test_interval_follows_its_seed():
    values = np.random.default_rng(5).normal(size=50)
    first, other = (Bootstrap(100, 0.9, seed) for seed in (0, 2**63 - 1))
    interval = first.mean(values, np.arange(50))
    assert first.mean(values[::-1], np.arange(50)) != interval  # other rows in between
    assert first.mean(values, np.arange(50)) == interval
    assert other.mean(values, np.arange(50)) != interval


def skewed_families(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors as of a reward model: some families are far worse. Their mean is 1."""
    clusters = np.repeat(np.arange(75), rng.integers(2, 10, size=75))
    scale = rng.gamma(2.0, 0.5, size=75)[clusters]
    return rng.exponential(size=len(clusters)) * scale, rng.normal(size=len(clusters)), clusters


def assert_as_often(too_high: float, too_low: float, replicates: int):
    """Between 92 and 98 % hold the truth, up to two standard errors of this simulation."""
    noise = 2 * sqrt(0.05 * 0.95 / replicates)
    assert 0.92 - noise <= 1 - too_high - too_low <= 0.98 + noise
    assert max(too_high, too_low) <= 0.045 + noise


def test_means_interval_holds_it_as_often_as_it_says():
    rng, bootstrap = np.random.default_rng(0), Bootstrap(400, 0.95, seed=0)
    found = [bootstrap.mean(*skewed_families(rng)[::2]) for _ in range(300)]
    too_high, too_low = (np.mean([e.low > 1 for e in found]), np.mean([e.high < 1 for e in found]))
    assert_as_often(too_high, too_low, 300)


def test_spearmans_interval_holds_it_as_often_as_it_says():
    """Of two normal variables, correlated within families, with r = 0.8: 6/π·asin(r/2)."""
    rng, bootstrap = np.random.default_rng(0), Bootstrap(400, 0.95, seed=0)
    truth, clusters = 6 / np.pi * np.arcsin(0.8 / 2), np.repeat(np.arange(40), 5)
    too_high, too_low = 0, 0
    for _ in range(120):
        shared, own = rng.normal(size=(2, 40)), rng.normal(size=(2, 200))
        first, noise = sqrt(0.3) * shared[:, clusters] + sqrt(0.7) * own
        second = 0.8 * first + 0.6 * noise
        found = bootstrap.of(metrics.resampled_spearman(first, second, clusters), clusters)
        too_high += found.low > truth
        too_low += found.high < truth
    assert_as_often(too_high / 120, too_low / 120, 120)

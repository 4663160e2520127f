"""Intervals of shares: by hand, and how often they hold the share that rows are drawn by."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from goldrm.statistics.shares import share

REPLICATES = 1500


def wilson(value: float, effective: float, clusters: int) -> tuple[float, float]:
    """The two shares p that lie t standard errors of their own from the value."""
    t = stats.t.ppf(0.975, clusters - 1)
    return tuple(
        sorted(np.roots([1 + t**2 / effective, -2 * value - t**2 / effective, value**2]).tolist())
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_exceptions_a_few_errors_are_feared(value: float):
    """10 clusters of 5, as if 3 errors were correlated by 0.3: a design effect of 1 + 4 · 0.3."""
    found = share(np.full(50, value), np.arange(50) % 10, 0.95)
    assert found[:1] + found[3:] == (value, 50, 10)
    assert (found.low, found.high) == pytest.approx(wilson(value, 50 / 2.2, 10), abs=1e-9)
    assert value in (found.low, found.high)


def test_independent_rows_are_wilsons():
    """A cluster each, of which none has a neighbour."""
    found = share((np.arange(40) < 30) * 1.0, np.arange(40), 0.95)
    assert found == (0.75, *map(pytest.approx, wilson(0.75, 40, 40)), 40, 40)


def test_clusters_by_hand():
    """Four clusters of 2: both right, both wrong, both right, one right."""
    right = np.array([1.0, 1, 0, 0, 1, 1, 1, 0])
    # Deviations from 5/8 sum to 3/4, -5/4, 3/4, -1/4 in the clusters; 4/3 since the mean is fitted.
    pairs = (9 + 25 + 9 + 1) / 16 * 4 / 3 - (5 * 9 + 3 * 25) / 64
    effect = 1 + (pairs + 1 * 3 * 0.3) / (8 * 15 / 64 + 3)
    found = share(right, np.repeat(np.arange(4), 2), 0.95)
    assert (found.low, found.high) == pytest.approx(wilson(5 / 8, 8 / effect, 4))


def test_one_cluster_says_hardly_anything():
    found = share(np.ones(20), np.zeros(20), 0.95)
    assert found.low < 0.02
    assert found.high == 1


def test_ends_meet_from_no_error_to_a_few():
    """Each error more moves both ends down, a little; only without any is the upper one 1."""
    clusters = np.arange(300) % 60
    found = [share((np.arange(300) >= errors).astype(float), clusters, 0.95) for errors in range(6)]
    lows, highs = ([getattr(each, end) for each in found] for end in ("low", "high"))
    assert (np.diff(lows) < 0).all()
    assert (np.diff(highs) < 0).all()
    assert max(-np.diff(lows)) < 0.01
    assert highs[0] == 1 > highs[1]


def test_share_of_nothing():
    nothing = share(np.array([]), np.array([]), 0.95)
    assert np.isnan(nothing[:3]).all()
    assert nothing[3:] == (0, 0)


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.97, 0.99])
def test_interval_holds_the_truth_as_often_as_it_says(truth: float, correlation: float):
    """Families of several sizes with beta-distributed shares: rows of one are correlated.

    Nominal are 95 %, 2.5 % in each tail. Where few errors are expected, they are rather too wide.
    """
    sizes = np.repeat([5, 9, 13, 17, 21], 15)
    rng, clusters = np.random.default_rng(1), np.repeat(np.arange(75), sizes)
    too_high, too_low = 0, 0
    for _ in range(REPLICATES):
        of_families = np.full(75, truth)
        if correlation:
            both = 1 / correlation - 1
            of_families = rng.beta(truth * both, (1 - truth) * both, size=75)
        found = share((rng.random(len(clusters)) < of_families[clusters]) * 1.0, clusters, 0.95)
        too_high += found.low > truth
        too_low += found.high < truth
    noise = 2.5 * sqrt(0.03 * 0.97 / REPLICATES)
    assert 1 - (too_high + too_low) / REPLICATES >= 0.92
    assert 1 - (too_high + too_low) / REPLICATES <= (0.98 if truth < 0.97 else 0.99) + noise
    assert max(too_high, too_low) / REPLICATES <= 0.045 + noise

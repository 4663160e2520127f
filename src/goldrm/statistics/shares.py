"""Intervals of shares, such as accuracies, over rows that aren't independent."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from goldrm.statistics.metrics import Floats

# Three errors with this share of errors among the rows of their clusters are added to what is seen,
# so that a few errors, or none, don't pass for independent ones. Both were chosen by simulation.
PRIOR_ERRORS = 3
PRIOR_CORRELATION = 0.3


class Estimate(NamedTuple):
    """A statistic with its interval, from `low` to `high`, and what is behind it.

    Attributes:
        value: the statistic; NaN where there are no rows.
        low: the interval's lower end.
        high: its upper end.
        n: how many rows there are.
        families: how many clusters they come from; rows of one aren't independent.
    """

    value: float
    low: float
    high: float
    n: int
    families: int


NOTHING = Estimate(np.nan, np.nan, np.nan, 0, 0)


def share(values: Floats, clusters: npt.NDArray[Any], confidence: float) -> Estimate:
    """The mean of values from 0 to 1, such as wrong or right: Wilson's interval, by an effective n.

    The method is one whatever the share is. An end is 0 or 1 only where all values are.

    Args:
        values: one a row, 0 to 1.
        clusters: each row's cluster.
        confidence: of the interval, 0 to 1.

    Source: Franco, Little, Louis and Slud, Comparative study of confidence intervals for
        proportions in complex sample surveys (2019), their Wilson interval with the effective n,
        and t for the normal quantile as Korn and Graubard (1998) have it.
    """
    if not len(values):
        return NOTHING
    _, cluster_of_row, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    n, value = len(values), float(values.mean())
    effective = n / _design_effect(values - value, cluster_of_row, sizes, value * (1 - value))
    # Of one cluster nothing is known about others: t has its heaviest tails.
    t = float(scipy.special.stdtrit(max(len(sizes) - 1, 1), (1 + confidence) / 2))
    weight = 1 / (1 + t**2 / effective)
    centre = weight * value + (1 - weight) / 2
    half = t * weight * np.sqrt(value * (1 - value) / effective + (t / effective / 2) ** 2)
    # Rounding must not part a share of 0 or 1 from its end.
    low, high = min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value)
    return Estimate(value, float(low), float(high), n, len(sizes))


def _design_effect(
    deviation: Floats,
    cluster_of_row: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    variance: float,
) -> float:
    """How many rows say as much as one independent row, from 1 to the mean row's cluster's size.

    It is 1 + (m - 1) * icc, where m is the mean row's cluster's size (Kish, 1965) and icc the
    correlation of rows of a cluster, estimated from all pairs of them as if there were
    `PRIOR_ERRORS` errors more with a correlation of `PRIOR_CORRELATION`.

    Args:
        deviation: each row's value less the mean.
        cluster_of_row: numbers from 0.
        sizes: of the clusters, in rows.
        variance: of a row.
    """
    clusters, rows = len(sizes), len(deviation)
    size_of_a_row = float((sizes**2).sum() / rows)
    if clusters == 1:
        return size_of_a_row
    sums = np.bincount(cluster_of_row, weights=deviation)
    # The mean is fitted to the same clusters, which makes their sums look too small.
    between_pairs = (sums**2).sum() * clusters / (clusters - 1) - (deviation**2).sum()
    excess = (between_pairs + (size_of_a_row - 1) * PRIOR_ERRORS * PRIOR_CORRELATION) / (
        rows * variance + PRIOR_ERRORS
    )
    return float(np.clip(1 + excess, 1, size_of_a_row))

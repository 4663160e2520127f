"""Statistics of rewards against gold rewards."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from jaxtyping import Float

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Of how often each cluster is in each resample, clusters in sorted order: each one's statistic.
ClusterStatistic = Callable[
    [Float[np.ndarray, "resamples clusters"]], Float[np.ndarray, " resamples"]
]


def pairs_right(chosen_reward: Floats, rejected_reward: Floats) -> Floats:
    """1 for each pair whose chosen completion has the higher reward, 0 for the lower, 1/2 a tie."""
    return (np.sign(chosen_reward - rejected_reward) + 1) / 2


def r_squared(squared_error: Floats, gold_reward: Floats, square: Floats, n: Floats) -> Floats:
    """1 - mean squared error / variance of the gold reward, up to 1; 0 where that is constant.

    It judges the rewards as they are: unlike a squared correlation it is below 0 where the mean
    gold reward would have been the better guess.

    Args:
        squared_error: the sum over all rows of (reward - gold_reward)², a number a resample.
        gold_reward: the sum of the gold rewards.
        square: the sum of their squares.
        n: the number of rows.
    """
    variation = square - gold_reward**2 / n
    varies = variation > 1e-9 * square
    return np.where(varies, 1 - squared_error / np.where(varies, variation, 1.0), 0.0)


def spearman(reward: Floats, gold_reward: Floats) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where either side is constant."""
    together = resampled_spearman(reward, gold_reward, np.zeros(len(reward)))
    return float(together(np.ones((1, 1)))[0])


def resampled_spearman(
    first: Floats, second: Floats, clusters: npt.NDArray[Any]
) -> ClusterStatistic:
    """Spearman's correlation of resamples of clusters: equal values share their mean rank.

    A row's rank less the mean rank is a sum over clusters, each as often as it was drawn. So sums
    over rows of products of ranks are sums over triples of clusters, which are added up only once.

    Args:
        first: one a row.
        second: one a row.
        clusters: each row's cluster.
    """
    names, cluster_of_row = np.unique(clusters, return_inverse=True)
    rows = [np.flatnonzero(cluster_of_row == number) for number in range(len(names))]
    sides = [_ranks_by_cluster(values, rows) for values in (first, second)]

    def products(one: Floats, other: Floats) -> ClusterStatistic:
        of_clusters = np.stack([one[own].T @ other[own] for own in rows])  # clusters, three times

        def drawn(counts: Floats) -> Floats:
            left = np.tensordot(counts, of_clusters, axes=1)
            return np.einsum("rde,rd,re->r", left, counts, counts, optimize=True)

        return drawn

    squares, together = [products(side, side) for side in sides], products(*sides)

    def correlation(counts: Floats) -> Floats:
        spread = np.sqrt(squares[0](counts) * squares[1](counts))
        return np.divide(together(counts), spread, out=np.zeros_like(spread), where=spread > 1e-9)

    return correlation


def _ranks_by_cluster(values: Floats, rows: Sequence[Ints]) -> Float[np.ndarray, "rows clusters"]:
    """What each cluster, if drawn once, adds to each row's rank less the mean rank.

    It is how many of the cluster's rows are less, and half as many as are equal, less half of all.

    Args:
        values: one a row.
        rows: the numbers of each cluster's rows.
    """
    ranks = np.empty((len(values), len(rows)))
    for cluster, own in enumerate(rows):
        ascending = np.sort(values[own])
        ends = [np.searchsorted(ascending, values, side) for side in ("left", "right")]
        ranks[:, cluster] = (ends[0] + ends[1] - len(own)) / 2
    return ranks


def kendall(reward: Floats, gold_reward: Floats) -> float:
    """Kendall's tau-b, -1 to 1: ties on either side count for neither; 0 where one is constant."""
    if np.ptp(reward) == 0 or np.ptp(gold_reward) == 0:
        return 0.0
    return float(scipy.stats.kendalltau(reward, gold_reward, variant="b").statistic)


def resampled_partial_spearman(
    first: Floats, second: Floats, control: Floats, clusters: npt.NDArray[Any]
) -> ClusterStatistic:
    """Spearman's correlation of two quantities beyond what a third explains of both, -1 to 1.

    It is Pearson's correlation of what remains of the two sides' ranks after linear regression on
    the control's ranks, such as of the reward with the length, beyond the gold reward. It is 0
    where nothing remains of a side, because it is constant or a monotone function of the control.

    Args:
        first: one a row.
        second: one a row.
        control: one a row.
        clusters: each row's cluster.
    """
    pairs = ((first, second), (first, control), (second, control))
    correlations = [resampled_spearman(*pair, clusters) for pair in pairs]

    def correlation(counts: Floats) -> Floats:
        together, of_first, of_second = (statistic(counts) for statistic in correlations)
        left_of_first, left_of_second = 1 - of_first**2, 1 - of_second**2
        remains = np.minimum(left_of_first, left_of_second) >= 1e-12
        left = np.where(remains, left_of_first * left_of_second, 1.0)
        return np.where(remains, (together - of_first * of_second) / np.sqrt(left), 0.0)

    return correlation

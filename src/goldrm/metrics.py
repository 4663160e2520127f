"""Statistics of rewards against gold rewards. Pure functions of arrays; no files, no tensors."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def pairwise_accuracy(chosen_reward: Floats, rejected_reward: Floats) -> float:
    """Share of pairs, 0 to 1, whose chosen completion has the higher reward; a tie counts half."""
    return float((np.sign(chosen_reward - rejected_reward) + 1).mean() / 2)


def mean_squared_error(reward: Floats, gold_reward: Floats) -> float:
    """Mean of (reward - gold_reward)²."""
    return float(((reward - gold_reward) ** 2).mean())


def mean_absolute_error(reward: Floats, gold_reward: Floats) -> float:
    """Mean of |reward - gold_reward|."""
    return float(np.abs(reward - gold_reward).mean())


def spearman(reward: Floats, gold_reward: Floats) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where either side is constant."""
    if np.ptp(reward) == 0 or np.ptp(gold_reward) == 0:
        return 0.0
    return float(stats.spearmanr(reward, gold_reward).statistic)


def bootstrap_interval(
    statistic: Callable[[Ints], float],
    clusters: Ints,
    samples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap that resamples whole clusters, since rows of one aren't independent.

    Args:
        statistic: of the rows with the given numbers, which may repeat.
        clusters: each row's cluster.
        samples: how many resamples.
        confidence: of the interval, 0 to 1.
        rng: where the resamples come from.

    Returns:
        Lower and upper end.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8.
    """
    _, cluster_of_row = np.unique(clusters, return_inverse=True)
    rows_by_cluster = np.split(
        np.argsort(cluster_of_row, kind="stable"), np.cumsum(np.bincount(cluster_of_row))[:-1]
    )
    values = [
        statistic(
            np.concatenate(
                [
                    rows_by_cluster[i]
                    for i in rng.integers(len(rows_by_cluster), size=len(rows_by_cluster))
                ]
            )
        )
        for _ in range(samples)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)

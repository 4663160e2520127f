"""Statistics of rewards against gold rewards."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ONCE = np.ones(1)  # counts of rows that count once each


def pairs_right(chosen_reward: Floats, rejected_reward: Floats) -> Floats:
    """1 for each pair whose chosen completion has the higher reward, 0 for the lower, 1/2 a tie."""
    return (np.sign(chosen_reward - rejected_reward) + 1) / 2


def r_squared(reward: Floats, gold_reward: Floats) -> float:
    """1 - mean squared error / variance of the gold reward, up to 1; 0 where that is constant.

    It judges the rewards as they are: unlike a squared correlation it is below 0 where the mean
    gold reward would have been the better guess.
    """
    if np.ptp(gold_reward) == 0:
        return 0.0
    return 1 - float(((reward - gold_reward) ** 2).mean() / gold_reward.var())


def ranks(
    values: Float[np.ndarray, " rows"], counts: Float[np.ndarray, "*resamples rows"]
) -> Float[np.ndarray, "*resamples rows"]:
    """Ranks from 1 of rows that may stand there several times; equal values share their mean.

    Args:
        values: one a row.
        counts: how often each row stands there, in each of some resamples.

    Returns:
        Each row's rank in each resample. Values 5, 5 and 8, the first standing there twice and the
        others once, are 5, 5, 5, 8 and have the ranks 2, 2 and 4.
    """
    _, value_of_row = np.unique(values, return_inverse=True)
    ascending = np.argsort(value_of_row, kind="stable")
    firsts = np.flatnonzero(np.diff(value_of_row[ascending], prepend=-1))
    standing = np.add.reduceat(counts[..., ascending], firsts, axis=-1)  # (..., distinct values)
    up_to = standing.cumsum(axis=-1)
    return (up_to - (standing - 1) / 2)[..., value_of_row]


def spearman(
    reward: Float[np.ndarray, " rows"],
    gold_reward: Float[np.ndarray, " rows"],
    counts: Float[np.ndarray, "*resamples #rows"] = ONCE,
) -> Float[np.ndarray, "*resamples"]:
    """Spearman's rank correlation, -1 to 1; 0 where either side is constant.

    Args:
        reward: one a row.
        gold_reward: one a row.
        counts: how often each row counts, in each of some resamples.
    """
    counts = np.broadcast_to(counts, (*counts.shape[:-1], len(reward)))
    # The mean of all ranks, shared or not, is half of one more than there are.
    centre = (counts.sum(axis=-1, keepdims=True) + 1) / 2
    first, second = (ranks(values, counts) - centre for values in (reward, gold_reward))
    spread = np.sqrt((counts * first**2).sum(axis=-1) * (counts * second**2).sum(axis=-1))
    together = (counts * first * second).sum(axis=-1)
    return np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0)


def kendall(reward: Floats, gold_reward: Floats) -> float:
    """Kendall's tau-b, -1 to 1: ties on either side count for neither; 0 where one is constant."""
    if np.ptp(reward) == 0 or np.ptp(gold_reward) == 0:
        return 0.0
    return float(stats.kendalltau(reward, gold_reward, variant="b").statistic)


def partial_spearman(
    first: Float[np.ndarray, " rows"],
    second: Float[np.ndarray, " rows"],
    control: Float[np.ndarray, " rows"],
    counts: Float[np.ndarray, "*resamples #rows"] = ONCE,
) -> Float[np.ndarray, "*resamples"]:
    """Spearman's correlation of two quantities beyond what a third explains of both, -1 to 1.

    It is Pearson's correlation of what remains of the two sides' ranks after linear regression on
    the control's ranks, such as of the reward with the length, beyond the gold reward. It is 0
    where nothing remains of a side, because it is constant or a monotone function of the control.

    Args:
        first: one a row.
        second: one a row.
        control: one a row.
        counts: of `spearman`.
    """
    of_first, of_second = spearman(first, control, counts), spearman(second, control, counts)
    left_of_first, left_of_second = 1 - of_first**2, 1 - of_second**2
    remains = np.minimum(left_of_first, left_of_second) >= 1e-12
    left = np.where(remains, left_of_first * left_of_second, 1.0)
    beyond = spearman(first, second, counts) - of_first * of_second
    return np.where(remains, beyond / np.sqrt(left), 0.0)

"""Statistics of rewards against gold rewards. Pure functions of arrays; no files, no tensors."""

from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def pairs_right(chosen_reward: Floats, rejected_reward: Floats) -> Floats:
    """1 for each pair whose chosen completion has the higher reward, 0 for the lower, 1/2 a tie."""
    return (np.sign(chosen_reward - rejected_reward) + 1) / 2


def pairwise_accuracy(chosen_reward: Floats, rejected_reward: Floats) -> float:
    """Share of pairs, 0 to 1, whose chosen completion has the higher reward; a tie counts half."""
    return float(pairs_right(chosen_reward, rejected_reward).mean())


def mean_squared_error(reward: Floats, gold_reward: Floats) -> float:
    """Mean of (reward - gold_reward)²."""
    return float(((reward - gold_reward) ** 2).mean())


def mean_absolute_error(reward: Floats, gold_reward: Floats) -> float:
    """Mean of |reward - gold_reward|."""
    return float(np.abs(reward - gold_reward).mean())


def r_squared(reward: Floats, gold_reward: Floats) -> float:
    """1 - mean squared error / variance of the gold reward, up to 1; 0 where that is constant.

    It judges the rewards as they are: unlike a squared correlation it is below 0 where the mean
    gold reward would have been the better guess.
    """
    if np.ptp(gold_reward) == 0:
        return 0.0
    return 1 - mean_squared_error(reward, gold_reward) / float(gold_reward.var())


def spearman(reward: Floats, gold_reward: Floats) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where either side is constant."""
    if np.ptp(reward) == 0 or np.ptp(gold_reward) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(reward), stats.rankdata(gold_reward))[0, 1])


def kendall(reward: Floats, gold_reward: Floats) -> float:
    """Kendall's tau-b, -1 to 1: ties on either side count for neither; 0 where one is constant."""
    if np.ptp(reward) == 0 or np.ptp(gold_reward) == 0:
        return 0.0
    return float(stats.kendalltau(reward, gold_reward, variant="b").statistic)


def partial_spearman(first: Floats, second: Floats, control: Floats) -> float:
    """Spearman's correlation of two quantities beyond what a third explains of both, -1 to 1.

    It is Pearson's correlation of what remains of the two sides' ranks after linear regression on
    the control's ranks, such as of the reward with the length, beyond the gold reward. It is 0
    where nothing remains of a side, because it is constant or a monotone function of the control.
    """
    of_first, of_second = spearman(first, control), spearman(second, control)
    left_of_first, left_of_second = 1 - of_first**2, 1 - of_second**2
    if min(left_of_first, left_of_second) < 1e-12:
        return 0.0
    return (spearman(first, second) - of_first * of_second) / sqrt(left_of_first * left_of_second)

"""The gold reward: how near an answer is to the exact one."""

import math

from goldrm.task.params import GoldRewardParams


def gold_reward(error: float, params: GoldRewardParams) -> float:
    """Reward of an answer: min + (max - min) / (1 + beta * sqrt(error)).

    It is `max` exactly where there is no error, and near `min` where it is large.

    Args:
        error: of `Prompts.error`, a function of prompt and completion alone.
        params: the reward's range and steepness.

    Source: the notebook, cell "Generate training set", which pads both series to the length of the
    other completion of the pair, too, so that a completion's reward depends on its rival.

    Example:
        One term off by 6 with the notebook's 1, 7 and 0.1: 1 + 6 / (1 + 0.1 * sqrt(6)) = 5.8195.
    """
    return params.min + (params.max - params.min) / (1 + params.beta * math.sqrt(error))

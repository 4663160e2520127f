"""The gold reward: how near a completion's numbers are to the exact series."""

import math
from collections.abc import Sequence

from goldrm.task.params import GoldRewardParams


def gold_reward(exact: Sequence[int], generated: Sequence[int], params: GoldRewardParams) -> float:
    """Reward of a generated series: min + (max - min) / (1 + beta * sqrt(sum |exact - generated|)).

    The shorter of the two is first padded with its own last term to the length of the other. So
    the reward is a function of prompt and completion alone. It is `max` exactly when no term
    differs, and near `min` where the terms are far off.

    Args:
        exact: the series asked for, at least one term.
        generated: the completion's numbers, at least one.
        params: the reward's range and steepness.

    Raises:
        ValueError: when either is empty.

    Source: the notebook, cell "Generate training set", which also pads both to the length of the
    other completion of the pair, so that a completion's reward depends on its rival.

    Example:
        One term off by 6 with the notebook's 1, 7 and 0.1: 1 + 6 / (1 + 0.1 * sqrt(6)) = 5.8195.
    """
    if not exact or not generated:
        raise ValueError("a series without terms has no gold reward")
    length = max(len(exact), len(generated))
    terms = zip(_padded(exact, length), _padded(generated, length), strict=True)
    error = math.sqrt(sum(abs(expected - actual) for expected, actual in terms))
    return params.min + (params.max - params.min) / (1 + params.beta * error)


def _padded(series: Sequence[int], length: int) -> list[int]:
    return [*series, *[series[-1]] * (length - len(series))]

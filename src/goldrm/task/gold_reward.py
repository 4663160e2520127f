"""The gold reward: how near a completion's numbers are to the exact series. Pure Python.

It must not know tokens, tensors or files.
"""

import math
from collections.abc import Sequence

from goldrm.task.params import GoldRewardParams


def gold_reward(exact: Sequence[int], generated: Sequence[int], params: GoldRewardParams) -> float:
    """Reward of a generated series: min + (max - min) / (1 + beta * sqrt(sum |exact - generated|)).

    The shorter of the two is first padded with its own last term to the length of the other, so
    the reward is a function of prompt and completion alone. `max` exactly when no term differs;
    near `min` for what is far off.

    Args:
        exact: the series asked for, at least one term.
        generated: the completion's numbers, at least one.
        params: the range and the steepness.

    Raises:
        ValueError: when either is empty.

    Source: the notebook, cell "Generate training set". It also pads both to the rival completion's
    length, and so lets a completion's reward depend on its rival.

    Example:
        One term off by 6 with the notebook's 1, 7 and 0.1: 1 + 6 / (1 + 0.1 * sqrt(6)) = 5.8195.
    """
    if not exact or not generated:
        raise ValueError("a series without terms has no gold reward")
    length = max(len(exact), len(generated))
    pairs = zip(_padded(exact, length), _padded(generated, length), strict=True)
    error = math.sqrt(sum(abs(right - found) for right, found in pairs))
    return params.min + (params.max - params.min) / (1 + params.beta * error)


def _padded(series: Sequence[int], length: int) -> list[int]:
    return [*series, *[series[-1]] * (length - len(series))]

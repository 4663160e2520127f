"""Preference pairs: which of two completions of a prompt has the higher gold reward."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from goldrm.task.task import Task

# Behind those of `Task.prompt_columns`.
PAIR_COLUMNS = {
    "chosen": "str",
    "rejected": "str",
    "chosen_gold_reward": "float64",
    "rejected_gold_reward": "float64",
    "margin": "float64",
}
PAIR_KEY = ["prompt_id", "chosen", "rejected"]  # what makes two pairs the same


def preference_pairs(completions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The different pairs of a group's completions whose gold rewards differ.

    A completion that was sampled twice makes no pair twice.

    Args:
        completions: columns of `Task.labelled` and `Task.prompt_columns`; a group's are all of one
            prompt.
        task: knows the prompts.

    Returns:
        `Task.prompt_columns` and `PAIR_COLUMNS`, each `PAIR_KEY` once, by group; `margin` is the
        difference of the gold rewards.
    """
    known = completions.dropna(subset="gold_reward").sort_values("group", kind="stable")
    known = known.drop_duplicates(["group", "completion"], ignore_index=True)
    first, second = _two_of_a_group(known["group"].to_numpy())
    gold_reward = known["gold_reward"].to_numpy()
    differs = gold_reward[first] != gold_reward[second]
    first, second = first[differs], second[differs]
    is_right = gold_reward[first] > gold_reward[second]
    chosen, rejected = np.where(is_right, (first, second), (second, first))
    return (
        known[list(task.prompt_columns)]
        .take(chosen)
        .assign(
            chosen=known["completion"].take(chosen).array,
            rejected=known["completion"].take(rejected).array,
            chosen_gold_reward=gold_reward[chosen],
            rejected_gold_reward=gold_reward[rejected],
            margin=gold_reward[chosen] - gold_reward[rejected],
        )
        .drop_duplicates(PAIR_KEY, ignore_index=True)
    )


def _two_of_a_group(
    group: Int[np.ndarray, " rows"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Each two rows of a group, the first one first.

    Args:
        group: of each row, ascending.

    Example:
        Groups 4, 4, 4, 7, 7: rows 0 and 1, 0 and 2, 1 and 2, 3 and 4.
    """
    row = np.arange(len(group))
    behind = np.searchsorted(group, group, side="right") - row - 1  # rows of the same group
    first = np.repeat(row, behind)
    steps = np.arange(len(first)) - np.repeat(behind.cumsum() - behind, behind)
    return first, first + 1 + steps

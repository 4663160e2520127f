"""Preference pairs: which of two completions of a prompt has the higher gold reward."""

import numpy as np
import pandas as pd

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
        completions: columns of `Task.labelled`; a group's are all of one prompt.
        task: knows the prompts.

    Returns:
        `Task.prompt_columns` and `PAIR_COLUMNS`, each `PAIR_KEY` once, by group; `margin` is the
        difference of the gold rewards.
    """
    known = completions.dropna(subset="gold_reward").sort_values("group", kind="stable")
    known = known.drop_duplicates(["group", "completion"], ignore_index=True)
    rows = known[["group"]].assign(row=known.index)
    rows = rows.merge(rows, on="group", suffixes=("_first", "_second"))
    first, second = rows["row_first"].to_numpy(), rows["row_second"].to_numpy()
    gold_reward = known["gold_reward"].to_numpy()
    is_pair = (first < second) & (gold_reward[first] != gold_reward[second])
    first, second = first[is_pair], second[is_pair]
    is_right = gold_reward[first] > gold_reward[second]
    chosen, rejected = np.where(is_right, (first, second), (second, first))
    pairs = known[["prompt_id"]].take(chosen).reset_index(drop=True)
    return (
        task.with_prompts(pairs)
        .assign(
            chosen=known["completion"].take(chosen).array,
            rejected=known["completion"].take(rejected).array,
            chosen_gold_reward=gold_reward[chosen],
            rejected_gold_reward=gold_reward[rejected],
            margin=gold_reward[chosen] - gold_reward[rejected],
        )
        .drop_duplicates(PAIR_KEY, ignore_index=True)
        .astype(PAIR_COLUMNS)
    )

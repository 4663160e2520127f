"""Preference pairs: which of two completions of a prompt has the higher gold reward."""

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
    columns = ["group", "prompt_id", "completion", "gold_reward"]
    labelled = completions.dropna(subset="gold_reward").sort_values("group", kind="stable")
    labelled = labelled[columns].reset_index(drop=True)
    labelled["row"] = labelled.index
    pairs = labelled.merge(labelled, on=["group", "prompt_id"], suffixes=("_first", "_second"))
    pairs = pairs[pairs["row_first"] < pairs["row_second"]]
    pairs = pairs[pairs["gold_reward_first"] != pairs["gold_reward_second"]].reset_index(drop=True)
    first, second = pairs["completion_first"], pairs["completion_second"]
    first_is_better = pairs["gold_reward_first"] > pairs["gold_reward_second"]
    gold_rewards = pairs[["gold_reward_first", "gold_reward_second"]]
    return (
        task.with_prompts(pairs[["prompt_id"]])
        .assign(
            chosen=first.where(first_is_better, second),
            rejected=second.where(first_is_better, first),
            chosen_gold_reward=gold_rewards.max(axis=1),
            rejected_gold_reward=gold_rewards.min(axis=1),
            margin=gold_rewards.max(axis=1) - gold_rewards.min(axis=1),
        )
        .drop_duplicates(PAIR_KEY, ignore_index=True)
        .astype(PAIR_COLUMNS)
    )

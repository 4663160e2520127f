"""Preference pairs: which of two completions of a prompt has the higher gold reward."""

import pandas as pd

from goldrm.task.task import PROMPT_COLUMNS, Task

PAIR_COLUMNS = PROMPT_COLUMNS | {
    "chosen": "str",
    "rejected": "str",
    "chosen_gold_reward": "float64",
    "rejected_gold_reward": "float64",
    "margin": "float64",
}


def preference_pairs(completions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """All pairs of a group's completions whose gold rewards differ, the better one chosen.

    Args:
        completions: rows of `Task.completion`; a group's are all of one prompt.
        task: knows the prompts.

    Returns:
        The columns of `PAIR_COLUMNS`, in the order of the groups.
    """
    usable = completions.dropna(subset="gold_reward").sort_values("group", kind="stable")
    usable = usable[["group", "prompt_id", "completion", "gold_reward"]].reset_index(drop=True)
    usable["place"] = usable.index
    both = usable.merge(usable, on=["group", "prompt_id"])
    both = both[both["place_x"] < both["place_y"]]
    both = both[both["gold_reward_x"] != both["gold_reward_y"]].reset_index(drop=True)
    first_is_better = both["gold_reward_x"] > both["gold_reward_y"]
    better = both["completion_x"].where(first_is_better, both["completion_y"])
    worse = both["completion_y"].where(first_is_better, both["completion_x"])
    gold_rewards = both[["gold_reward_x", "gold_reward_y"]]
    pairs = task.with_prompts(both[["prompt_id"]]).assign(
        chosen=better,
        rejected=worse,
        chosen_gold_reward=gold_rewards.max(axis=1),
        rejected_gold_reward=gold_rewards.min(axis=1),
        margin=gold_rewards.max(axis=1) - gold_rewards.min(axis=1),
    )
    return pairs.astype(PAIR_COLUMNS)

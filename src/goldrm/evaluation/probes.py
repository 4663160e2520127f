"""Probes: exact series with one thing wrong, whose rewards must be lower."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from goldrm.edits.probes import probes
from goldrm.statistics import groups, metrics
from goldrm.task.task import Task

COLUMNS = [
    *("prompt_id", "prompt", "family", "kind", "size", "position", "completion", "gold_reward")
]


def probe_completions(prompt_ids: Sequence[int], task: Task) -> pd.DataFrame:
    """The exact series of prompts, and every probe of them.

    Args:
        prompt_ids: the prompts, none twice.
        task: knows them and the gold reward.

    Returns:
        prompt_id, prompt, family, kind (of edit; exact: none), size, position (of the edit; 0 where
        there is none), completion, gold_reward.
    """
    rows: list[tuple[object, ...]] = []
    for prompt_id in prompt_ids:
        prompt = task.space[prompt_id]
        about = (prompt_id, prompt.text, task.family(prompt_id))
        edits = probes(prompt.exact, prompt.step, task.params.max_value)
        for kind, size, position, values in (("exact", 0, 0, prompt.exact), *edits):
            gold_reward = task.gold_reward(prompt_id, values)
            completion = " ".join(map(str, values))
            rows.append((*about, kind, size, position, completion, gold_reward))
    return pd.DataFrame(rows, columns=COLUMNS)


def with_exact_reward(completions: pd.DataFrame) -> pd.DataFrame:
    """The probes, each beside the reward of its prompt's exact series.

    Args:
        completions: of `probe_completions`, with a column reward.

    Returns:
        The same columns and exact_reward; the rows of exact series are gone.
    """
    is_exact = completions["kind"] == "exact"
    exact_reward = completions[is_exact].set_index("prompt_id")["reward"]
    table = completions[~is_exact]
    return table.assign(exact_reward=table["prompt_id"].map(exact_reward))


def probe_accuracy(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """How often the reward is below the exact series', by what is wrong. Ties count one half.

    Args:
        table: of `with_exact_reward`.
        confidence: of the intervals, 0 to 1.

    Returns:
        probe (kind of edit), value, low, high, n (probes), families.
    """
    below = groups.share_by_label(
        metrics.pairs_right(table["exact_reward"].to_numpy(), table["reward"].to_numpy()),
        table["kind"].to_numpy(),
        table["family"].to_numpy(),
        confidence,
    )
    return below.rename(columns={"label": "probe"})


def off_by_one_more(table: pd.DataFrame) -> pd.DataFrame:
    """The probes of a term off by some size that have one of the same term off by one more.

    Args:
        table: of `probe_completions` or `with_exact_reward`, with a column reward.

    Returns:
        The columns of `table`; reward_further is that of the term off by one more.
    """
    off = table[table["kind"] == "one_off"]
    off = off.assign(sign=np.sign(off["size"]), size=off["size"].abs())
    keys = ["prompt_id", "position", "sign", "size"]
    further = off.assign(size=off["size"] - 1)[[*keys, "reward"]]
    return off.merge(further, on=keys, suffixes=("", "_further"))


def rewards_by_size(table: pd.DataFrame) -> pd.DataFrame:
    """Mean rewards of exact series with one term off, by how much it is off.

    Args:
        table: of `with_exact_reward`.

    Returns:
        size, reward, gold_reward, n (probes).
    """
    off = table[table["kind"] == "one_off"]
    by_size = off.assign(size=off["size"].abs()).groupby("size")
    return by_size[["reward", "gold_reward"]].mean().assign(n=by_size.size()).reset_index()

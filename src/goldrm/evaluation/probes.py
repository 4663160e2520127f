"""Probes: exact series with one thing wrong, whose rewards must be lower."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from goldrm.edits.probes import probes
from goldrm.evaluation.families import family_names
from goldrm.statistics import groups, metrics
from goldrm.task.task import Task


def probe_completions(prompt_ids: Sequence[int], task: Task) -> pd.DataFrame:
    """The exact series of prompts, and every probe of them.

    Args:
        prompt_ids: the prompts, none twice.
        task: knows them and the gold reward.

    Returns:
        prompt_id, prompt, family (of `family_names`), kind (of edit; exact: none), size,
        position (of the edit; 0 where there is none), completion, gold_reward.
    """
    rows: list[dict[str, object]] = []
    for prompt_id in prompt_ids:
        prompt, exact = task.space[prompt_id], task.exact(prompt_id)
        edits = [
            (edit.kind, edit.size, edit.position, edit.series)
            for edit in probes(exact, prompt.difference, task.params.max_value)
        ]
        for kind, size, position, series in (("exact", 0, 0, exact), *edits):
            completion = task.series(0, prompt_id, series)
            rows.append(
                {
                    "prompt_id": prompt_id,
                    "prompt": prompt.text,
                    "kind": kind,
                    "size": size,
                    "position": position,
                    "completion": completion["completion"],
                    "gold_reward": completion["gold_reward"],
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(family=family_names(table["prompt_id"].tolist(), task))


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

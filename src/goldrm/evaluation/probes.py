"""Probes: exact series with one thing wrong, whose rewards must be lower."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from goldrm.edits.probes import probes
from goldrm.evaluation.statistics import groups, metrics
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.evaluation.tables import series_numbers
from goldrm.task.task import Task


def probe_completions(prompt_ids: Sequence[int], task: Task) -> pd.DataFrame:
    """The exact series of prompts, and every probe of them.

    Args:
        prompt_ids: the prompts, none twice.
        task: knows them and the gold reward.

    Returns:
        prompt_id, prompt, series (of `tables.series_numbers`), kind (of edit; exact: none), size,
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
    return table.assign(series=series_numbers(table["prompt_id"].tolist(), task))


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


def probe_accuracy(table: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """How often the reward is lower where it must be.

    Args:
        table: of `with_exact_reward`.
        bootstrap: for the intervals.

    Returns:
        probe, value, low, high, n (probes). A probe is a kind of edit, where the reward must be
        below the exact series', or one_off_further, where a term off by one more must have a lower
        reward than the same term off by one less. Ties count one half.
    """
    below = groups.mean_by_label(
        metrics.pairs_right(table["exact_reward"].to_numpy(), table["reward"].to_numpy()),
        table["kind"].to_numpy(),
        table["series"].to_numpy(),
        bootstrap,
    )
    near = _off_by_one_more(table)
    further = groups.mean_by_label(
        metrics.pairs_right(near["reward"].to_numpy(), near["reward_further"].to_numpy()),
        np.full(len(near), "one_off_further"),
        near["series"].to_numpy(),
        bootstrap,
    )
    return pd.concat([below, further]).rename(columns={"label": "probe"})


def _off_by_one_more(table: pd.DataFrame) -> pd.DataFrame:
    """The probes of a term off by some size that have one of the same term off by one more.

    Returns:
        The columns of `table`; those of the probe that is off by one more end in _further.
    """
    off = table[table["kind"] == "one_off"]
    off = off.assign(sign=np.sign(off["size"]), size=off["size"].abs())
    further = off.assign(size=off["size"] - 1)
    keys = ["prompt_id", "position", "sign", "size"]
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

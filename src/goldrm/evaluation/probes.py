"""Completions made to try a reward model: exact series with one thing wrong, and what fools it.

Their gold rewards are exact. It must not know how rewards are made, nor files.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from goldrm.edits.probes import probes
from goldrm.evaluation.statistics import groups, metrics
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.evaluation.tables import series_numbers
from goldrm.task.task import Task

Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


def probe_table(prompt_ids: Sequence[int], task: Task, score: Score) -> pd.DataFrame:
    """Every probe of the prompts' exact series, with its reward and the exact completion's.

    Returns:
        prompt_id, prompt, series (of `evaluation.series_numbers`), kind, k, position, completion,
        gold_reward, reward, exact_reward.
    """
    rows: list[dict[str, object]] = []
    for group, prompt_id in enumerate(prompt_ids):
        prompt = task.space[prompt_id]
        exact = prompt.exact(task.params.max_value)
        asked = {"prompt": prompt.text}
        rows.append({**task.series(group, prompt_id, exact), **asked, "kind": "exact"})
        for probe in probes(exact, prompt.difference, task.params.max_value):
            row = task.series(group, prompt_id, probe.completion)
            rows.append(
                {**row, **asked, "kind": probe.kind, "k": probe.k, "position": probe.position}
            )
    table = pd.DataFrame(rows)
    table["reward"] = score(table["prompt"].tolist(), table["completion"].tolist())
    exact_rows = table[table["kind"] == "exact"].set_index("group")
    table["exact_reward"] = table["group"].map(exact_rows["reward"])
    table["series"] = series_numbers(table["prompt_id"].tolist(), task)
    return table[table["kind"] != "exact"].drop(columns=["group", "exact"])


def falls(table: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """How often the reward falls as it must.

    Args:
        table: of `probe_table`.
        bootstrap: for the intervals.

    Returns:
        label, count, value, low, high. Labels are the kinds of probe, where the reward must be
        below the exact completion's, and one_off_further, where a term off by one more must have
        a lower reward than the same term off by one less. Ties count one half.
    """
    fell = metrics.pairs_right(table["exact_reward"].to_numpy(), table["reward"].to_numpy())
    below = groups.mean_by_label(
        fell, table["kind"].to_numpy(), table["series"].to_numpy(), *bootstrap.options
    )
    near, far = _neighbours(table)
    further = groups.mean_by_label(
        metrics.pairs_right(near["reward"].to_numpy(), far["reward"].to_numpy()),
        np.full(len(near), "one_off_further"),
        near["series"].to_numpy(),
        *bootstrap.options,
    )
    return pd.concat([below, further], ignore_index=True)


def _neighbours(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of terms off by k, and of the same terms off by one more."""
    off = table[table["kind"] == "one_off"]
    off = off.assign(size=off["k"].abs(), sign=np.sign(off["k"]))
    keys = ["prompt_id", "position", "sign", "size"]
    further = off.assign(size=off["size"] - 1)
    both = off.merge(further, on=keys, suffixes=("", "_further"))
    far = both[["reward_further"]].rename(columns={"reward_further": "reward"})
    return both, far


def by_size(table: pd.DataFrame) -> pd.DataFrame:
    """Mean reward and gold reward of one term off by 1, 2, …: size, count, reward, gold_reward."""
    off = table[table["kind"] == "one_off"]
    sizes = off.assign(size=off["k"].abs().astype(int)).groupby("size")
    means = sizes[["reward", "gold_reward"]].mean()
    return means.assign(count=sizes.size()).reset_index()

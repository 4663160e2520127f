"""Completions made to try a reward model: exact series with one thing wrong, and what fools it.

Their gold rewards are exact. It must not know how rewards are made, nor files.
"""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pandas as pd

from goldrm import groups, metrics
from goldrm.edits import possible_kinds, probes, random_edit
from goldrm.evaluation import Bootstrap, over_estimates
from goldrm.preferences import Labeller
from goldrm.random_streams import stream_seed

Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
CHILDREN = 4  # edits of each over-estimate in a round of the search


def probe_table(prompt_ids: Sequence[int], labeller: Labeller, score: Score) -> pd.DataFrame:
    """Every probe of the prompts' exact series, with its reward and the exact completion's.

    Returns:
        prompt_id, prompt, series (a number for each exact series), kind, k, position, completion,
        gold_reward, reward, exact_reward.
    """
    rows: list[dict[str, object]] = []
    for group, prompt_id in enumerate(prompt_ids):
        prompt = labeller.space[prompt_id]
        exact = prompt.exact(labeller.task.max_value)
        asked = {"prompt": prompt.text, "series": " ".join(map(str, exact))}
        rows.append({**labeller.series(group, prompt_id, exact), **asked, "kind": "exact"})
        for probe in probes(exact, prompt.difference, labeller.task.max_value):
            row = labeller.series(group, prompt_id, probe.completion)
            rows.append(
                {**row, **asked, "kind": probe.kind, "k": probe.k, "position": probe.position}
            )
    table = pd.DataFrame(rows)
    table["reward"] = score(table["prompt"].tolist(), table["completion"].tolist())
    exact_rows = table[table["kind"] == "exact"].set_index("group")
    table["exact_reward"] = table["group"].map(exact_rows["reward"])
    table["series"] = pd.factorize(table["series"])[0]
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


def search_over_estimates(
    candidates: pd.DataFrame, labeller: Labeller, score: Score, rounds: int, count: int, seed: int
) -> pd.DataFrame:
    """Look for completions whose reward is too high by far: the worst, edited again and again.

    Args:
        candidates: where to start, with prompt_id, prompt, completion, gold_reward and reward.
        labeller: knows prompts and gold rewards.
        score: the reward model.
        rounds: of edits.
        count: how many over-estimates are kept from round to round, and returned.
        seed: of the edits.

    Returns:
        See `evaluation.over_estimates`.
    """
    rng = Random(stream_seed(seed, "over-estimates", 0))
    columns = ["prompt_id", "prompt", "completion", "gold_reward", "reward"]
    pool = candidates[columns]
    for _ in range(rounds):
        worst = over_estimates(pool, count).join(pool["prompt_id"])
        rows = [
            row
            for prompt_id, text in worst[["prompt_id", "completion"]].itertuples(index=False)
            for row in _children(prompt_id, text, labeller, rng)
        ]
        children = labeller.with_prompts(pd.DataFrame(rows))
        rewards = score(children["prompt"].tolist(), children["completion"].tolist())
        pool = pd.concat([pool, children.assign(reward=rewards)[columns]], ignore_index=True)
    return over_estimates(pool, count)


def _children(
    prompt_id: int, text: str, labeller: Labeller, rng: Random
) -> list[dict[str, object]]:
    series = tuple(map(int, text.split()))
    difference, max_value = labeller.space[prompt_id].difference, labeller.task.max_value
    kinds = possible_kinds(series, difference, max_value)
    return [
        labeller.series(0, prompt_id, random_edit(series, difference, max_value, rng, kinds))
        for _ in range(CHILDREN)
    ]

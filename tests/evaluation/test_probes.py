"""Probes, with scorers whose rewards are known without a model."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest

from goldrm.edits.probes import PROBE_KINDS, probes
from goldrm.evaluation.probes import (
    off_by_one_more,
    probe_accuracy,
    probe_completions,
    rewards_by_size,
    with_exact_reward,
)
from goldrm.statistics.shares import share
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task

# The last two are of a family, and ask for the same series, which is cut off at 100.
PROMPTS = [Series(1, 3, 4, 5), Series(2, 0, 1, 8), Series(1, 80, 9, 5), Series(3, 80, 9, 9)]
FAMILIES = ["3 7", "0 1", "80 89", "80 89"]


@pytest.fixture(scope="module")
def prompt_ids(task: Task) -> list[int]:
    return [task.space.id_of(prompt.text) for prompt in PROMPTS]


def scored(task: Task, prompt_ids: list[int], scale: float = 1.0) -> pd.DataFrame:
    """Probes whose rewards are the gold rewards times a number."""
    table = probe_completions(prompt_ids, task)
    return with_exact_reward(table.assign(reward=scale * table["gold_reward"]))


def test_probes_stand_beside_their_exact_series(task: Task, prompt_ids: list[int]):
    table = probe_completions(prompt_ids, task)
    expected = [
        (prompt_id, prompt.text, family, edit.kind, edit.size, edit.position)
        + (" ".join(map(str, edit.series)),)
        for prompt_id, prompt, family in zip(prompt_ids, PROMPTS, FAMILIES, strict=True)
        for edit in probes(prompt.exact(100), prompt.difference, 100)
    ]
    columns = ["prompt_id", "prompt", "family", "kind", "size", "position", "completion"]
    is_exact = table["kind"] == "exact"
    found = table.loc[~is_exact, columns].itertuples(index=False, name=None)
    assert list(found) == expected
    assert (table.loc[~is_exact, "gold_reward"] < 7).all()
    exact = table[is_exact]
    assert exact["completion"].tolist() == [
        *("3 7 11 15 19", "0 1 2 3 4 5 6 7", "80 89 98", "80 89 98")
    ]
    assert (exact["gold_reward"] == 7).all()


def test_exact_rewards_are_those_of_the_same_prompt(task: Task, prompt_ids: list[int]):
    """The last two prompts share a series, but each has a reward of its own."""
    table = probe_completions(prompt_ids, task)
    table = table.assign(reward=np.arange(len(table)) * 1.0)
    exact = table.groupby("prompt_id")["reward"].first()  # the exact series comes first
    found = with_exact_reward(table)
    assert "exact" not in set(found["kind"])
    assert len(found) == len(table) - 4
    assert found.groupby("prompt_id")["exact_reward"].unique().to_dict() == exact.to_dict()


@pytest.mark.parametrize(("scale", "share_right"), [(1, 1.0), (0, 0.5), (-1, 0.0)])
def test_how_often_the_reward_falls(
    task: Task, prompt_ids: list[int], scale: float, share_right: float
):
    table = scored(task, prompt_ids, scale)
    found = probe_accuracy(table, 0.95)
    assert list(found) == ["probe", "value", "low", "high", "n", "families"]
    assert found["probe"].tolist() == sorted(PROBE_KINDS)
    assert (found["value"] == share_right).all()
    assert found["n"].sum() == len(table)
    one_off = table[table["kind"] == "one_off"]
    expected = share(np.full(len(one_off), share_right), one_off["family"].to_numpy(), 0.95)
    assert tuple(found.set_index("probe").loc["one_off"]) == expected


def test_terms_off_by_one_more(task: Task, prompt_ids: list[int]):
    """Of the terms of 3 7 11 15 19 all can be off by up to 20 upwards; downwards 3, 7 … 19."""
    near = off_by_one_more(scored(task, prompt_ids[:1]))
    assert len(near) == 5 * 19 + (2 + 6 + 10 + 14 + 18)
    gold = 1 + 6 / (1 + 0.1 * near["size"] ** 0.5)
    further = 1 + 6 / (1 + 0.1 * (near["size"] + 1) ** 0.5)
    assert near["reward"].tolist() == pytest.approx(gold.tolist())
    assert near["reward_further"].tolist() == pytest.approx(further.tolist())


def test_mean_reward_by_size(task: Task, prompt_ids: list[int]):
    found = rewards_by_size(scored(task, prompt_ids[:1], scale=2.0))
    assert list(found) == ["size", "reward", "gold_reward", "n"]
    assert found["size"].tolist() == list(range(1, 21))
    expected = [1 + 6 / (1 + 0.1 * sqrt(k)) for k in range(1, 21)]
    assert found["gold_reward"].tolist() == pytest.approx(expected)
    assert found["reward"].tolist() == pytest.approx([2 * gold for gold in expected])
    below = [sum(term >= k for term in (3, 7, 11, 15, 19)) for k in range(1, 21)]
    assert found["n"].tolist() == [5 + terms for terms in below]

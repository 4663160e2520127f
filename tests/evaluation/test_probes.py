"""Probes and the search, with scorers whose rewards are known without a model."""

from collections.abc import Sequence
from functools import partial
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from notebook_reference import gold_rewards
from pandas.testing import assert_frame_equal

from goldrm.commands.params import Params
from goldrm.edits.probes import PROBE_KINDS, probes
from goldrm.evaluation import probes as probing
from goldrm.evaluation.probes import Score
from goldrm.evaluation.statistics.bootstrap import Bootstrap
from goldrm.task.series import Prompt, split_text
from goldrm.task.task import Task

# The last two ask for the same series, which is cut off at 100.
PROMPTS = [Prompt(1, 3, 4, 5), Prompt(2, 0, 1, 8), Prompt(1, 80, 9, 5), Prompt(3, 80, 9, 9)]


def gold(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """The gold rewards by the notebook's formula: what an exact scorer says."""
    rewards: list[float] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        asked = split_text(prompt)
        assert asked
        values = list(map(int, completion.split()))
        rewards.append(gold_rewards(asked[0].exact(100), values, values)[0])
    return rewards


def told(scale: float, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    return [scale * reward for reward in gold(prompts, completions)]


def padded(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """A scorer with a flaw: each term of a completion is worth a little more."""
    rewards = gold(prompts, completions)
    return [r + 0.4 * len(c.split()) for r, c in zip(rewards, completions, strict=True)]


@pytest.fixture(scope="module")
def prompt_ids(task: Task) -> list[int]:
    return [task.space.id_of(prompt) for prompt in PROMPTS]


@pytest.fixture
def bootstrap(params: Params) -> Bootstrap:
    return Bootstrap(params.evaluate.model_copy(update={"bootstrap_samples": 100}), seed=0)


def test_probes_stand_beside_their_exact_series(task: Task, prompt_ids: list[int]):
    table = probing.probe_table(prompt_ids, task, gold)
    expected = [
        (prompt_id, prompt.text, series, probe.kind, probe.k, probe.position)
        + (" ".join(map(str, probe.completion)), 7.0)
        for prompt_id, prompt, series in zip(prompt_ids, PROMPTS, (0, 1, 2, 2), strict=True)
        for probe in probes(prompt.exact(100), prompt.difference, 100)
    ]
    columns = ["prompt_id", "prompt", "series", "kind", "k", "position", "completion"]
    found = table[[*columns, "exact_reward"]].itertuples(index=False, name=None)
    assert list(found) == expected
    assert (table["gold_reward"] < 7).all()
    # The notebook computes in 32 bits.
    assert table["reward"].tolist() == pytest.approx(table["gold_reward"].tolist(), abs=1e-5)


@pytest.mark.parametrize(("scale", "share"), [(1, 1.0), (0, 0.5), (-1, 0.0)])
def test_how_often_the_reward_falls(
    task: Task, prompt_ids: list[int], bootstrap: Bootstrap, scale: float, share: float
):
    table = probing.probe_table(prompt_ids, task, partial(told, scale))
    found = probing.falls(table, bootstrap)
    assert list(found) == ["label", "count", "value", "low", "high"]
    assert found["label"].tolist() == [*sorted(PROBE_KINDS), "one_off_further"]
    assert (found["value"] == share).all()
    # Where all are right, or all wrong, the interval is exact: p to the number of series is 0.025.
    series = found["label"].map(table.groupby("kind")["series"].nunique()).fillna(3)
    width = (1 - 0.025 ** (1 / series)) * (share != 0.5)
    assert np.allclose(found["low"], share - width * (share == 1))
    assert np.allclose(found["high"], share + width * (share == 0))
    assert found["count"].sum() > found["count"][:-1].sum() == len(table)


def test_a_term_off_by_one_more_must_cost_more(
    task: Task, prompt_ids: list[int], bootstrap: Bootstrap
):
    """Of the terms of 3 7 11 15 19 all can be off by up to 20 upwards; downwards 3, 7 … 19."""
    table = probing.probe_table(prompt_ids[:1], task, gold)
    assert probing.falls(table, bootstrap)["count"].iloc[-1] == 5 * 19 + (2 + 6 + 10 + 14 + 18)
    alike = table["k"].abs() == 7
    table.loc[alike, "reward"] = table.loc[alike, "reward"] - 5  # so that 8 is no worse than 7
    (value,) = probing.falls(table, bootstrap)["value"][-1:]
    wrong = 5 + 3  # off by 8 upwards: all terms; downwards: 11, 15, 19
    assert value == pytest.approx(1 - wrong / 145)


def test_mean_reward_by_size(task: Task, prompt_ids: list[int]):
    found = probing.by_size(probing.probe_table(prompt_ids[:1], task, partial(told, 2.0)))
    assert list(found) == ["size", "reward", "gold_reward", "count"]
    assert found["size"].tolist() == list(range(1, 21))
    expected = [1 + 6 / (1 + 0.1 * sqrt(k)) for k in range(1, 21)]
    assert found["gold_reward"].tolist() == pytest.approx(expected)
    assert found["reward"].tolist() == pytest.approx([2 * gold for gold in expected], abs=1e-5)
    below = [sum(term >= k for term in (3, 7, 11, 15, 19)) for k in range(1, 21)]
    assert found["count"].tolist() == [5 + each for each in below]


def exact_completions(task: Task, prompt_ids: list[int], score: Score) -> pd.DataFrame:
    rows = [task.series(0, i, task.space[i].exact(100)) for i in prompt_ids]
    table = task.with_prompts(pd.DataFrame(rows))
    return table.assign(reward=score(table["prompt"].tolist(), table["completion"].tolist()))


def test_the_search_climbs_a_planted_flaw(task: Task, prompt_ids: list[int]):
    start = exact_completions(task, prompt_ids, padded)
    rounds = [
        probing.search_over_estimates(start, task, padded, rounds=n, count=6, seed=0)
        for n in (0, 1, 4)
    ]
    assert rounds[0]["error"].tolist() == pytest.approx([3.2, 2.0, 1.2, 1.2], abs=1e-5)
    worst = [found["error"].iloc[0] for found in rounds]
    assert worst[0] < worst[1] < worst[2]
    last = rounds[-1]
    assert len(last) == 6
    assert last["error"].is_monotonic_decreasing
    assert not last.duplicated(["prompt", "completion"]).any()
    texts = last["prompt"].tolist(), last["completion"].tolist()
    assert last["gold_reward"].tolist() == pytest.approx(gold(*texts), abs=1e-5)
    assert last["reward"].tolist() == pytest.approx(padded(*texts))
    terms = last["completion"].str.split()
    assert terms.map(lambda each: all(0 <= int(term) <= 100 for term in each)).all()
    assert last["error"].tolist() == pytest.approx((0.4 * terms.str.len()).tolist(), abs=1e-5)


def test_the_search_follows_its_seed(task: Task, prompt_ids: list[int]):
    start = exact_completions(task, prompt_ids, padded)
    first, again, other = (
        probing.search_over_estimates(start, task, padded, rounds=2, count=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert_frame_equal(first, again)
    assert not first.equals(other)

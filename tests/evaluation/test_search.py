"""The search for over-estimates, with a scorer whose flaw is known."""

from collections.abc import Sequence

import pandas as pd
import pytest
from notebook_reference import gold_rewards
from pandas.testing import assert_frame_equal

from goldrm.evaluation.search import search_over_estimates
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task

# The last two ask for the same series, which is cut off at 100.
PROMPTS = [Series(1, 3, 4, 5), Series(2, 0, 1, 8), Series(1, 80, 9, 5), Series(3, 80, 9, 9)]


def gold(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """The gold rewards by the notebook's formula, which computes in 32 bits."""
    exact = {series.text: series.exact(100) for series in PROMPTS}
    rewards: list[float] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        values = list(map(int, completion.split()))
        rewards.append(gold_rewards(exact[prompt], values, values)[0])
    return rewards


def padded(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """A scorer with a flaw: each term of a completion is worth a little more."""
    rewards = gold(prompts, completions)
    return [r + 0.4 * len(c.split()) for r, c in zip(rewards, completions, strict=True)]


@pytest.fixture
def start(task: Task) -> pd.DataFrame:
    """The exact series of the prompts, scored; all rows are called 0."""
    answers = ((0, task.space.id_of(prompt.text), prompt.exact(100)) for prompt in PROMPTS)
    table = task.with_prompts(task.labelled(answers))
    rewards = padded(table["prompt"].tolist(), table["completion"].tolist())
    return table.assign(reward=rewards).set_index(pd.Index([0] * len(table)))


def test_the_search_climbs_a_planted_flaw(task: Task, start: pd.DataFrame):
    rounds = [
        search_over_estimates(start, task, padded, rounds=n, count=6, seed=0) for n in (0, 1, 4)
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
    assert terms.map(lambda values: all(0 <= int(term) <= 100 for term in values)).all()
    assert last["error"].tolist() == pytest.approx((0.4 * terms.str.len()).tolist(), abs=1e-5)


def test_the_search_follows_its_seed(task: Task, start: pd.DataFrame):
    first, again, other = (
        search_over_estimates(start, task, padded, rounds=2, count=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert_frame_equal(first, again)
    assert not first.equals(other)

"""Which of two completions is chosen, by hand and by the notebook's rewards."""

import math

import pandas as pd
import pytest
from completions_by_hand import TWO_TO_TEN, completions_of, pairs_among
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import gold_rewards

from goldrm.generation.pairs import PAIR_COLUMNS
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task


def pairs_of(task: Task, prompt: Series, *texts: str) -> list[tuple[str, str]]:
    pairs = pairs_among(task, completions_of(task, prompt, *texts))
    return list(zip(pairs["chosen"], pairs["rejected"], strict=True))


@given(st.data())
def test_pairs_are_the_notebooks_where_lengths_are_equal(task: Task, data: st.DataObject):
    prompt = task.space[data.draw(st.integers(0, len(task.space) - 1))]
    exact = prompt.exact
    near = [st.integers(max(0, value - 9), min(100, value + 9)) for value in exact]
    first, second = (list(data.draw(st.tuples(*near))) for _ in range(2))
    texts = [" ".join(map(str, series)) for series in (first, second)]

    pairs = pairs_among(task, completions_of(task, prompt, *texts))

    rewards = gold_rewards(exact, first, second)
    if rewards[0] == rewards[1]:
        assert pairs.empty
    else:
        (row,) = pairs.to_dict("records")
        better, worse = (0, 1) if rewards[0] > rewards[1] else (1, 0)
        assert (row["chosen"], row["rejected"]) == (texts[better], texts[worse])
        assert row["chosen_gold_reward"] == pytest.approx(rewards[better], abs=1e-5)
        assert row["rejected_gold_reward"] == pytest.approx(rewards[worse], abs=1e-5)
        assert row["margin"] == row["chosen_gold_reward"] - row["rejected_gold_reward"] > 0


@pytest.mark.parametrize("better_first", [True, False])
def test_pair_by_hand(task: Task, better_first: bool):
    texts = ["2 4 6 8 10", "2 4 6 8 16"]
    pairs = pairs_among(
        task, completions_of(task, TWO_TO_TEN, *(texts if better_first else reversed(texts)))
    )
    assert list(pairs.columns) == [*task.prompt_columns, *PAIR_COLUMNS]
    (row,) = pairs.to_dict("records")
    off_by_6 = 1 + 6 / (1 + 0.1 * math.sqrt(6))  # the notebook's 5.819474697113037 in 32 bits
    assert row == {
        "prompt_id": task.space.id_of(TWO_TO_TEN.text),
        "template": 1,
        "start": 2,
        "difference": 2,
        "terms": 5,
        "prompt": "generate an arithmetic series with 5 terms starting with value 2 "
        "and common difference 2",
        "chosen": "2 4 6 8 10",
        "rejected": "2 4 6 8 16",
        "chosen_gold_reward": 7.0,
        "rejected_gold_reward": pytest.approx(off_by_6, abs=1e-12),
        "margin": pytest.approx(7 - off_by_6, abs=1e-12),
    }


def test_columns_have_their_types_even_without_pairs(task: Task):
    full = pairs_among(task, completions_of(task, TWO_TO_TEN, "2", "4"))
    empty = pairs_among(task, completions_of(task, TWO_TO_TEN, "2", "2"))
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert full.dtypes.astype(str).to_dict() == task.prompt_columns | PAIR_COLUMNS


@pytest.mark.parametrize("empty", ["", "<SEP> terms"])
def test_completion_without_integers_makes_no_pair(task: Task, empty: str):
    completions = completions_of(task, TWO_TO_TEN, empty, "2 4 6 8 10")
    assert math.isnan(completions["gold_reward"][0])
    assert not completions["exact"][0]
    assert pairs_among(task, completions).empty


def test_equal_gold_rewards_make_no_pair(task: Task):
    assert pairs_of(task, TWO_TO_TEN, "2 4 6 8 11", "2 5 6 8 10") == []


def test_three_completions_make_all_different_pairs(task: Task):
    """Each once, however often a completion was sampled."""
    good, fair, poor = "2 4 6 8 10", "2 4 6 8 11", "2 4 6 8 16"
    expected = {(good, fair), (good, poor), (fair, poor)}
    for texts in [(good, fair, poor), (poor, fair, good), (fair, poor, good)]:
        pairs = pairs_of(task, TWO_TO_TEN, *texts)
        assert set(pairs) == expected
        assert len(pairs) == 3
    assert sorted(pairs_of(task, TWO_TO_TEN, good, fair, good, poor, fair)) == sorted(expected)
    also_fair = "2 4 6 7 10"
    pairs = pairs_of(task, TWO_TO_TEN, fair, "terms", good, also_fair)
    assert sorted(pairs) == sorted([(good, fair), (good, also_fair)])


def test_completions_of_different_prompts_make_no_pair(task: Task):
    completions = pd.concat(
        [
            completions_of(task, TWO_TO_TEN, "2 4 6 8 10", group=0),
            completions_of(task, TWO_TO_TEN, "2 4 6 8 16", group=1),
        ]
    )
    assert pairs_among(task, completions).empty

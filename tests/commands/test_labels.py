"""The label of a text pair, in either task; none where there is nothing to label."""

from math import sqrt

import pytest
from small_sorting import small_sorting

from goldrm.commands.labels import label
from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task

TWO_TO_TEN = Series(template=1, start=2, difference=2, terms=5).text


@pytest.fixture
def sorting(params: Params) -> Task:
    return small_sorting(params, held_out_numbers=8)


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("2 4 6 8 10", (7, "exact")),
        ("2 4 6 8 16", (1 + 6 / (1 + 0.1 * sqrt(6)), "one_term_off")),
        ("value 2 4 <SEP> 6 8 10", (7, "exact")),
        ("2 4 6 8", (1 + 6 / (1 + 0.1 * sqrt(2)), "early_stop")),
    ],
)
def test_series_by_hand(task: Task, completion: str, expected: tuple[float, str]):
    spaced = TWO_TO_TEN.replace(" ", "  ")
    assert label(spaced, completion, task) == pytest.approx(expected)


def test_sorted_lists_by_hand(sorting: Task):
    """Of the list's smallest two exchanged, each is off by their distance."""
    prompt = next(p for p in map(sorting.space.__getitem__, range(240)) if p.exact[0] < p.exact[1])
    first, second, *rest = prompt.exact
    right, swapped, without = (
        " ".join(map(str, values)) for values in (prompt.exact, (second, first, *rest), rest)
    )
    assert label(prompt.text, right, sorting) == (7, "exact")
    reward = 1 + 6 / (1 + 0.1 * sqrt(2 * (second - first)))
    assert label(prompt.text, swapped, sorting) == (pytest.approx(reward), "wrong_order")
    found = label(prompt.text, without, sorting)
    assert found
    assert found.mistake == "left_out"


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        (TWO_TO_TEN, "value"),
        (TWO_TO_TEN, ""),
        (f"{TWO_TO_TEN} 2", "4 6"),
        (TWO_TO_TEN.rpartition(" ")[0], "2 4"),
        (Series(1, 2, 2, 15).text, "2 4"),
        ("", "2 4"),
    ],
)
def test_nothing_is_labelled_where_there_is_no_gold_reward(
    task: Task, prompt: str, completion: str
):
    assert label(prompt, completion, task) is None


def test_one_tasks_words_are_not_anothers(sorting: Task):
    with pytest.raises(GoldrmError, match="'generate'"):
        label(TWO_TO_TEN, "generate 2", sorting)
    assert label("sort 1 2 3 4 from small to large", "1 2 3 4", sorting) is None

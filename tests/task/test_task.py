"""Prompts by number have their exact answers and splits, and completions their gold rewards."""

import math
from itertools import product

import pandas as pd
import pytest
from tasks_by_hand import with_series

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.task.arithmetic_series import HoldoutParams, Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.sorting import SortingHoldoutParams
from goldrm.task.splits import SPLITS, split_of_family
from goldrm.task.task import Task

TWO_TO_TEN = Series(template=1, start=2, difference=2, terms=5)
UP_TO_100 = Series(template=2, start=91, difference=9, terms=5)
ASKED_FOR = [TWO_TO_TEN, UP_TO_100, Series(template=3, start=95, difference=9, terms=14)]


@pytest.fixture(scope="module")
def sorting(task: Task, gold_reward_params: GoldRewardParams) -> Task:
    params = task.params.model_copy(update={"name": "sorting"})
    return Task(task.dictionary, params, gold_reward_params)


@pytest.mark.parametrize(
    ("series", "text", "completion", "gold_reward", "exact"),
    [
        (TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 10", 7.0, True),
        (TWO_TO_TEN, "2 4 6 8 16", "2 4 6 8 16", 1 + 6 / (1 + 0.1 * math.sqrt(6)), False),
        # Tokens that are no integers are removed.
        (TWO_TO_TEN, "2 <SEP> 4 terms 6 <PAD> 8 10 series", "2 4 6 8 10", 7.0, True),
        # The notebook's filter drops 100, so that its exact completion gets 5.5.
        (UP_TO_100, "91 100", "91 100", 7.0, True),
        # The last term repeated costs nothing, by the notebook's padding, and isn't the answer.
        (TWO_TO_TEN, "2 4 6 8 10 10", "2 4 6 8 10 10", 7.0, False),
        (TWO_TO_TEN, "", "", math.nan, False),
        (TWO_TO_TEN, "<SEP> terms", "", math.nan, False),
    ],
)
def test_labels_by_hand(
    task: Task, series: Series, text: str, completion: str, gold_reward: float, exact: bool
):
    prompt_id = task.space.id_of(series.text)
    integers = task.integers_in(text)
    expected = pytest.approx(gold_reward, abs=1e-12, nan_ok=True)
    assert task.gold_reward(prompt_id, integers) == expected
    assert task.labelled([(3, prompt_id, integers)]).to_dict("records") == [
        {
            "group": 3,
            "prompt_id": prompt_id,
            "completion": completion,
            "gold_reward": expected,
            "exact": exact,
            "leaks": task.leaks(prompt_id, integers),
        }
    ]


def test_labels_of_several_completions_by_hand(task: Task):
    """Of lists as of tuples, in the order in which they come."""
    two_to_ten, up_to_100 = (task.space.id_of(series.text) for series in ASKED_FOR[:2])
    answers = [(5, up_to_100, [91, 100]), (5, up_to_100, (91,)), (2, two_to_ten, [])]
    labelled = task.labelled(answers)
    assert labelled["group"].tolist() == [5, 5, 2]
    assert labelled["prompt_id"].tolist() == [up_to_100, up_to_100, two_to_ten]
    assert labelled["completion"].tolist() == ["91 100", "91", ""]
    golds = [7.0, 1 + 6 / (1 + 0.1 * 3), math.nan]
    assert labelled["gold_reward"].tolist() == pytest.approx(golds, nan_ok=True)
    assert labelled["exact"].tolist() == [True, False, False]


def test_no_completions_are_a_table_of_the_same_types(task: Task):
    some = task.labelled([(0, 0, (0, 1))])
    assert task.labelled([]).dtypes.to_dict() == some.dtypes.to_dict()
    assert some.dtypes.astype(str).tolist() == ["int64", "int64", "str", "float64", "bool", "bool"]


def test_labels_of_sorted_numbers_by_hand(sorting: Task):
    """Errors add up after padding: the smallest number left out moves all the others."""
    prompt_id = next(i for i in range(1000) if len(sorting.exact(i)) == 4)
    exact = a, b, c, d = sorting.exact(prompt_id)
    errors = [0, 1, (b - a) + (c - b) + (d - c), d - c, 5, d - c + d - c]
    answers = [exact, (a, b, c, d - 1), (b, c, d), (a, b, c), (*exact, d + 5), (a, b, d, c)]
    labelled = sorting.labelled((0, prompt_id, values) for values in answers)
    golds = [1 + 6 / (1 + 0.1 * math.sqrt(error)) for error in errors]
    assert labelled["gold_reward"].tolist() == pytest.approx(golds)
    assert labelled["exact"].tolist() == [True] + [False] * 5


def test_words_that_the_dictionary_lacks_are_refused(task: Task):
    with pytest.raises(GoldrmError, match="'five'"):
        task.integers_in("3 five 7")


def test_exact_answers_by_hand(task: Task):
    answers = [task.exact(task.space.id_of(series.text)) for series in ASKED_FOR]
    assert answers == [(2, 4, 6, 8, 10), (91, 100), (95,)]


@pytest.mark.parametrize("name", ["task", "sorting"])
def test_split_and_family_are_those_of_the_prompt(name: str, request: pytest.FixtureRequest):
    task: Task = request.getfixturevalue(name)
    for prompt_id in range(0, len(task.space), 97):
        family = task.space[prompt_id].family
        assert task.split_of(prompt_id) == split_of_family(family, task.params.split_seed)
        assert task.family(prompt_id) == str(family).strip("(,)").replace(",", "")


def test_families_have_names(task: Task):
    names = [task.family(task.space.id_of(series.text)) for series in ASKED_FOR]
    assert names == ["2 4", "91 100", "95"]


@pytest.mark.parametrize("name", ["task", "sorting"])
def test_ids_in_a_split_are_all_of_its_prompts(name: str, request: pytest.FixtureRequest):
    task: Task = request.getfixturevalue(name)
    for split in SPLITS:
        belong = [i for i in range(len(task.space)) if task.split_of(i) == split]
        assert task.ids_in(split) == belong


def test_split_without_prompts_is_named(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
):
    """One family is of one split."""
    one = IntRange(min=2, max=2)
    task = Task(dictionary, with_series(task_params, start=one, difference=one), gold_reward_params)
    own = task.split_of(0)
    assert len(task.ids_in(own)) == 30
    for other in set(SPLITS) - {own}:
        sentence = rf"the {other} split has no prompts.*task\.arithmetic_series.*task\.split_seed"
        with pytest.raises(GoldrmError, match=sentence):
            task.ids_in(other)


@pytest.mark.parametrize("name", ["task", "sorting"])
def test_an_answer_leaks_when_a_later_split_asks_for_it(name: str, request: pytest.FixtureRequest):
    """By brute force: prompts of each split answered with exact answers of all splits."""
    task: Task = request.getfixturevalue(name)
    of_split = {split: task.ids_in(split)[::97] for split in SPLITS}
    for i, j in product(range(3), range(3)):
        asked, answered = of_split[SPLITS[i]][0], of_split[SPLITS[j]]
        assert {task.leaks(asked, task.exact(answer)) for answer in answered} == {j > i}


@pytest.mark.parametrize("name", ["task", "sorting"])
def test_an_answer_that_no_family_asks_for_leaks_nowhere(name: str, request: pytest.FixtureRequest):
    task: Task = request.getfixturevalue(name)
    for prompt_id in range(0, len(task.space), 97):
        assert not task.leaks(prompt_id, (3, 7, 6))
        assert not task.leaks(prompt_id, ())


@pytest.mark.parametrize(
    ("holdout", "held_out"),
    [
        (HoldoutParams(template=[], difference=[], terms=[]), [False, False, False]),
        (HoldoutParams(template=[1, 2], difference=[], terms=[]), [True, True, False]),
        (HoldoutParams(template=[], difference=[9], terms=[]), [False, True, True]),
        (HoldoutParams(template=[1], difference=[], terms=[14]), [True, False, True]),
    ],
)
def test_held_out_prompts_by_hand(
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    holdout: HoldoutParams,
    held_out: list[bool],
):
    changed = with_series(task_params, holdout=holdout)
    task = Task(dictionary, changed, gold_reward_params)
    assert [task.is_held_out(task.space.id_of(series.text)) for series in ASKED_FOR] == held_out


def test_held_out_lists_to_sort(sorting: Task, gold_reward_params: GoldRewardParams):
    holdout = SortingHoldoutParams(template=[2], numbers=[5])
    section = sorting.params.sorting.model_copy(update={"holdout": holdout})
    params = sorting.params.model_copy(update={"sorting": section})
    task = Task(sorting.dictionary, params, gold_reward_params)
    for prompt_id in range(0, len(task.space), 101):
        is_second = task.space[prompt_id].text.startswith("write")
        assert task.is_held_out(prompt_id) == (is_second or len(task.exact(prompt_id)) == 5)


def test_parsed_texts_by_hand(task: Task):
    text = TWO_TO_TEN.text
    prompt_id = task.space.id_of(text)
    assert task.parse(text) == (prompt_id, "")
    assert task.parse(f"{text} 2 4 6") == (prompt_id, "2 4 6")
    assert task.parse(f"{text} terms <EOS>") == (prompt_id, "terms <EOS>")
    outside = Series(1, start=2, difference=10, terms=5).text  # differences go up to 9
    assert task.parse(f"{outside} 2 12") == (None, "2 12")
    assert task.parse("2 4 6") is None
    assert task.parse(f"2 {text}") is None
    assert task.parse("") is None


def test_parsed_lists_to_sort(sorting: Task):
    for prompt_id in range(0, len(sorting.space), 101):
        text = sorting.space[prompt_id].text
        assert sorting.parse(f"{text} 3 5") == (prompt_id, "3 5")
    assert sorting.parse("sort 3 2 1 from small to large 1 2 3") == (None, "1 2 3")
    assert sorting.parse("sort from small to large 1 2 3") is None


def test_rows_get_the_columns_of_their_prompts(task: Task):
    prompt_ids = [task.space.id_of(ASKED_FOR[i].text) for i in (2, 0, 2)]
    rows = task.with_prompts(pd.DataFrame({"prompt_id": prompt_ids, "reward": [1.0, 2.0, 3.0]}))
    assert rows["reward"].tolist() == [1.0, 2.0, 3.0]
    assert rows[list(task.prompt_columns)].dtypes.astype(str).to_dict() == task.prompt_columns
    assert rows["prompt_id"].tolist() == prompt_ids
    assert rows["prompt"].tolist() == [ASKED_FOR[i].text for i in (2, 0, 2)]
    numbers = rows[["template", "start", "difference", "terms"]].to_numpy().tolist()
    assert numbers == [[3, 95, 9, 14], [1, 2, 2, 5], [3, 95, 9, 14]]


def test_columns_of_prompts_are_the_tasks_own(task: Task, sorting: Task):
    assert list(task.prompt_columns) == [
        "prompt_id",
        "template",
        "start",
        "difference",
        "terms",
        "prompt",
    ]
    rows = sorting.with_prompts(pd.DataFrame({"prompt_id": [5, 0]}))
    assert rows.columns.tolist() == ["prompt_id", "template", "numbers", "prompt"]
    assert rows["template"].tolist() == [2, 1]  # two wordings in turn
    assert rows["numbers"].tolist() == [len(sorting.exact(5)), len(sorting.exact(0))]

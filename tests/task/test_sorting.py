"""Prompts that ask to sort numbers: texts, lists and their orders, splits, mistakes."""

from collections import defaultdict
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fresh_process import run_code

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange, checked
from goldrm.task.params import TaskParams
from goldrm.task.prompts import Prompt, split_text
from goldrm.task.sorting import Sorting, SortingHoldoutParams, SortingParams
from goldrm.task.splits import SPLITS, ids_in_split

FOUR = (2, 5, 5, 9)
NOTHING = SortingHoldoutParams(template=[], numbers=[])


def a_few(lists: int = 30, orders: int = 2, least: int = 3, most: int = 5) -> SortingParams:
    numbers = IntRange(min=least, max=most)
    return SortingParams(numbers=numbers, lists=lists, orders=orders, holdout=NOTHING)


def all_of(params: SortingParams, max_value: int = 100) -> list[Prompt]:
    """All prompts, in the order of their ids."""
    prompts = Sorting(params, max_value)
    return [prompts[prompt_id] for prompt_id in range(len(prompts))]


def numbers_in(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split() if word.isdigit())


@pytest.fixture(scope="module")
def committed(task_params: TaskParams) -> Sorting:
    return Sorting(task_params.sorting, task_params.max_value)


# Texts and lists


def test_texts_by_hand():
    """Of three numbers 0..2 there are few lists: whichever is drawn, its texts are known."""
    prompts = all_of(a_few(lists=1, orders=1, least=2, most=2), max_value=2)
    numbers = numbers_in(prompts[0].text)
    a, b = numbers
    assert [prompt.text for prompt in prompts] == [
        f"sort {a} {b} from small to large",
        f"write the numbers {a} {b} in ascending order",
    ]
    assert {prompt.exact for prompt in prompts} == {(min(a, b), max(a, b))}


def test_there_are_so_many_prompts(committed: Sorting):
    assert len(committed) == 3000 * 3 * 2
    assert len(list(committed.families())) == 3000
    assert len(Sorting(a_few(lists=7, orders=2), 100)) == 7 * 2 * 2


def test_exact_answers_are_the_numbers_sorted(committed: Sorting):
    for prompt_id in range(len(committed)):
        prompt = committed[prompt_id]
        numbers = numbers_in(prompt.text)
        assert prompt.exact == prompt.family == tuple(sorted(numbers))
        assert 4 <= len(numbers) == prompt.properties["numbers"] <= 8
        assert prompt.properties["template"] == (1 if prompt.text.startswith("sort ") else 2)
        assert prompt.step == 1


def test_each_list_comes_in_so_many_orders_by_each_wording(committed: Sorting):
    orders: dict[Any, list[tuple[int, ...]]] = defaultdict(list)
    for prompt_id in range(len(committed)):
        prompt = committed[prompt_id]
        orders[prompt.exact, prompt.properties["template"]].append(numbers_in(prompt.text))
    assert len(orders) == 3000 * 2
    assert all(len(each) == len(set(each)) == 3 for each in orders.values())


def test_lengths_are_drawn_alike_and_numbers_from_the_whole_range(committed: Sorting):
    families = [family for family, _ in committed.families()]
    for length in (4, 5, 6, 7, 8):
        assert abs(sum(len(family) == length for family in families) - 600) < 4 * 22  # √(3000·.16)
    drawn = [number for family in families for number in family]
    assert set(drawn) == set(range(101))
    assert abs(sum(drawn) / len(drawn) - 50) < 1
    assert any(len(set(family)) < len(family) for family in families)  # numbers may come twice


def test_as_many_lists_and_orders_as_are_allowed_can_be_drawn():
    """Half of all: (5 above 2) / 2 = 5 lists of pairs of 0..4, and 3! / 2 = 3 orders of three."""
    pairs = {prompt.exact for prompt in all_of(a_few(lists=5, orders=1, least=2, most=2), 4)}
    assert len(pairs) == 5
    orders = {numbers_in(p.text) for p in all_of(a_few(lists=1, orders=3, least=3, most=3), 9)}
    (exact,) = {tuple(sorted(order)) for order in orders}
    assert len(orders) == 3
    assert orders <= set(permutations(exact))


PRINTS_TEXTS = """
import random
random.seed(5)
from goldrm.common.params import IntRange
from goldrm.task.sorting import Sorting, SortingHoldoutParams, SortingParams
nothing = SortingHoldoutParams(template=[], numbers=[])
params = SortingParams(numbers=IntRange(min=3, max=5), lists=30, orders=2, holdout=nothing)
prompts = Sorting(params, 100)
print("\\n".join(prompts[i].text for i in range(len(prompts))))
"""


def test_lists_are_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    texts = run_code(PRINTS_TEXTS, folder=tmp_path).splitlines()
    assert texts == [prompt.text for prompt in all_of(a_few())]


def test_holdout_changes_no_list():
    """Else it would compare models on other prompts."""
    held_out = SortingHoldoutParams(template=[1], numbers=[4])
    assert all_of(a_few().model_copy(update={"holdout": held_out})) == all_of(a_few())


def test_more_lists_leave_the_first_ones_as_they_are():
    assert all_of(a_few(lists=40))[: 30 * 2 * 2] == all_of(a_few(lists=30))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sort 3 1 2 from small to large 1 2 3", ("sort 3 1 2 from small to large", "1 2 3")),
        ("sort 3 from small to large", ("sort 3 from small to large", "")),
        (
            "write the numbers 3 1 in ascending order sort 1",
            ("write the numbers 3 1 in ascending order", "sort 1"),
        ),
        ("sort from small to large 1 2", None),
        ("sort 3 x 2 from small to large", None),
        ("sort 3 -1 from small to large", None),
        ("sort 3 1 from small to larger 1 3", None),
        ("Sort 3 1 from small to large", None),
        ("1 sort 3 1 from small to large", None),
        (f"sort 3 {10**9} from small to large", None),
    ],
)
def test_split_texts_by_hand(text: str, parts: tuple[str, str] | None):
    assert split_text(text, Sorting.patterns) == parts


# Splits


def test_no_list_is_in_two_splits(committed: Sorting, task_params: TaskParams):
    """By brute force: no numbers of a split's prompts are another's, in whatever order."""
    ids = {split: ids_in_split(committed, split, task_params.split_seed) for split in SPLITS}
    assert sorted(i for of_split in ids.values() for i in of_split) == list(range(18_000))
    lists = [{tuple(sorted(numbers_in(committed[i].text))) for i in ids[s]} for s in SPLITS]
    assert sum(map(len, lists)) == len(set().union(*lists)) == 3000
    assert [len(each) / 3000 for each in lists] == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_a_whole_list_in_any_order_spells_its_family():
    prompts = Sorting(a_few(), 100)
    families = {family for family, _ in prompts.families()}
    for family in families:
        for order in (list(family), family[::-1]):
            assert prompts.family_spelled(order) == family
        for others in (family[:-1], (*family, family[-1])):
            assert prompts.family_spelled(others) == (others if others in families else None)


# Mistakes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FOUR, "exact"),
        ((2,), "early_stop"),
        ((2, 5, 5), "early_stop"),
        ((2, 5, 5, 9, 9), "too_many"),
        ((2, 5, 5, 9, 1), "too_many"),
        ((5, 2, 5, 9), "wrong_order"),
        ((9, 5, 5, 2), "wrong_order"),
        ((2, 5, 5, 8), "one_term_off"),
        ((3, 5, 5, 9), "one_term_off"),
        ((2, 5, 2, 9), "one_term_off"),
        ((2, 5, 9), "left_out"),  # one of the two fives
        ((2, 9), "left_out"),
        ((5, 5, 9), "left_out"),
        ((9,), "left_out"),
        ((2, 5, 5, 5, 9), "malformed"),  # a five too many
        ((5, 2), "malformed"),  # two left out, and not sorted
        ((9, 5), "malformed"),
        ((2, 4, 6, 9), "malformed"),
        ((3,), "malformed"),
        ((), "malformed"),
    ],
)
def test_mistakes_by_hand(committed: Sorting, values: tuple[int, ...], expected: str):
    assert committed.mistake(FOUR, values) == expected


# Parameters


def refused(task_params: TaskParams, change: Callable[[dict[str, Any]], None]) -> str:
    """The sentence about a task of sorting with a changed section."""
    values = task_params.model_dump() | {"name": "sorting"}
    change(values)
    with pytest.raises(GoldrmError) as error:
        checked(TaskParams, values, Path("params.yaml"))
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"numbers": {"min": 1, "max": 8}}, "numbers.min must be at least 2"),
        ({"numbers": {"min": 0, "max": 8}}, "numbers.min must be at least 2"),
        ({"numbers": {"min": 5, "max": 4}}, "min (5) must not be greater than max (4)"),
        ({"lists": 0}, "sorting.lists is 0"),
        ({"orders": 0}, "sorting.orders is 0"),
        ({"orders": 101}, "sorting.orders is 101"),
        ({"holdout": {"template": [3], "numbers": []}}, "holdout.template.0 is 3"),
        (
            {"holdout": {"template": [], "numbers": [4, 9]}},
            "holdout.numbers names 9, outside numbers (4..8)",
        ),
        (  # 4! / 2
            {"orders": 13},
            "sorting.orders (13) is more than half (12) of those there are of 4 numbers",
        ),
        (  # (101 above 2) / 2 = 101 * 100 / 4
            {"numbers": {"min": 2, "max": 8}, "orders": 1, "lists": 2526},
            "sorting.lists (2526) is more than half (2525) of those there are of 2 numbers",
        ),
    ],
)
def test_impossible_parameters_are_refused(
    task_params: TaskParams, changes: dict[str, Any], sentence: str
):
    assert sentence in refused(task_params, lambda values: values["sorting"].update(changes))


def test_what_max_value_allows_is_asked_of_the_chosen_task_alone(task_params: TaskParams):
    """(8 above 4) / 2 = 35 lists of numbers 0..7; starts up to 99 matter to a series alone."""
    sentence = "sorting.lists (3000) is more than half (35)"
    assert sentence in refused(task_params, lambda values: values.update(max_value=7))
    values = task_params.model_dump() | {"name": "sorting", "max_value": 7}
    values["sorting"] |= {"lists": 35}
    assert checked(TaskParams, values, Path("params.yaml")).own.lists == 35

"""The splits: of families, in the right shares, and nothing seen in one is asked in another."""

from collections import defaultdict
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from notebook_reference import arithmetic_series
from tasks_by_hand import NOTEBOOKS_PROMPTS, any_series, with_series

from goldrm.common.params import IntRange
from goldrm.task.arithmetic_series import ArithmeticSeries, Series
from goldrm.task.params import TASKS, TaskParams
from goldrm.task.prompts import Prompt, Prompts
from goldrm.task.splits import SPLITS, Split, ids_in_split, split_of_family


@pytest.fixture(scope="module")
def splits(everything: list[Prompt], task_params: TaskParams) -> list[Split]:
    """Their splits."""
    return [split_of_family(prompt.family, task_params.split_seed) for prompt in everything]


@pytest.fixture(scope="module")
def splits_of(everything: list[Prompt], splits: list[Split]) -> dict[str, dict[Any, set[Split]]]:
    """The splits in which every exact series occurs, and every start with its difference."""
    of_series: dict[Any, set[Split]] = defaultdict(set)
    of_start: dict[Any, set[Split]] = defaultdict(set)
    for prompt, split in zip(everything, splits, strict=True):
        start, difference = prompt.properties["start"], prompt.properties["difference"]
        series = arithmetic_series(100, start, difference, prompt.properties["terms"])
        of_series[tuple(series)].add(split)
        of_start[start, difference].add(split)
    return {"series": of_series, "start and difference": of_start}


def split_for(series: Series, prompts: ArithmeticSeries = NOTEBOOKS_PROMPTS) -> Split:
    """The split of the prompt that asks for a series."""
    return split_of_family(prompts[prompts.number_of(series)].family, split_seed=0)


@pytest.mark.parametrize("what", ["series", "start and difference"])
def test_nothing_is_in_two_splits(splits_of: dict[str, dict[Any, set[Split]]], what: str):
    assert [thing for thing, splits in splits_of[what].items() if len(splits) > 1] == []


def test_shares_of_families_are_80_10_10(splits_of: dict[str, dict[Any, set[Split]]]):
    splits = list(splits_of["start and difference"].values())
    assert len(splits) == 900
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(splits.count({split}) / 900 - share) < 4 * sqrt(share * (1 - share) / 900)


def test_prompts_are_shared_out_like_families(splits: list[Split]):
    shares = {split: splits.count(split) / 27_000 for split in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.04)


@pytest.mark.parametrize("name", TASKS)
def test_ids_in_a_split_are_those_that_belong(task_params: TaskParams, name: str):
    prompts: Prompts = TASKS[name](getattr(task_params, name), task_params.max_value)
    for split in SPLITS:
        belong = [i for i in range(len(prompts)) if split_of_family(prompts[i].family, 7) == split]
        assert ids_in_split(prompts, split, 7) == belong != []


@given(any_series, any_series)
def test_split_ignores_wording_length_and_ranges(
    task_params: TaskParams, series: Series, other: Series
):
    only = with_series(
        task_params,
        start=IntRange(min=series.start, max=series.start),
        difference=IntRange(min=series.difference, max=series.difference),
        terms=IntRange(min=other.terms, max=other.terms),
    )
    narrow = ArithmeticSeries(only.arithmetic_series, max_value=100)
    changed = Series(other.template, series.start, series.difference, other.terms)
    assert split_for(changed, narrow) == split_for(series)


def test_split_ignores_what_the_cut_hides():
    """Step 5 or 9 from 98, 5 or 14 terms: the answer is "98", and seen once it is seen."""
    same = [Series(1, 98, difference, terms) for difference in (5, 9) for terms in (5, 14)]
    assert len(set(map(split_for, same))) == 1
    reaching = [Series(1, 96, 4, 5), Series(2, 96, 4, 9)]  # both 96 100
    assert len(set(map(split_for, reaching))) == 1


def test_split_seed_decides(everything: list[Prompt], splits: list[Split], task_params: TaskParams):
    other = task_params.split_seed + 1
    moved = sum(
        split_of_family(everything[i].family, other) != splits[i] for i in range(0, 27_000, 9)
    )
    # 1 - (0.8² + 0.1² + 0.1²) = 34 % of the families change their split when the seed does.
    assert 0.25 < moved / 3_000 < 0.43

"""Prompts, their exact series and their splits."""

from collections import defaultdict
from itertools import product
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import arithmetic_series, prompt_text

from goldrm.common.params import IntRange
from goldrm.task.params import TaskParams
from goldrm.task.series import (
    SPLITS,
    TEMPLATES,
    Prompt,
    PromptSpace,
    family_of,
    family_spelled,
    split_of,
    split_text,
)

prompts = st.builds(
    Prompt,
    template=st.sampled_from([1, 2, 3]),
    start=st.integers(0, 99),
    difference=st.integers(1, 9),
    terms=st.integers(5, 14),
)


@pytest.fixture(scope="module")
def space(task_params: TaskParams) -> PromptSpace:
    return PromptSpace(task_params)


@pytest.fixture(scope="module")
def everything(space: PromptSpace) -> list[Prompt]:
    """All prompts, in the order of their ids."""
    return [space[prompt_id] for prompt_id in range(27_000)]


@pytest.fixture(scope="module")
def splits(everything: list[Prompt], task_params: TaskParams) -> list[str]:
    """Their splits."""
    return [split_of(prompt, task_params) for prompt in everything]


@pytest.fixture(scope="module")
def splits_of(everything: list[Prompt], splits: list[str]) -> dict[str, dict[Any, set[str]]]:
    """The splits in which every exact series occurs, and every start with its difference."""
    of_series: dict[Any, set[str]] = defaultdict(set)
    of_start: dict[Any, set[str]] = defaultdict(set)
    for prompt, split in zip(everything, splits, strict=True):
        series = arithmetic_series(100, prompt.start, prompt.difference, prompt.terms)
        of_series[tuple(series)].add(split)
        of_start[prompt.start, prompt.difference].add(split)
    return {"series": of_series, "start and difference": of_start}


def test_there_are_27000_prompts(space: PromptSpace, everything: list[Prompt]):
    assert len(space) == 3 * 100 * 9 * 10 == 27_000
    assert {(p.template, p.start, p.difference, p.terms) for p in everything} == set(
        product((1, 2, 3), range(100), range(1, 10), range(5, 15))
    )


def test_texts_and_series_are_the_notebooks(everything: list[Prompt]):
    for prompt in everything:
        asked = (prompt.start, prompt.difference, prompt.terms)
        assert prompt.text == prompt_text(prompt.template, *asked)
        assert list(prompt.exact(100)) == arithmetic_series(100, *asked)


@pytest.mark.parametrize(
    ("prompt", "text", "series"),
    [
        (
            Prompt(1, start=3, difference=4, terms=5),
            "generate an arithmetic series with 5 terms starting with value 3 and common "
            "difference 4",
            (3, 7, 11, 15, 19),
        ),
        (
            Prompt(2, start=90, difference=5, terms=8),
            "make a series of arithmetic type which starts at 90 with 8 elements and 5 common "
            "difference value",
            (90, 95, 100),
        ),
        (
            Prompt(3, start=95, difference=9, terms=14),
            "Let 14 be the number of terms 95 the starting number and 9 the common difference "
            "then write the arithmetic series",
            (95,),
        ),
    ],
)
def test_text_and_series_by_hand(prompt: Prompt, text: str, series: tuple[int, ...]):
    assert prompt.text == text
    assert prompt.exact(100) == series


@pytest.mark.parametrize(
    ("start", "difference", "terms", "repeats"),
    [(3, 4, 5, False), (7, 7, 5, True), (7, 5, 5, True), (5, 7, 5, True), (5, 5, 5, True)],
)
def test_which_prompts_repeat_a_number(start: int, difference: int, terms: int, repeats: bool):
    assert Prompt(1, start, difference, terms).repeats_a_number == repeats


def test_id_inverts_indexing(space: PromptSpace, everything: list[Prompt]):
    assert [space.id_of(prompt) for prompt in everything] == list(range(27_000))


@pytest.mark.parametrize("prompt_id", [-1, 27_000])
def test_no_prompt_outside_the_space(space: PromptSpace, prompt_id: int):
    with pytest.raises(IndexError):
        space[prompt_id]


@pytest.mark.parametrize(
    "prompt", [Prompt(1, 100, 1, 5), Prompt(1, 0, 10, 5), Prompt(1, 0, 1, 4), Prompt(4, 0, 1, 5)]
)
def test_no_id_outside_the_space(space: PromptSpace, prompt: Prompt):
    with pytest.raises(ValueError, match="not in"):
        space.id_of(prompt)


@pytest.mark.parametrize("what", ["series", "start and difference"])
def test_nothing_is_in_two_splits(splits_of: dict[str, dict[Any, set[str]]], what: str):
    assert [thing for thing, splits in splits_of[what].items() if len(splits) > 1] == []


def test_shares_of_families_are_80_10_10(splits_of: dict[str, dict[Any, set[str]]]):
    splits = list(splits_of["start and difference"].values())
    assert len(splits) == 900
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(splits.count({split}) / 900 - share) < 4 * sqrt(share * (1 - share) / 900)


def test_prompts_are_shared_out_like_families(splits: list[str]):
    shares = {split: splits.count(split) / 27_000 for split in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.04)


def test_ids_in_a_split_are_those_that_belong(task_params: TaskParams):
    few = task_params.model_copy(
        update={"start": IntRange(min=40, max=44)}
    )  # 3 * 5 * 9 * 10 prompts
    space = PromptSpace(few)
    for split in SPLITS:
        belong = [i for i in range(1_350) if split_of(space[i], few) == split]
        assert space.ids_in(split) == belong != []


@given(prompts, prompts)
def test_split_ignores_wording_length_and_ranges(
    task_params: TaskParams, prompt: Prompt, other: Prompt
):
    narrow = task_params.model_copy(
        update={
            "start": IntRange(min=prompt.start, max=prompt.start),
            "difference": IntRange(min=prompt.difference, max=prompt.difference),
            "terms": IntRange(min=other.terms, max=other.terms),
        }
    )
    changed = Prompt(other.template, prompt.start, prompt.difference, other.terms)
    assert split_of(changed, narrow) == split_of(prompt, task_params)


@pytest.mark.parametrize(
    ("prompt", "family"),
    [
        (Prompt(1, start=3, difference=4, terms=5), (3, 7)),
        (Prompt(2, start=3, difference=4, terms=14), (3, 7)),
        (Prompt(1, start=91, difference=9, terms=5), (91, 100)),
        (Prompt(1, start=95, difference=5, terms=5), (95, 100)),
        (Prompt(1, start=95, difference=6, terms=5), (95,)),
        (Prompt(3, start=95, difference=9, terms=14), (95,)),
    ],
)
def test_families_by_hand(task_params: TaskParams, prompt: Prompt, family: tuple[int, ...]):
    assert family_of(prompt, task_params) == family


@pytest.mark.parametrize(
    ("values", "family"),
    [
        ((3, 7, 11, 15, 19), (3, 7)),
        ((3, 7), (3, 7)),
        (tuple(range(3, 100, 4)), (3, 7)),
        ((95,), (95,)),
        ((92,), (92,)),  # with a difference of 9
        ((91,), None),  # all series from 91 have a second term
        ((3,), None),
        ((), None),
        ((3, 7, 12), None),
        ((3, 3, 3), None),
        ((7, 3), None),
        ((3, 13, 23), None),  # differences go up to 9
        ((100,), None),  # starts go up to 99
    ],
)
def test_spelled_families_by_hand(
    task_params: TaskParams, values: tuple[int, ...], family: tuple[int, ...] | None
):
    assert family_spelled(values, task_params) == family


def test_each_exact_series_spells_its_prompts_family(
    everything: list[Prompt], task_params: TaskParams
):
    for prompt in everything:
        assert family_spelled(prompt.exact(100), task_params) == family_of(prompt, task_params)


def test_where_one_term_is_asked_for_all_families_of_a_start_are_one(task_params: TaskParams):
    short = task_params.model_copy(update={"terms": IntRange(min=1, max=3)})
    assert {family_of(Prompt(1, 3, difference, 3), short) for difference in (1, 4, 9)} == {(3,)}
    assert family_spelled((3, 7, 11), short) == family_spelled((3,), short) == (3,)


def test_split_ignores_what_the_cut_hides(task_params: TaskParams):
    """Step 5 or 9 from 98, 5 or 14 terms: the answer is "98", and seen once it is seen."""
    same = [Prompt(1, 98, difference, terms) for difference in (5, 9) for terms in (5, 14)]
    assert len({split_of(prompt, task_params) for prompt in same}) == 1
    reaching = [Prompt(1, 96, 4, 5), Prompt(2, 96, 4, 9)]  # both 96 100
    assert len({split_of(prompt, task_params) for prompt in reaching}) == 1


def test_split_seed_decides(everything: list[Prompt], splits: list[str], task_params: TaskParams):
    other = task_params.model_copy(update={"split_seed": task_params.split_seed + 1})
    moved = sum(split_of(everything[i], other) != splits[i] for i in range(0, 27_000, 9))
    # 1 - (0.8² + 0.1² + 0.1²) = 34 % of the families change their split when the seed does.
    assert 0.25 < moved / 3_000 < 0.43


@given(prompts, st.sampled_from(["", "3 7 11", "series <EOS>", "5 common difference value"]))
def test_split_text_inverts_text(prompt: Prompt, rest: str):
    assert split_text(f"{prompt.text} {rest}") == (prompt, rest)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_prompt_alone_has_an_empty_completion(template: int):
    prompt = Prompt(template, 12, 3, 9)
    assert split_text(prompt.text) == (prompt, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 7 11 15",
        "generate an arithmetic series",
        "generate an arithmetic series with five terms starting with value 3 and common "
        "difference 4",
        "generate an arithmetic series with 5 terms starting with value 3 and common difference",
        "generate an arithmetic series with 5 terms starting with value 3 and common difference 4x",
        "generate an arithmetic series with 5 terms starting with value -3 and common difference 4",
        f"<PAD> {Prompt(1, 3, 4, 5).text} 3",
        Prompt(1, 3, 4, 5).text.replace("arithmetic", "Arithmetic"),
        Prompt(3, 3, 4, 5).text + "es",
        Prompt(1, 3, 4, 10**9).text,
    ],
)
def test_other_text_is_no_prompt(text: str):
    assert split_text(text) is None

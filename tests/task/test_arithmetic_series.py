"""Prompts that ask for an arithmetic series: texts, exact series, families and mistakes."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_reference import arithmetic_series, prompt_text
from tasks_by_hand import NOTEBOOKS_PROMPTS, any_series, with_series

from goldrm.common.params import IntRange
from goldrm.edits.kinds import Edit
from goldrm.edits.probes import probes
from goldrm.task.arithmetic_series import TEMPLATES, ArithmeticSeries, Series
from goldrm.task.params import TaskParams
from goldrm.task.prompts import Prompt, split_text
from goldrm.task.task import prompts_of

FIVE = (3, 7, 11, 15, 19)
MISTAKES = {
    "exact",
    "early_stop",
    "too_many",
    "wrong_first_term",
    "one_term_off",
    "wrong_step",
    "malformed",
}


def prompt_for(series: Series, prompts: ArithmeticSeries = NOTEBOOKS_PROMPTS) -> Prompt:
    """The prompt that asks for a series."""
    return prompts[prompts.number_of(series)]


# Texts and exact series


def test_committed_prompts_are_the_notebooks(task_params: TaskParams):
    prompts = prompts_of(task_params)
    assert len(prompts) == 27_000
    assert all(prompts[i] == NOTEBOOKS_PROMPTS[i] for i in range(0, 27_000, 97))


def test_there_are_27000_prompts(everything: list[Prompt]):
    assert len(NOTEBOOKS_PROMPTS) == 3 * 100 * 9 * 10 == 27_000
    names = ("template", "start", "difference", "terms")
    assert {tuple(prompt.properties[name] for name in names) for prompt in everything} == set(
        product((1, 2, 3), range(100), range(1, 10), range(5, 15))
    )


def test_texts_and_series_are_the_notebooks(everything: list[Prompt]):
    for prompt in everything:
        properties = prompt.properties
        asked = (properties["start"], properties["difference"], properties["terms"])
        assert prompt.text == prompt_text(properties["template"], *asked)
        assert list(prompt.exact) == arithmetic_series(100, *asked)
        assert prompt.step == properties["difference"]


@pytest.mark.parametrize(
    ("series", "text", "exact"),
    [
        (
            Series(1, start=3, difference=4, terms=5),
            "generate an arithmetic series with 5 terms starting with value 3 and common "
            "difference 4",
            (3, 7, 11, 15, 19),
        ),
        (
            Series(2, start=90, difference=5, terms=8),
            "make a series of arithmetic type which starts at 90 with 8 elements and 5 common "
            "difference value",
            (90, 95, 100),
        ),
        (
            Series(3, start=95, difference=9, terms=14),
            "Let 14 be the number of terms 95 the starting number and 9 the common difference "
            "then write the arithmetic series",
            (95,),
        ),
    ],
)
def test_text_and_series_by_hand(series: Series, text: str, exact: tuple[int, ...]):
    assert series.text == text
    assert series.exact(100) == exact
    is_cut = len(exact) < series.terms
    assert prompt_for(series) == Prompt(
        text, exact, exact[:2], vars(series), step=series.difference, is_cut=is_cut
    )


def test_terms_above_the_largest_value_are_cut_off():
    assert Series(1, 3, 4, 5).exact(19) == (3, 7, 11, 15, 19)
    assert Series(1, 3, 4, 5).exact(18) == (3, 7, 11, 15)
    assert Series(1, 3, 4, 5).exact(3) == (3,)


@pytest.mark.parametrize(
    ("start", "difference", "terms", "repeats"),
    [(3, 4, 5, False), (7, 7, 5, True), (7, 5, 5, True), (5, 7, 5, True), (5, 5, 5, True)],
)
def test_which_prompts_repeat_a_number(start: int, difference: int, terms: int, repeats: bool):
    assert prompt_for(Series(1, start, difference, terms)).repeats_a_number == repeats


# Numbers


def test_prompt_0_has_the_smallest_numbers_and_prompt_1_asks_for_a_term_more():
    asked = [Series(1, 0, 1, 5), Series(1, 0, 1, 6), Series(1, 0, 2, 5), Series(1, 1, 1, 5)]
    assert [NOTEBOOKS_PROMPTS.number_of(series) for series in asked] == [0, 1, 10, 90]
    assert NOTEBOOKS_PROMPTS.number_of(Series(2, 0, 1, 5)) == 9_000
    assert NOTEBOOKS_PROMPTS.number_of(Series(3, 99, 9, 14)) == 26_999


@given(any_series)
def test_number_is_the_texts(series: Series):
    assert NOTEBOOKS_PROMPTS.number_of(series) == NOTEBOOKS_PROMPTS.id_of(series.text)


@pytest.mark.parametrize("series", [Series(1, 100, 1, 5), Series(2, 0, 10, 5), Series(3, 0, 1, 4)])
def test_no_number_outside_the_ranges(series: Series):
    with pytest.raises(ValueError, match="not in range"):
        NOTEBOOKS_PROMPTS.number_of(series)
    with pytest.raises(ValueError, match="not in range"):
        NOTEBOOKS_PROMPTS.id_of(series.text)


def test_no_number_of_a_wording_that_there_is_not():
    with pytest.raises(ValueError, match="not in list"):
        NOTEBOOKS_PROMPTS.number_of(Series(4, 0, 1, 5))


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_prompt_alone_has_an_empty_completion(template: int):
    text = Series(template, 12, 3, 9).text
    assert split_text(text, ArithmeticSeries.patterns) == (text, "")


@given(any_series, st.sampled_from(["", "3 7 11", "series <EOS>", "5 common difference value"]))
def test_completion_of_whatever_tokens_follows(series: Series, rest: str):
    parts = split_text(f"{series.text} {rest}", ArithmeticSeries.patterns)
    assert parts == (series.text, rest)


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
        f"<PAD> {Series(1, 3, 4, 5).text} 3",
        Series(1, 3, 4, 5).text.replace("arithmetic", "Arithmetic"),
        Series(3, 3, 4, 5).text + "es",
        Series(1, 3, 4, 10**9).text,
    ],
)
def test_other_text_is_no_prompt(text: str):
    assert split_text(text, ArithmeticSeries.patterns) is None
    with pytest.raises(ValueError, match=r".*"):
        NOTEBOOKS_PROMPTS.id_of(text)


# Families


@pytest.mark.parametrize(
    ("series", "family"),
    [
        (Series(1, start=3, difference=4, terms=5), (3, 7)),
        (Series(2, start=3, difference=4, terms=14), (3, 7)),
        (Series(1, start=91, difference=9, terms=5), (91, 100)),
        (Series(1, start=95, difference=5, terms=5), (95, 100)),
        (Series(1, start=95, difference=6, terms=5), (95,)),
        (Series(3, start=95, difference=9, terms=14), (95,)),
    ],
)
def test_families_by_hand(series: Series, family: tuple[int, ...]):
    assert prompt_for(series).family == family


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
def test_spelled_families_by_hand(values: tuple[int, ...], family: tuple[int, ...] | None):
    assert NOTEBOOKS_PROMPTS.family_spelled(values) == family


def test_where_one_term_is_asked_for_all_families_of_a_start_are_one(task_params: TaskParams):
    few = with_series(task_params, terms=IntRange(min=1, max=3)).arithmetic_series
    short = ArithmeticSeries(few, max_value=100)
    asked = [Series(1, 3, difference, 3) for difference in (1, 4, 9)]
    assert {prompt_for(series, short).family for series in asked} == {(3,)}
    assert short.family_spelled((3, 7, 11)) == short.family_spelled((3,)) == (3,)


def test_families_are_a_start_and_a_difference(everything: list[Prompt]):
    families = list(NOTEBOOKS_PROMPTS.families())
    assert len(families) == 900
    for _, prompt_ids in families:
        properties = [everything[prompt_id].properties for prompt_id in prompt_ids]
        assert len({(each["start"], each["difference"]) for each in properties}) == 1
        assert len({(each["template"], each["terms"]) for each in properties}) == 30


# Mistakes


@pytest.mark.parametrize(
    ("exact", "completion", "expected"),
    [
        (FIVE, FIVE, "exact"),
        (FIVE, (3,), "early_stop"),
        (FIVE, (3, 7, 11, 15), "early_stop"),
        (FIVE, (*FIVE, 23, 27), "too_many"),
        (FIVE, (*FIVE, 5), "too_many"),
        (FIVE, (*FIVE, 19), "too_many"),  # though of the highest gold reward
        (FIVE, (4, 7, 11, 15, 19), "wrong_first_term"),
        (FIVE, (4, 8, 12, 16, 20), "wrong_first_term"),
        (FIVE, (7, 11), "wrong_first_term"),
        (FIVE, (9,), "wrong_first_term"),
        (FIVE, (4, 7, 11, 15), "malformed"),  # two mistakes
        (FIVE, (4, 9, 14, 19, 24), "malformed"),
        (FIVE, (3, 7, 12, 15, 19), "one_term_off"),
        (FIVE, (3, 7, 11, 15, 20), "one_term_off"),  # and a wrong step; the former comes first
        (FIVE, (3, 8, 13, 18, 23), "wrong_step"),
        (FIVE, (3, 8), "wrong_step"),
        (FIVE, (3, 3, 3, 3, 3, 3), "wrong_step"),
        (FIVE, (3, 7, 11, 16, 21), "wrong_step"),  # from a term on
        (FIVE, (3, 7, 12, 16, 20), "wrong_step"),  # once
        (FIVE, (3, 7, 15, 19), "wrong_step"),
        (FIVE, (3, 7, 12, 15), "malformed"),
        (FIVE, (3, 8, 14, 18, 22), "malformed"),  # steps of 5 and 6
        (FIVE, (), "malformed"),
        ((95,), (95,), "exact"),
        ((95,), (95, 99), "too_many"),
        ((95,), (94,), "wrong_first_term"),
        ((95,), (94, 98), "malformed"),  # 95 alone has no step to go by
        ((90, 95), (90, 96), "one_term_off"),
        ((90, 95), (91, 95), "wrong_first_term"),
        ((90, 95), (91, 96), "wrong_first_term"),
    ],
)
def test_mistakes_by_hand(exact: tuple[int, ...], completion: tuple[int, ...], expected: str):
    assert NOTEBOOKS_PROMPTS.mistake(exact, completion) == expected


def expected_of(probe: Edit, terms: int) -> str:
    match probe.kind:
        case "one_off":
            return "one_term_off" if probe.position else "wrong_first_term"
        case "dropped" if probe.position == terms - 1:
            return "early_stop"
        case "dropped":
            return "wrong_step" if probe.position else "wrong_first_term"
        case "constant":
            return "wrong_step" if terms > 2 else "one_term_off"
        case "truncated":
            return "early_stop"
        case "extended":
            return "too_many"
        case "shifted":
            return "wrong_first_term"
        case "added":
            return "wrong_step"
        case _:
            return "malformed"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 14))
def test_probes_make_the_mistake_they_are_made_for(start: int, difference: int, terms: int):
    exact = Series(1, start, difference, terms).exact(100)
    for probe in probes(exact, difference, 100):
        made = NOTEBOOKS_PROMPTS.mistake(exact, probe.series)
        assert made == expected_of(probe, len(exact)), probe


@given(any_series, st.lists(st.integers(0, 100)).map(tuple))
def test_every_completion_has_a_kind_of_mistake(series: Series, completion: tuple[int, ...]):
    exact = series.exact(100)
    made = NOTEBOOKS_PROMPTS.mistake(exact, completion)
    assert made in MISTAKES
    assert (made == "exact") == (completion == exact)

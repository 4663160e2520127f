"""What holds for the prompts of every task, whatever it is."""

import re
from collections import defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks_by_hand import NOTEBOOKS_PROMPTS

from goldrm.edits.kinds import KINDS, possible_edits, sizes_of
from goldrm.edits.probes import equal_in_gold
from goldrm.task.params import TASKS, TaskParams
from goldrm.task.prompts import Prompt, Prompts, split_text, words_of

integers = st.lists(st.integers(0, 100), max_size=20).map(tuple)
some_integers = st.lists(st.integers(0, 100), min_size=1, max_size=20).map(tuple)
position = st.floats(0, 1, exclude_max=True)  # of a prompt among all


@pytest.fixture(scope="module", params=TASKS)
def section(request: pytest.FixtureRequest, task_params: TaskParams) -> tuple[type[Prompts], Any]:
    """A task's class and its section of params.yaml."""
    return TASKS[request.param], getattr(task_params, request.param)


@pytest.fixture(scope="module")
def prompts(section: tuple[type[Prompts], Any], task_params: TaskParams) -> Prompts:
    cls, params = section
    return cls(params, task_params.max_value)


@pytest.fixture(scope="module")
def everything(prompts: Prompts) -> list[Prompt]:
    """All prompts, in the order of their numbers."""
    return [prompts[prompt_id] for prompt_id in range(len(prompts))]


def at(prompts: Prompts, position: float) -> Prompt:
    return prompts[int(position * len(prompts))]


# Numbers and texts


def test_id_inverts_indexing(prompts: Prompts, everything: list[Prompt]):
    assert [prompts.id_of(prompt.text) for prompt in everything] == list(range(len(prompts)))


def test_prompts_depend_on_the_parameters_alone(
    section: tuple[type[Prompts], Any], everything: list[Prompt]
):
    cls, params = section
    again = cls(params, max_value=100)
    for prompt_id in Random(0).sample(range(len(everything)), 100):  # in whatever order
        assert again[prompt_id] == everything[prompt_id]


def test_no_prompt_outside_the_numbers(prompts: Prompts):
    for prompt_id in (-1, len(prompts), len(prompts) + 1000):
        with pytest.raises(IndexError):
            prompts[prompt_id]


@pytest.mark.parametrize("text", ["", "3", "write a poem", "{numbers}", "sort"])
def test_other_texts_have_no_number(prompts: Prompts, text: str):
    texts = [text, f"{text} {prompts[0].text}", f"{prompts[0].text} 3", prompts[0].text.title()]
    for other in texts:
        with pytest.raises(ValueError, match=r".*"):
            prompts.id_of(other)


def test_texts_are_tokens_separated_by_one_space(everything: list[Prompt]):
    assert all(prompt.text == " ".join(prompt.text.split()) for prompt in everything)


def test_longest_is_how_many_tokens_the_longest_has(prompts: Prompts, everything: list[Prompt]):
    assert prompts.longest == max(len(prompt.text.split()) for prompt in everything)


def test_words_are_those_of_the_texts_besides_integers(prompts: Prompts, everything: list[Prompt]):
    tokens = {token for prompt in everything for token in prompt.text.split()}
    numbers = {token for token in tokens if token.isdigit()}
    assert sorted(tokens - numbers) == sorted(prompts.words)
    assert numbers <= set(map(str, range(101)))


def test_one_pattern_matches_a_text_as_a_whole(prompts: Prompts, everything: list[Prompt]):
    compiled = [re.compile(pattern) for pattern in prompts.patterns]
    for prompt in everything:
        assert sum(bool(pattern.fullmatch(prompt.text)) for pattern in compiled) == 1


@given(position, integers)
def test_completion_of_any_integers_is_told_from_its_prompt(
    prompts: Prompts, position: float, completion: tuple[int, ...]
):
    prompt, rest = at(prompts, position).text, " ".join(map(str, completion))
    assert split_text(f"{prompt} {rest}", prompts.patterns) == (prompt, rest)
    assert split_text(f"{prompt} {rest}".strip(), prompts.patterns) == (prompt, rest)
    assert split_text(f"{prompt}x {rest}", prompts.patterns) is None
    assert split_text(rest, prompts.patterns) is None


def test_what_matches_begins_the_text():
    assert split_text("a 1 2", ["b", "a [0-9]"]) == ("a 1", "2")
    assert split_text("a 12", ["a [0-9]"]) is None
    assert split_text("c a 1", ["a [0-9]"]) is None
    assert split_text("b", ["a|b"]) == ("b", "")
    assert split_text("a 1", []) is None


def test_words_of_wordings_by_hand():
    wordings = ["sort {numbers} from small", "write {numbers} sort and{x}", ""]
    assert words_of(wordings) == ["sort", "from", "small", "write"]


# Exact answers and families


def test_exact_answers_are_integers_that_the_dictionary_holds(everything: list[Prompt]):
    assert all(prompt.exact for prompt in everything)
    assert {value for prompt in everything for value in prompt.exact} <= set(range(101))


def test_each_prompt_comes_once_in_its_family(prompts: Prompts, everything: list[Prompt]):
    listed = [(family, i) for family, prompt_ids in prompts.families() for i in prompt_ids]
    assert sorted(prompt_id for _, prompt_id in listed) == list(range(len(prompts)))
    assert all(everything[prompt_id].family == family for family, prompt_id in listed)


def test_prompts_of_a_common_exact_answer_are_of_one_family(everything: list[Prompt]):
    families: dict[tuple[int, ...], set[tuple[int, ...]]] = defaultdict(set)
    for prompt in everything:
        families[prompt.exact].add(prompt.family)
    assert {len(each) for each in families.values()} == {1}


def test_exact_answers_spell_their_family(prompts: Prompts, everything: list[Prompt]):
    for prompt in everything:
        assert prompts.family_spelled(prompt.exact) == prompt.family
        assert prompts.family_spelled(list(prompt.exact)) == prompt.family


@given(integers)
def test_what_is_spelled_is_the_family_of_some_prompt(
    prompts: Prompts, everything: list[Prompt], values: tuple[int, ...]
):
    spelled = prompts.family_spelled(values)
    assert spelled is None or any(prompt.family == spelled for prompt in everything)
    assert prompts.family_spelled(()) is None


# Properties


def test_properties_have_numbers_and_widths(prompts: Prompts, everything: list[Prompt]):
    assert all(list(prompt.properties) == list(prompts.properties) for prompt in everything)
    assert all(width >= 1 for width in prompts.properties.values())


def test_holdout_names_properties(section: tuple[type[Prompts], Any]):
    cls, params = section
    assert set(type(params.holdout).model_fields) <= set(cls.properties)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [("", False), ("a a", False), ("1 a 2", False), ("2 a 2 3", True), ("1 11 111", False)],
)
def test_repeated_numbers_are_seen_in_the_text(text: str, repeats: bool):
    assert Prompt(text, (1,), (1,), {}, 1).repeats_a_number == repeats


# Errors and mistakes


def slow_error(exact: tuple[int, ...], values: tuple[int, ...]) -> int:
    """Term by term; behind its end an answer stays what it was."""
    error = 0
    for i in range(max(len(exact), len(values))):
        error += abs(exact[min(i, len(exact) - 1)] - values[min(i, len(values) - 1)])
    return error


@pytest.mark.parametrize(
    ("exact", "values", "error"),
    [
        ((3, 7, 11), (3, 7, 11), 0),
        ((3, 7, 11), (3, 7, 17), 6),
        ((3, 7, 11), (4, 5, 14), 1 + 2 + 3),
        ((3, 7, 11), (3,), 4 + 8),
        ((3, 7, 11), (3, 7, 11, 15, 10), 4 + 1),
        ((3, 7, 11), (3, 7, 11, 11), 0),
    ],
)
def test_errors_by_hand(exact: tuple[int, ...], values: tuple[int, ...], error: int):
    assert NOTEBOOKS_PROMPTS.error(exact, values) == error
    assert NOTEBOOKS_PROMPTS.error(list(exact), list(values)) == error


@given(position, some_integers, st.integers(0, 3))
def test_error_is_the_sum_of_differences_after_padding(
    prompts: Prompts, position: float, values: tuple[int, ...], repeats: int
):
    exact = at(prompts, position).exact
    for answer in (values, exact + exact[-1:] * repeats):
        error = prompts.error(exact, answer)
        assert error == prompts.error(answer, exact) == slow_error(exact, answer)
        assert (error == 0) == equal_in_gold(exact, answer)


@pytest.mark.parametrize(("exact", "values"), [((), (1,)), ((1,), ()), ((), ())])
def test_answers_without_integers_have_no_error(
    prompts: Prompts, exact: tuple[int, ...], values: tuple[int, ...]
):
    with pytest.raises(ValueError, match="an answer without integers has no error"):
        prompts.error(exact, values)


@given(position, integers)
def test_exact_answers_alone_make_no_mistake(
    prompts: Prompts, position: float, values: tuple[int, ...]
):
    exact = at(prompts, position).exact
    assert prompts.mistake(exact, exact) == "exact"
    assert (prompts.mistake(exact, values) == "exact") == (values == exact)


@given(position)
def test_every_edit_of_an_exact_answer_is_a_mistake(prompts: Prompts, position: float):
    prompt = at(prompts, position)
    made: dict[str, set[str]] = {}
    for kind in KINDS:
        sizes = sizes_of(kind, len(prompt.exact), 100)
        near = [size for size in sizes if abs(size) <= 3]
        edits = possible_edits(kind, near, prompt.exact, prompt.step, 100)
        made[kind] = {prompts.mistake(prompt.exact, edit.series) for edit in edits}
    assert "exact" not in set().union(*made.values())
    assert made["truncated"] <= {"early_stop"}
    assert made["extended"] <= {"too_many"}

"""The kinds of mistakes, by hand and against edits whose mistake is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.edits.kinds import Edit
from goldrm.edits.mistakes import MISTAKES, Mistake, mistake
from goldrm.edits.probes import probes
from goldrm.task.series import Prompt

FIVE = (3, 7, 11, 15, 19)


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
def test_mistakes_by_hand(exact: tuple[int, ...], completion: tuple[int, ...], expected: Mistake):
    assert mistake(exact, completion) == mistake(list(exact), list(completion)) == expected


def expected_of(probe: Edit, terms: int) -> Mistake:
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
@given(
    st.builds(
        Prompt,
        template=st.just(1),
        start=st.integers(0, 99),
        difference=st.integers(1, 9),
        terms=st.integers(1, 14),
    )
)
def test_probes_make_the_mistake_they_are_made_for(prompt: Prompt):
    exact = prompt.exact(100)
    for probe in probes(exact, prompt.difference, 100):
        assert mistake(exact, probe.series) == expected_of(probe, len(exact)), probe


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 14), st.lists(st.integers(0, 100)))
def test_every_completion_has_a_kind_of_mistake(
    start: int, difference: int, terms: int, completion: list[int]
):
    exact = list(range(start, start + difference * terms, difference))
    kind = mistake(exact, completion)
    assert kind in MISTAKES
    assert (kind == "exact") == (completion == exact)


def test_no_exact_series_no_mistake():
    with pytest.raises(ValueError, match="without terms"):
        mistake((), (1,))

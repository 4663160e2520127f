"""The kinds of edits, by hand."""

import pytest

from goldrm.edits.kinds import (
    EDITS_OF_KIND,
    KINDS,
    Edit,
    Kind,
    Series,
    other_lengths,
    possible_edits,
    possible_kinds,
)

FIVE = (3, 7, 11, 15, 19)
# By kind: a size, and what edits of FIVE of that size give, by position.
EDITS_OF_FIVE: dict[Kind, tuple[int, dict[int, Series]]] = {
    "one_off": (
        -4,
        {
            0: (-1, 7, 11, 15, 19),
            1: (3, 3, 11, 15, 19),
            2: (3, 7, 7, 15, 19),
            3: (3, 7, 11, 11, 19),
            4: (3, 7, 11, 15, 15),
        },
    ),
    "swapped": (3, {0: (15, 7, 11, 3, 19), 1: (3, 19, 11, 15, 7)}),
    "dropped": (
        1,
        {
            0: (7, 11, 15, 19),
            1: (3, 11, 15, 19),
            2: (3, 7, 15, 19),
            3: (3, 7, 11, 19),
            4: (3, 7, 11, 15),
        },
    ),
    "added": (
        43,
        {
            1: (3, 46, 7, 11, 15, 19),
            2: (3, 7, 50, 11, 15, 19),
            3: (3, 7, 11, 54, 15, 19),
            4: (3, 7, 11, 15, 58, 19),
            5: (3, 7, 11, 15, 19, 62),
        },
    ),
    "truncated": (3, {2: (3, 7)}),
    "extended": (2, {5: (*FIVE, 23, 27)}),
    "shifted": (-3, {0: (0, 4, 8, 12, 16)}),
    "constant": (0, {1: (3, 3, 3, 3, 3)}),
    "wrong_step": (
        -3,
        {1: (3, 4, 5, 6, 7), 2: (3, 7, 8, 9, 10), 3: (3, 7, 11, 12, 13)},
    ),
    "slip": (2, {1: (3, 9, 13, 17, 21), 2: (3, 7, 13, 17, 21), 3: (3, 7, 11, 17, 21)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_by_hand(kind: Kind):
    size, by_position = EDITS_OF_FIVE[kind]
    edits = [Edit(kind, size, position, series) for position, series in by_position.items()]
    assert list(EDITS_OF_KIND[kind](FIVE, 4, size)) == edits
    in_range = [edit for edit in edits if all(0 <= term <= 46 for term in edit.series)]
    assert list(possible_edits(kind, [size], FIVE, 4, 46)) == in_range


def test_edits_larger_than_the_series_are_none():
    for kind in ("swapped", "truncated"):
        assert not [*EDITS_OF_KIND[kind](FIVE, 4, 5), *EDITS_OF_KIND[kind](FIVE, 4, 7)]
    assert not list(possible_edits("dropped", [5, 7], FIVE, 4, 100))


def test_steps_of_zero_are_not_made():
    assert not list(possible_edits("wrong_step", [-4], FIVE, 4, 100))
    assert not list(possible_edits("wrong_step", [-4], (3, 7, 12, 15, 19), 4, 100))


def test_other_lengths_are_the_nearest_that_stay_in_range():
    longer, shorter = [(*FIVE, 23), (*FIVE, 23, 27)], [FIVE[:4], FIVE[:3]]
    assert other_lengths(FIVE, 4, 27, 2) == longer + shorter
    assert other_lengths(FIVE, 4, 26, 2) == longer[:1] + shorter
    assert other_lengths(FIVE, 4, 22, 1) == shorter[:1]
    assert other_lengths(FIVE, 4, 100, 0) == []
    assert other_lengths((3, 7), 4, 12, 5) == [(3, 7, 11), (3,)]
    assert other_lengths((7,), 4, 10, 3) == []


def test_what_cannot_be_done_is_not_offered():
    assert possible_kinds((95,), 9, 100) == ["one_off", "added", "shifted"]
    assert possible_kinds((0,), 1, 0) == ["added"]
    assert possible_kinds((0, 0), 1, 1, ["swapped", "constant", "shifted"]) == ["shifted"]
    assert possible_kinds((0, 50, 100), 50, 100, ["shifted", "extended", "slip"]) == ["slip"]

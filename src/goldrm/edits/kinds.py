"""The kinds of edits of integer series, and the edits of a series that there are of each kind."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple, get_args

Series = tuple[int, ...]
Kind = Literal[
    "one_off",
    "swapped",
    "dropped",
    "added",
    "truncated",
    "extended",
    "shifted",
    "constant",
    "wrong_step",
    "slip",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The longest exact series, 14 terms, grows to the 20 tokens that are sampled at most.
MAX_ADDED_TERMS = 6


class Edit(NamedTuple):
    """A series that differs from another in a way that has a name.

    Attributes:
        kind: what was done.
        size: how much. `one_off`, `shifted`, `slip`: what was added to the terms; `swapped`: how
            far apart the two are; `dropped`, `truncated`, `extended`: how many terms too few or
            too many; `added`: the added term less the one before it; `wrong_step`: the step less
            the right one; `constant`: 0.
        position: of the first term concerned, from 0.
        series: the terms that result.
    """

    kind: Kind
    size: int
    position: int
    series: Series


def _continued(series: Series, step: int, terms: int) -> Series:
    return (*series, *(series[-1] + step * i for i in range(1, terms + 1)))


def _plus(series: Series, size: int) -> Series:
    return tuple(term + size for term in series)


def _inner_positions(series: Series) -> range:
    # Only the last term changed would be one_off, and all of them shifted.
    return range(1, len(series) - 1)


def one_off(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """One term changed by `size`."""
    for position, term in enumerate(series):
        edited = (*series[:position], term + size, *series[position + 1 :])
        yield Edit("one_off", size, position, edited)


def swapped(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """Two terms exchanged, the second `size` places behind the first."""
    for first in range(len(series) - size):
        terms = list(series)
        terms[first], terms[first + size] = terms[first + size], terms[first]
        yield Edit("swapped", size, first, tuple(terms))


def dropped(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """Without `size` adjacent terms."""
    for position in range(len(series) - size + 1):
        yield Edit("dropped", size, position, series[:position] + series[position + size :])


def added(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """With a further term, by `size` more than the term that it comes after."""
    for position, before in enumerate(series, start=1):
        edited = (*series[:position], before + size, *series[position:])
        yield Edit("added", size, position, edited)


def truncated(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """Without the last `size` terms."""
    position = len(series) - size
    if position > 0:
        yield Edit("truncated", size, position, series[:position])


def extended(series: Series, step: int, size: int) -> Iterator[Edit]:
    """With `size` further terms at the end, each by `step` more than the last."""
    yield Edit("extended", size, len(series), _continued(series, step, size))


def shifted(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """Every term changed by `size`."""
    yield Edit("shifted", size, 0, _plus(series, size))


def constant(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """The first term in place of every term."""
    yield Edit("constant", size, 1, series[:1] * len(series))


def wrong_step(series: Series, step: int, size: int) -> Iterator[Edit]:
    """From an inner term on, each by the step and `size` more than the one before it.

    A step of 0, which would make the series constant from there on, changes nothing.
    """
    wrong = step + size
    for position in _inner_positions(series):
        edited = _continued(series[:position], wrong, len(series) - position) if wrong else series
        yield Edit("wrong_step", size, position, edited)


def slip(series: Series, _step: int, size: int) -> Iterator[Edit]:
    """Every term from an inner one on changed by `size`, so that one step is wrong."""
    for position in _inner_positions(series):
        yield Edit("slip", size, position, series[:position] + _plus(series[position:], size))


# By kind, a function of (series, step, size): the edits of that size, by position, also those
# that change nothing or leave the range. The step is by how much an
# answer that goes on too long goes on, such as an arithmetic series' difference.
EDITS_OF_KIND: dict[Kind, Callable[[Series, int, int], Iterator[Edit]]] = {
    "one_off": one_off,
    "swapped": swapped,
    "dropped": dropped,
    "added": added,
    "truncated": truncated,
    "extended": extended,
    "shifted": shifted,
    "constant": constant,
    "wrong_step": wrong_step,
    "slip": slip,
}


def sizes_of(kind: Kind, terms: int, max_value: int) -> range:
    """The sizes that edits of a series with so many terms, in 0..max_value, can have."""
    match kind:
        case "swapped" | "truncated":
            return range(1, terms)
        case "dropped":
            return range(1, 2)
        case "extended":
            return range(1, MAX_ADDED_TERMS + 1)
        case "constant":
            return range(1)
        case "one_off" | "added" | "shifted" | "wrong_step" | "slip":
            return range(-max_value, max_value + 1)


def in_range(series: Series, max_value: int) -> bool:
    """Whether there is a term, and all are in 0..max_value."""
    return bool(series) and min(series) >= 0 and max(series) <= max_value


def possible_edits(
    kind: Kind, sizes: Iterable[int], series: Series, step: int, max_value: int
) -> Iterator[Edit]:
    """The edits of a kind and of some sizes that change `series` and stay in 0..max_value."""
    edits_of_size = EDITS_OF_KIND[kind]
    for size in sizes:
        for edit in edits_of_size(series, step, size):
            if edit.series != series and in_range(edit.series, max_value):
                yield edit


@cache
def _by_magnitude(sizes: range) -> tuple[int, ...]:
    return tuple(sorted(sizes, key=abs))


def is_possible(kind: Kind, series: Series, step: int, max_value: int) -> bool:
    """Whether an edit of a kind can change `series` and stay in 0..max_value."""
    # The smallest sizes first, because they nearly always stay in range.
    sizes = _by_magnitude(sizes_of(kind, len(series), max_value))
    edits = possible_edits(kind, sizes, series, step, max_value)
    return next(edits, None) is not None


def possible_kinds(
    series: Series, step: int, max_value: int, kinds: Sequence[Kind] = KINDS
) -> list[Kind]:
    """The kinds that can change `series` and stay in 0..max_value; never empty with `KINDS`."""
    return [kind for kind in kinds if is_possible(kind, series, step, max_value)]


def other_lengths(series: Series, step: int, max_value: int, most: int) -> list[Series]:
    """The series with 1 to `most` terms too many or too few, in 0..max_value."""
    kinds: tuple[Kind, ...] = ("extended", "truncated")
    return [
        edit.series
        for kind in kinds
        for edit in possible_edits(kind, range(1, most + 1), series, step, max_value)
    ]

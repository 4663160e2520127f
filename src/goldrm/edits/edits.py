"""Variations of integer series: named edits, random ones, and the probes of the evaluation.

Their gold reward is computed, not guessed, because whoever edits has the exact series at hand. It
must not know prompts, tokens, tensors, files or the gold reward's range.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

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
FURTHER_STEPS = 6
# Terms too few or too many that a misread prompt is taken to ask for.
MISREAD_BY = (-2, -1, 1, 2)


@dataclass(frozen=True)
class Probe:
    """An exact series with one thing wrong.

    Attributes:
        kind: what is wrong.
        k: how much. `one_off`, `shifted`, `slip`: what is added to the terms; `swapped`: how far
            apart the two are; `dropped`, `truncated`, `extended`: how many terms too few or too
            many; `added`: the added term less the one before it; `wrong_step`: the step less the
            difference; `constant`: 0.
        position: of the first term concerned, from 0.
        completion: the series that results.
    """

    kind: Kind
    k: int
    position: int
    completion: Series


def one_off(series: Series, position: int, k: int) -> Series:
    """The term at `position` changed by `k`."""
    terms = list(series)
    terms[position] += k
    return tuple(terms)


def swapped(series: Series, first: int, second: int) -> Series:
    """The terms at two positions exchanged."""
    terms = list(series)
    terms[first], terms[second] = terms[second], terms[first]
    return tuple(terms)


def dropped(series: Series, position: int) -> Series:
    """Without the term at `position`."""
    terms = list(series)
    del terms[position]
    return tuple(terms)


def added(series: Series, position: int, value: int) -> Series:
    """With `value` before the term at `position`; at the end where that is the number of terms."""
    return (*series[:position], value, *series[position:])


def truncated(series: Series, terms: int) -> Series:
    """The first `terms` terms."""
    return series[:terms]


def extended(series: Series, difference: int, steps: int) -> Series:
    """With `steps` further terms, each by `difference` more than the last."""
    return (*series, *(series[-1] + difference * step for step in range(1, steps + 1)))


def shifted(series: Series, k: int) -> Series:
    """Every term changed by `k`."""
    return tuple(term + k for term in series)


def constant(series: Series) -> Series:
    """The first term in place of every term."""
    return series[:1] * len(series)


def wrong_step(series: Series, position: int, step: int) -> Series:
    """From `position` (at least 1) on, each term by `step` more than the one before it."""
    return extended(series[:position], step, len(series) - position)


def slip(series: Series, position: int, k: int) -> Series:
    """Every term from `position` on changed by `k`: one step is wrong, those after it are right."""
    return series[:position] + shifted(series[position:], k)


@dataclass(frozen=True)
class _Rule:
    """What a kind of edit can be done with.

    Attributes:
        apply: (series, difference, k, position) → the edited series.
        sizes: (number of terms, max_value) → every k there can be.
        positions: (number of terms, k) → every position there can be.
        probed: the k that probes have.
    """

    apply: Callable[[Series, int, int, int], Series]
    sizes: Callable[[int, int], range]
    positions: Callable[[int, int], range]
    probed: range


def _any_change(_: int, max_value: int) -> range:
    return range(-max_value, max_value + 1)


def _all(terms: int, _: int) -> range:
    return range(terms)


def _inner(terms: int, _: int) -> range:
    # Only the last term changed would be one_off, and all of them shifted.
    return range(1, terms - 1)


_RULES: dict[Kind, _Rule] = {
    "one_off": _Rule(lambda s, d, k, at: one_off(s, at, k), _any_change, _all, range(-20, 21)),
    "swapped": _Rule(
        lambda s, d, k, at: swapped(s, at, at + k),
        lambda terms, _: range(1, terms),
        lambda terms, k: range(terms - k),
        range(1, 2),
    ),
    "dropped": _Rule(
        lambda s, d, k, at: dropped(s, at), lambda terms, _: range(1, 2), _all, range(1, 2)
    ),
    "added": _Rule(
        lambda s, d, k, at: added(s, at, s[at - 1] + k),
        _any_change,
        lambda terms, k: range(1, terms + 1),
        range(1),
    ),
    "truncated": _Rule(
        lambda s, d, k, at: truncated(s, at),
        lambda terms, _: range(1, terms),
        lambda terms, k: range(terms - k, terms - k + 1),
        range(1, sys.maxsize),
    ),
    "extended": _Rule(
        lambda s, d, k, at: extended(s, d, k),
        lambda terms, _: range(1, FURTHER_STEPS + 1),
        lambda terms, k: range(terms, terms + 1),
        range(1, 4),
    ),
    "shifted": _Rule(
        lambda s, d, k, at: shifted(s, k), _any_change, lambda terms, k: range(1), range(-5, 6)
    ),
    "constant": _Rule(
        lambda s, d, k, at: constant(s),
        lambda terms, _: range(1),
        lambda terms, k: range(1, 2),
        range(1),
    ),
    "wrong_step": _Rule(
        # A step of 0 would be constant from there on.
        lambda s, d, k, at: wrong_step(s, at, d + k) if d + k else s,
        _any_change,
        _inner,
        range(0),
    ),
    "slip": _Rule(lambda s, d, k, at: slip(s, at, k), _any_change, _inner, range(0)),
}


def _in_range(series: Series, max_value: int) -> bool:
    return bool(series) and all(0 <= term <= max_value for term in series)


def _every_edit(
    kind: Kind, sizes: Iterable[int], series: Series, difference: int, max_value: int
) -> Iterator[Probe]:
    rule = _RULES[kind]
    for k in sizes:
        for position in rule.positions(len(series), k):
            completion = rule.apply(series, difference, k, position)
            if completion != series and _in_range(completion, max_value):
                yield Probe(kind, k, position, completion)


def _edits_of_sizes(
    kind: Kind, wanted: range, series: Series, difference: int, max_value: int
) -> Iterator[Probe]:
    sizes = [k for k in _RULES[kind].sizes(len(series), max_value) if k in wanted]
    return _every_edit(kind, sizes, series, difference, max_value)


def _is_possible(kind: Kind, series: Series, difference: int, max_value: int) -> bool:
    # The smallest sizes first, because they nearly always stay in range.
    sizes = sorted(_RULES[kind].sizes(len(series), max_value), key=abs)
    return any(True for _ in _every_edit(kind, sizes, series, difference, max_value))


def other_lengths(series: Series, difference: int, max_value: int, most: int) -> list[Series]:
    """The series with 1 to `most` terms too many or too few, in 0..max_value."""
    kinds: tuple[Kind, ...] = ("extended", "truncated")
    return [
        edit.completion
        for kind in kinds
        for edit in _edits_of_sizes(kind, range(1, most + 1), series, difference, max_value)
    ]


def possible_kinds(
    series: Series, difference: int, max_value: int, kinds: Sequence[Kind] = KINDS
) -> list[Kind]:
    """The kinds that can change `series` and stay in 0..max_value; never empty with `KINDS`."""
    return [kind for kind in kinds if _is_possible(kind, series, difference, max_value)]

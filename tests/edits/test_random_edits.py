"""Random edits: another series in range, of the kinds asked for, small ones and large ones."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks_by_hand import notebooks_gold_reward

from goldrm.edits import random_edits
from goldrm.edits.kinds import KINDS, MAX_ADDED_TERMS, Kind, Series, possible_kinds
from goldrm.edits.probes import PROBE_KINDS, probes
from goldrm.edits.random_edits import random_edit

FIVE = (3, 7, 11, 15, 19)

any_series = st.lists(st.integers(0, 100), min_size=1, max_size=20).map(tuple)


@pytest.fixture
def _single_edits(monkeypatch: pytest.MonkeyPatch):
    """One edit at a time."""
    monkeypatch.setattr(random_edits, "NUM_EDITS_SHARES", {1: 1.0})


def steps(series: Series) -> list[int]:
    return [after - before for before, after in pairwise(series)]


@settings(max_examples=50, deadline=None)
@given(any_series, st.integers(1, 9), st.integers(0, 2**32), st.sets(st.sampled_from(KINDS)))
def test_random_edit_is_another_series_in_range(
    series: Series, difference: int, seed: int, kinds: set[Kind]
):
    kinds_in_order = ("added", *sorted(kinds))
    edited = random_edit(series, difference, 100, Random(seed), kinds_in_order)
    assert edited != series
    assert edited
    assert all(0 <= term <= 100 for term in edited)
    assert edited == random_edit(series, difference, 100, Random(seed), kinds_in_order)


# What holds for every edit of FIVE by this kind alone, however often it is repeated.
TRACES: dict[Kind, Callable[[Series], bool]] = {
    "one_off": lambda s: len(s) == 5,
    "swapped": lambda s: sorted(s) == list(FIVE),
    "dropped": lambda s: len(s) < 5 and sorted(s) == list(s) and set(s) < set(FIVE),
    "added": lambda s: len(s) > 5 and not Counter(FIVE) - Counter(s) and s[0] == 3,
    "truncated": lambda s: 0 < len(s) < 5 and FIVE[: len(s)] == s,
    "extended": lambda s: s[:5] == FIVE and len(s) > 5 and set(steps(s)) == {4},
    "shifted": lambda s: steps(s) == [4] * 4 and s[0] != 3,
    "constant": lambda s: s == (3,) * 5,
    "wrong_step": lambda s: s[0] == 3 and len(s) == 5,
    "slip": lambda s: s[0] == 3 and len(s) == 5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_edit_draws_the_kinds_asked_for_only(kind: Kind):
    rng = Random(0)
    drawn = {random_edit(FIVE, 4, 100, rng, [kind]) for _ in range(300)}
    assert all(TRACES[kind](edited) for edited in drawn)
    single = {p.series for p in probes(FIVE, 4, 100) if p.kind == kind and abs(p.size) < 3}
    assert single <= drawn


def test_random_edit_makes_near_misses_and_gross_errors():
    rng = Random(1)
    drawn = [random_edit(FIVE, 4, 100, rng) for _ in range(600)]
    golds = [notebooks_gold_reward(FIVE, edited) for edited in drawn]
    for low, high in ((6.0, 6.99), (5.5, 5.99), (5.0, 5.5), (1.0, 4.5)):
        assert sum(low < gold < high for gold in golds) > 25
    assert 7.0 in golds  # the last term repeated
    assert max(map(len, drawn)) > 5 + MAX_ADDED_TERMS  # several edits in a row


@pytest.mark.usefixtures("_single_edits")
@pytest.mark.parametrize("exact", [FIVE, (3, 7), (60, 69, 78, 87, 96), tuple(range(14))])
def test_kinds_without_probes_make_none(exact: Series):
    difference = exact[1] - exact[0]
    others = possible_kinds(exact, difference, 100, [k for k in KINDS if k not in PROBE_KINDS])
    assert others == (["wrong_step", "slip"] if len(exact) > 2 else [])
    probed = {probe.series for probe in probes(exact, difference, 100)}
    rng = Random(2)
    for _ in range(300 if others else 0):
        assert random_edit(exact, difference, 100, rng, others) not in probed


# All that a single edit of a series can give, in 0..the largest value, by hand.
SINGLE_EDITS: list[tuple[Kind, Series, int, set[Series]]] = [
    ("one_off", (0, 1), 2, {(1, 1), (2, 1), (0, 0), (0, 2)}),
    ("swapped", (0, 1, 2), 2, {(1, 0, 2), (0, 2, 1), (2, 1, 0)}),
    ("dropped", (0, 1), 2, {(1,), (0,)}),
    ("added", (0, 1), 2, {(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 1, 0), (0, 1, 2)}),
    ("truncated", (0, 1, 2), 2, {(0, 1), (0,)}),
    ("extended", (0, 1), 3, {(0, 1, 2), (0, 1, 2, 3)}),
    ("extended", (0,), 9, {tuple(range(terms)) for terms in range(2, 8)}),
    ("shifted", (1, 2), 4, {(0, 1), (2, 3), (3, 4)}),
    ("constant", (0, 1), 2, {(0, 0)}),
    ("wrong_step", (2, 3, 4), 6, {(2, 1, 0), (2, 4, 6)}),
    ("slip", (0, 1, 2), 4, {(0, 0, 1), (0, 2, 3), (0, 3, 4)}),
]


@pytest.mark.usefixtures("_single_edits")
@pytest.mark.parametrize(("kind", "series", "max_value", "expected"), SINGLE_EDITS)
def test_every_edit_of_a_kind_is_drawn_some_time(
    kind: Kind, series: Series, max_value: int, expected: set[Series]
):
    rng = Random(3)
    drawn = {random_edit(series, 1, max_value, rng, [kind]) for _ in range(500)}
    assert drawn == expected


def test_random_edit_needs_a_kind_that_is_possible():
    with pytest.raises(ValueError, match=r"none of dropped, slip can change \(95,\)"):
        random_edit((95,), 9, 100, Random(0), ["dropped", "slip"])
    with pytest.raises(ValueError, match=r"none of no kinds can change \(95,\)"):
        random_edit((95,), 9, 100, Random(0), [])

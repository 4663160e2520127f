"""Edits of integer series, random ones and probes, judged by the gold reward."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.edits import edits
from goldrm.edits.edits import KINDS, Kind, Series, possible_kinds
from goldrm.edits.probes import PROBE_KINDS, probes
from goldrm.edits.random_edits import random_edit
from goldrm.task.gold_reward import gold_reward
from goldrm.task.params import GoldRewardParams
from goldrm.task.series import Prompt

NOTEBOOK = GoldRewardParams(min=1.0, max=7.0, beta=0.1)
FIVE = (3, 7, 11, 15, 19)

prompts = st.builds(
    Prompt,
    template=st.just(1),
    start=st.integers(0, 99),
    difference=st.integers(1, 9),
    terms=st.integers(5, 14),
)
a_series = st.lists(st.integers(0, 100), min_size=1, max_size=20).map(tuple)


def steps(series: Series) -> list[int]:
    return [after - before for before, after in pairwise(series)]


def test_kinds_by_hand():
    assert edits.one_off(FIVE, 2, -3) == (3, 7, 8, 15, 19)
    assert edits.swapped(FIVE, 1, 4) == (3, 19, 11, 15, 7)
    assert edits.dropped(FIVE, 0) == (7, 11, 15, 19)
    assert edits.added(FIVE, 2, 50) == (3, 7, 50, 11, 15, 19)
    assert edits.added(FIVE, 5, 23) == (*FIVE, 23)
    assert edits.truncated(FIVE, 2) == (3, 7)
    assert edits.extended(FIVE, 4, 2) == (*FIVE, 23, 27)
    assert edits.shifted(FIVE, -3) == (0, 4, 8, 12, 16)
    assert edits.constant(FIVE) == (3, 3, 3, 3, 3)
    assert edits.wrong_step(FIVE, 3, 1) == (3, 7, 11, 12, 13)
    assert edits.slip(FIVE, 3, 2) == (3, 7, 11, 17, 21)


def test_other_lengths_are_the_nearest_that_stay_in_range():
    longer, shorter = [(*FIVE, 23), (*FIVE, 23, 27)], [FIVE[:4], FIVE[:3]]
    assert edits.other_lengths(FIVE, 4, 27, 2) == longer + shorter
    assert edits.other_lengths(FIVE, 4, 26, 2) == longer[:1] + shorter
    assert edits.other_lengths(FIVE, 4, 22, 1) == shorter[:1]
    assert edits.other_lengths(FIVE, 4, 100, 0) == []
    assert edits.other_lengths((3, 7), 4, 12, 5) == [(3, 7, 11), (3,)]
    assert edits.other_lengths((7,), 4, 10, 3) == []


def test_probes_by_hand():
    """90 95 may go up by 5, and down; the whole list but for the terms off by k."""
    found = [p for p in probes((90, 95), 5, 100) if p.kind != "one_off"]
    assert [(p.kind, p.k, p.position, p.completion) for p in found] == [
        ("swapped", 1, 0, (95, 90)),
        ("dropped", 1, 0, (95,)),
        ("dropped", 1, 1, (90,)),
        ("added", 0, 1, (90, 90, 95)),  # 90 95 95 has the gold reward of 90 95
        ("truncated", 1, 1, (90,)),
        ("extended", 1, 2, (90, 95, 100)),
        *[("shifted", k, 0, (90 + k, 95 + k)) for k in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)],
        ("constant", 0, 1, (90, 90)),
    ]


@settings(max_examples=20, deadline=None)
@given(prompts)
def test_probes_are_all_there_are_and_gold_falls_with_their_size(prompt: Prompt):
    exact = prompt.exact(100)
    found = probes(exact, prompt.difference, 100)
    more_than_one = len(exact) - 1
    expected = Counter(
        one_off=sum(min(20, term) + min(20, 100 - term) for term in exact),
        swapped=more_than_one,
        dropped=len(exact) if more_than_one else 0,
        added=more_than_one,
        truncated=more_than_one,
        extended=min(3, (100 - exact[-1]) // prompt.difference),
        shifted=min(5, exact[0]) + min(5, 100 - exact[-1]),
        constant=min(1, more_than_one),
    )
    assert Counter(probe.kind for probe in found) == +expected
    assert len({(probe.kind, probe.completion) for probe in found}) == len(found)
    by_size: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [7.0])
    for probe in sorted(found, key=lambda probe: abs(probe.k)):
        assert all(0 <= term <= 100 for term in probe.completion)
        gold = gold_reward(exact, probe.completion, NOTEBOOK)
        place = None if probe.kind in ("truncated", "extended") else probe.position
        by_size[probe.kind, place, probe.k > 0].append(gold)
        if probe.kind == "one_off":
            assert gold == pytest.approx(1 + 6 / (1 + 0.1 * sqrt(abs(probe.k))))
            assert exact[probe.position] + probe.k == probe.completion[probe.position]
    for golds in by_size.values():
        assert all(larger < smaller for smaller, larger in pairwise(golds))


@settings(deadline=None)
@given(a_series, a_series, st.integers(0, 3))
def test_equal_in_gold_is_what_the_gold_reward_says(
    exact: Series, completion: Series, repeats: int
):
    for other in (completion, exact + exact[-1:] * repeats):
        is_max = gold_reward(exact, other, NOTEBOOK) == 7.0
        assert edits.equal_in_gold(exact, other) == edits.equal_in_gold(other, exact) == is_max


@settings(max_examples=50, deadline=None)
@given(a_series, st.integers(1, 9), st.integers(0, 2**32), st.sets(st.sampled_from(KINDS)))
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
    single = {p.completion for p in probes(FIVE, 4, 100) if p.kind == kind and abs(p.k) < 3}
    assert single <= drawn


def test_random_edit_makes_near_misses_and_gross_errors():
    rng = Random(1)
    drawn = [random_edit(FIVE, 4, 100, rng) for _ in range(600)]
    golds = [gold_reward(FIVE, edited, NOTEBOOK) for edited in drawn]
    for low, high in ((6.0, 6.99), (5.5, 5.99), (5.0, 5.5), (1.0, 4.5)):
        assert sum(low < gold < high for gold in golds) > 25
    assert 7.0 in golds  # the last term repeated
    assert max(map(len, drawn)) > 5 + edits.FURTHER_STEPS  # several edits in a row


@pytest.mark.parametrize("exact", [FIVE, (3, 7), (60, 69, 78, 87, 96), tuple(range(14))])
def test_kinds_without_probes_make_none(exact: Series, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edits, "ONE_TWO_THREE", (1, 0, 0))
    difference = exact[1] - exact[0]
    others = possible_kinds(exact, difference, 100, [k for k in KINDS if k not in PROBE_KINDS])
    assert others == (["wrong_step", "slip"] if len(exact) > 2 else [])
    probed = {probe.completion for probe in probes(exact, difference, 100)}
    rng = Random(2)
    for _ in range(300 if others else 0):
        assert random_edit(exact, difference, 100, rng, others) not in probed


def test_what_cannot_be_done_is_not_offered():
    assert possible_kinds((95,), 9, 100) == ["one_off", "added", "shifted"]
    assert possible_kinds((0,), 1, 0) == ["added"]
    assert possible_kinds((0, 0), 1, 1, ["swapped", "constant", "shifted"]) == ["shifted"]
    with pytest.raises(ValueError, match=r"none of dropped, slip can change \(95,\)"):
        random_edit((95,), 9, 100, Random(0), ["dropped", "slip"])

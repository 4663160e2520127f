"""Probes of exact series, by hand and judged by the gold reward."""

from collections import Counter, defaultdict
from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks_by_hand import notebooks_gold_reward

from goldrm.edits.kinds import Series
from goldrm.edits.probes import equal_in_gold, probes

any_series = st.lists(st.integers(0, 100), min_size=1, max_size=20).map(tuple)


def test_probes_by_hand():
    """90 95 may go up by 5, and down; the whole list but for the terms off by k."""
    assert [probe for probe in probes((90, 95), 5, 100) if probe.kind != "one_off"] == [
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
@given(st.integers(0, 99), st.integers(1, 9), st.integers(5, 14))
def test_probes_are_all_there_are_and_gold_falls_with_their_size(
    start: int, difference: int, terms: int
):
    exact = tuple(range(start, min(start + terms * difference, 101), difference))
    edits = probes(exact, difference, 100)
    more_than_one = len(exact) - 1
    expected = Counter(
        one_off=sum(min(20, term) + min(20, 100 - term) for term in exact),
        swapped=more_than_one,
        dropped=len(exact) if more_than_one else 0,
        added=more_than_one,
        truncated=more_than_one,
        extended=min(3, (100 - exact[-1]) // difference),
        shifted=min(5, exact[0]) + min(5, 100 - exact[-1]),
        constant=min(1, more_than_one),
    )
    assert Counter(probe.kind for probe in edits) == +expected
    assert len({(probe.kind, probe.series) for probe in edits}) == len(edits)
    by_size: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [7.0])
    for probe in sorted(edits, key=lambda probe: abs(probe.size)):
        assert all(0 <= term <= 100 for term in probe.series)
        gold = notebooks_gold_reward(exact, probe.series)
        position = None if probe.kind in ("truncated", "extended") else probe.position
        by_size[probe.kind, position, probe.size > 0].append(gold)
        if probe.kind == "one_off":
            assert gold == pytest.approx(1 + 6 / (1 + 0.1 * sqrt(abs(probe.size))))
            assert exact[probe.position] + probe.size == probe.series[probe.position]
    for golds in by_size.values():
        assert all(larger < smaller for smaller, larger in pairwise(golds))


@settings(deadline=None)
@given(any_series, any_series, st.integers(0, 3))
def test_equal_in_gold_is_what_the_gold_reward_says(
    exact: Series, completion: Series, repeats: int
):
    for other in (completion, exact + exact[-1:] * repeats):
        is_max = notebooks_gold_reward(exact, other) == 7.0
        assert equal_in_gold(exact, other) == equal_in_gold(other, exact) == is_max

"""The evaluation's probes: exact series with one thing wrong."""

from goldrm.edits.edits import _RULES, KINDS, Kind, Probe, Series, _edits_of_sizes

PROBE_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if _RULES[kind].probed)


def equal_in_gold(exact: Series, completion: Series) -> bool:
    """Whether the gold reward can't tell the two apart, since it pads with the last term."""
    length = max(len(exact), len(completion))
    by_hand = [each + each[-1:] * (length - len(each)) for each in (exact, completion)]
    return by_hand[0] == by_hand[1]


def probes(series: Series, difference: int, max_value: int) -> list[Probe]:
    """Every probe of an exact series: each has a lower gold reward than the series.

    One term off by 1..20 either way at each position; each adjacent pair swapped; each term
    dropped; each term repeated, but for the last, which changes no gold reward; truncated to each
    length; extended by 1..3; shifted by 1..5 either way; constant. What would leave 0..max_value
    is left out. The same completion may stand under two kinds (the last term dropped: truncated).

    Args:
        series: an exact series, at least one term, values in 0..max_value.
        difference: its common difference, at least 1.
        max_value: largest value in a probe.
    """
    return [
        probe
        for kind in PROBE_KINDS
        for probe in _edits_of_sizes(kind, _RULES[kind].probed, series, difference, max_value)
        if not equal_in_gold(series, probe.completion)
    ]

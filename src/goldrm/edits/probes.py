"""The probes of an exact series: the series with one thing wrong, which must cost reward."""

from goldrm.edits.kinds import Edit, Kind, Series, possible_edits


def _probe_sizes(terms: int) -> dict[Kind, range]:
    """The sizes that the probes of a series with so many terms have, by kind."""
    return {
        "one_off": range(-20, 21),
        "swapped": range(1, 2),
        "dropped": range(1, 2),
        "added": range(1),
        "truncated": range(1, terms),
        "extended": range(1, 4),
        "shifted": range(-5, 6),
        "constant": range(1),
    }


PROBE_KINDS: tuple[Kind, ...] = tuple(_probe_sizes(1))


def equal_in_gold(exact: Series, completion: Series) -> bool:
    """Whether the gold reward can't tell the two apart, since it pads with the last term."""
    length = max(len(exact), len(completion))
    return _padded(exact, length) == _padded(completion, length)


def _padded(series: Series, length: int) -> Series:
    return series + series[-1:] * (length - len(series))


def probes(series: Series, step: int, max_value: int) -> list[Edit]:
    """Every probe of an exact series: each has a lower gold reward than the series.

    One term off by 1..20 either way at each position; each adjacent pair swapped; each term
    dropped; each term repeated, but for the last, which changes no gold reward; truncated to each
    length; extended by 1..3; shifted by 1..5 either way; constant. What would leave 0..max_value
    is left out. The same series may stand under two kinds (the last term dropped: truncated).

    Args:
        series: an exact series, at least one term, values in 0..max_value.
        step: what a term too many is more than the last one, at least 1.
        max_value: largest value in a probe.
    """
    return [
        edit
        for kind, sizes in _probe_sizes(len(series)).items()
        for edit in possible_edits(kind, sizes, series, step, max_value)
        if not equal_in_gold(series, edit.series)
    ]

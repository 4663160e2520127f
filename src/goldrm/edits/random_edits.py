"""Random edits of series, near misses and gross errors."""

from collections.abc import Sequence
from random import Random

from goldrm.edits.edits import _RULES, KINDS, Kind, Series, _in_range, _is_possible

# How often random_edit makes one, two or three edits.
ONE_TWO_THREE = (0.6, 0.3, 0.1)


def _drawn_edit(kind: Kind, series: Series, difference: int, max_value: int, rng: Random) -> Series:
    rule = _RULES[kind]
    sizes = rule.sizes(len(series), max_value)
    size = int(sizes.stop ** rng.random() ** 2)  # of 1..100, half are at most 3
    signed = [k for k in (-size, 0, size) if k in sizes]
    if not signed:
        return series
    k = rng.choice(signed)
    positions = rule.positions(len(series), k)
    if not positions:
        return series
    edited = rule.apply(series, difference, k, rng.choice(positions))
    return edited if _in_range(edited, max_value) else series


def random_edit(
    series: Series, difference: int, max_value: int, rng: Random, kinds: Sequence[Kind] = KINDS
) -> Series:
    """A series edited at random: mostly once, sometimes two or three times over.

    Both near misses and gross errors occur: small changes are likelier, but none is left out. Each
    edit adds at most `FURTHER_STEPS` terms. The gold reward may still be the same (the last term
    repeated).

    Args:
        series: an exact series or a sampled completion, values in 0..max_value.
        difference: the common difference asked for.
        max_value: largest value in the result.
        rng: what is drawn from.
        kinds: the kinds of edit to draw from. A single edit of an exact series by a kind outside
            `PROBE_KINDS` is never one of its probes; several in a row may by chance be.

    Returns:
        Another series than `series`, not empty.

    Raises:
        ValueError: when none of `kinds` can change `series`; see `possible_kinds`.
    """
    if not any(_is_possible(kind, series, difference, max_value) for kind in kinds):
        raise ValueError(f"none of {', '.join(kinds) or 'no kinds'} can change {series}")
    edited = series
    while edited == series:
        for _ in range(rng.choices((1, 2, 3), ONE_TWO_THREE)[0]):
            edited = _drawn_edit(rng.choice(kinds), edited, difference, max_value, rng)
    return edited

"""Random edits of series, near misses and gross errors."""

from collections.abc import Sequence
from random import Random

from goldrm.edits.kinds import EDITS_OF_KIND, KINDS, Kind, Series, in_range, is_possible, sizes_of

# How many edits random_edit makes in a row, and how often.
NUM_EDITS_SHARES = {1: 0.6, 2: 0.3, 3: 0.1}


def random_edit(
    series: Series, step: int, max_value: int, rng: Random, kinds: Sequence[Kind] = KINDS
) -> Series:
    """A series edited at random: mostly once, sometimes two or three times over.

    Both near misses and gross errors occur: small changes are likelier, but none is left out. Each
    edit adds at most `MAX_ADDED_TERMS` terms. The gold reward may still be the same (the last term
    repeated).

    Args:
        series: an exact series or a sampled completion, values in 0..max_value.
        step: what a term too many is more than the last one.
        max_value: largest value in the result.
        rng: what is drawn from.
        kinds: the kinds of edit to draw from. A single edit of an exact series by a kind outside
            `PROBE_KINDS` is never one of its probes; several in a row may by chance be.

    Returns:
        Another series than `series`, not empty.

    Raises:
        ValueError: when none of `kinds` can change `series`; see `possible_kinds`.
    """
    if not any(is_possible(kind, series, step, max_value) for kind in kinds):
        raise ValueError(f"none of {', '.join(kinds) or 'no kinds'} can change {series}")
    edited = series
    while edited == series:
        for _ in range(rng.choices(list(NUM_EDITS_SHARES), list(NUM_EDITS_SHARES.values()))[0]):
            edited = _edited_once(edited, step, max_value, rng, rng.choice(kinds))
    return edited


def _edited_once(series: Series, step: int, max_value: int, rng: Random, kind: Kind) -> Series:
    """The series after a random edit; the series itself where what was drawn isn't possible."""
    size = _random_size(sizes_of(kind, len(series), max_value), rng)
    edits = [] if size is None else list(EDITS_OF_KIND[kind](series, step, size))
    edited = rng.choice(edits).series if edits else series
    return edited if in_range(edited, max_value) else series


def _random_size(sizes: range, rng: Random) -> int | None:
    """One of `sizes`, rather a small one; none where there are none."""
    magnitude = int(sizes.stop ** rng.random() ** 2)  # of 1..100, half are at most 3
    drawn = [size for size in (-magnitude, 0, magnitude) if size in sizes]
    return rng.choice(drawn) if drawn else None

"""Gao's forms of over-optimisation, fitted to what a reward gained on the way.

A policy's gold reward gains d (α - β log d), that of the best of n d (α - β d), where d is the root
of the KL divergence from where it started, in nats.

Source: Gao, Schulman and Hilton, Scaling Laws for Reward Model Overoptimization (2210.10760).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Way = Literal["policy", "best_of_n"]
NAMES = [f"{name}{end}" for name in ("alpha", "beta") for end in ("", "_low", "_high")]
RESAMPLES = 2000  # behind each interval
CONFIDENCE = 0.95  # of the intervals


def _terms(way: Way, distance: Floats) -> Floats:
    """What α and β are multiplied with, a column each."""
    slowing = np.log(distance) if way == "policy" else distance
    return np.column_stack([distance, -distance * slowing])


def gain(way: Way, alpha: float, beta: float, distance: Floats) -> Floats:
    """What a form says the gold reward gains.

    Args:
        way: whose form.
        alpha: its first coefficient.
        beta: its second.
        distance: roots of KL divergences, above 0.
    """
    return _terms(way, distance) @ np.array([alpha, beta])


def fit(way: Way, runs: Sequence[tuple[Floats, Floats]], seed: int = 0) -> Mapping[str, float]:
    """The coefficients of least squares over all runs.

    Their intervals are percentiles of resamples, in which first runs are drawn and then, of each of
    these, its looks. So what a look differs by counts twice, and of three runs the intervals are
    nevertheless rough; of one they only say how well its looks fit.

    Args:
        way: whose form.
        runs: of each seed the distances and the gains; where a distance is 0 nothing is gained.
        seed: of the resamples.

    Returns:
        `NAMES`; all NaN where fewer than two distances differ.
    """
    moved = [(d[d > 0], gained[d > 0]) for d, gained in runs]
    moved = [(_terms(way, d), gained) for d, gained in moved if len(d)]
    coefficients = _least_squares(moved)
    if coefficients is None:
        return dict.fromkeys(NAMES, np.nan)
    rng = np.random.default_rng(seed)
    resampled = [_least_squares(_resample(moved, rng)) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    fitted = np.array([each for each in resampled if each is not None])
    low, high = np.quantile(fitted, [tail, 1 - tail], axis=0)
    return dict(zip(NAMES, np.stack([coefficients, low, high], axis=1).ravel(), strict=True))


def _least_squares(runs: Sequence[tuple[Floats, Floats]]) -> Floats | None:
    """α and β of runs' terms and gains; None where these leave them open."""
    if not runs:
        return None
    terms, gained = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    coefficients, _, rank, _ = np.linalg.lstsq(terms, gained)
    return coefficients if rank == 2 else None


def _resample(
    runs: Sequence[tuple[Floats, Floats]], rng: np.random.Generator
) -> list[tuple[Floats, Floats]]:
    drawn = [runs[number] for number in rng.integers(len(runs), size=len(runs))]
    looks = [rng.integers(len(gained), size=len(gained)) for _, gained in drawn]
    return [(terms[of], gained[of]) for (terms, gained), of in zip(drawn, looks, strict=True)]

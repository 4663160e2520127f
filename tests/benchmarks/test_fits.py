"""Gao's forms: coefficients that are known, intervals by counting, another library's fit."""

import math

import numpy as np
import pytest
from fits import NAMES, Way, fit, gain
from scipy.optimize import curve_fit

WAYS: list[Way] = ["policy", "best_of_n"]
DISTANCE = np.array([0.0, 0.2, 0.5, 0.9, 1.6])


def test_gains_by_hand():
    """At d = e a policy gains e (α - β); at 2 the best of n gain 2 (α - 2 β)."""
    assert gain("policy", 3.0, 1.0, np.array([math.e])) == pytest.approx([2 * math.e])
    assert gain("best_of_n", 3.0, 1.0, np.array([2.0])) == pytest.approx([2.0])


@pytest.mark.parametrize("way", WAYS)
def test_known_coefficients_are_found(way: Way):
    """Whatever is drawn of gains without noise, it gives their coefficients; 0 says nothing."""
    gained = np.append(0.0, gain(way, 0.7, 0.4, DISTANCE[1:]))
    fitted = fit(way, [(DISTANCE, gained)] * 3)
    assert list(fitted) == NAMES
    assert list(fitted.values()) == pytest.approx([0.7] * 3 + [0.4] * 3)


@pytest.mark.parametrize("way", WAYS)
def test_of_noisy_gains_as_scipy_fits_them(way: Way):
    """Of independent noise resamples have its variance nearly twice.

    Once as 20 runs are drawn (19/20 of it), once as eight looks of each are (7/8).
    """
    rng = np.random.default_rng(5)
    distance = rng.uniform(0.1, 2, size=(20, 8))
    gained = gain(way, 0.7, 0.4, distance.ravel()) + rng.normal(0, 0.05, 160)
    fitted = fit(way, list(zip(distance, gained.reshape(20, 8), strict=True)))
    expected, covariance = curve_fit(
        lambda d, alpha, beta: gain(way, alpha, beta, d), distance.ravel(), gained
    )
    for name, value, error in zip(
        ["alpha", "beta"], expected, np.sqrt(np.diag(covariance)), strict=True
    ):
        assert fitted[name] == pytest.approx(value, rel=1e-6)
        width = fitted[f"{name}_high"] - fitted[f"{name}_low"]
        assert width == pytest.approx(2 * 1.96 * error * (19 / 20 + 7 / 8) ** 0.5, rel=0.15)


def test_runs_are_drawn_whole():
    """One draw in 27 has the first of three runs only: more than lie outside of an interval."""
    runs = [(DISTANCE[1:], gain("policy", alpha, 0.4, DISTANCE[1:])) for alpha in (1.0, 2.0, 3.0)]
    fitted = fit("policy", runs)
    assert fitted["alpha"] == pytest.approx(2)
    assert fitted["alpha_low"] <= 1 + 1e-9
    assert fitted["alpha_high"] >= 3 - 1e-9


@pytest.mark.parametrize("distances", [[], [0.0, 0.0], [0.0, 0.5, 0.5]])
def test_too_few_distances_leave_it_open(distances: list[float]):
    """Two coefficients can't be told from one distance."""
    fitted = fit("policy", [(np.array(distances), np.ones(len(distances)))])
    assert list(fitted) == NAMES
    assert all(map(math.isnan, fitted.values()))

"""How good sigmoid(chosen reward - rejected reward) is as the probability of a preference.

`difference` is each pair's chosen less rejected reward, in nats, and
`target` the probability, 0 to 1, that it is held against: 1 as a hard label, since chosen is the
better one, or `preference_probability` of the gold rewards' difference as a soft one. A perfect
regressor matches the soft targets; hard labels call it under-confident.
"""

import numpy as np
import pandas as pd
import scipy

from goldrm.statistics.metrics import Floats, Ints

TEMPERATURES = (1e-3, 1e3)


def preference_probability(difference: Floats) -> Floats:
    """Probability, 0 to 1, that the first of two is preferred, given its reward's lead.

    Source: Bradley and Terry (1952), with rewards as the logarithms of strengths.
    """
    return scipy.special.expit(difference)


def log_loss(difference: Floats, target: Floats) -> float:
    """Mean cross-entropy of target and probability, in nats, 0 up; ln 2 for a coin."""
    # logaddexp(0, -x) is -log sigmoid(x), finite where the sigmoid underflows.
    return float((np.logaddexp(0, -difference) + (1 - target) * difference).mean())


def excess_log_loss(difference: Floats, gold_difference: Floats) -> float:
    """What `log_loss` exceeds the soft targets' own entropy by, in nats, 0 up.

    It is the mean Kullback-Leibler divergence of the probabilities from the soft targets.

    Args:
        difference: of each pair's rewards.
        gold_difference: of each pair's gold rewards.
    """
    target = preference_probability(gold_difference)
    return log_loss(difference, target) - log_loss(gold_difference, target)


def brier(difference: Floats, target: Floats) -> float:
    """Mean of (probability - target)², 0 to 1; 1/4 for a coin held against hard labels."""
    return float(((preference_probability(difference) - target) ** 2).mean())


def expected_calibration_error(difference: Floats, target: Floats, bins: int) -> float:
    """Mean over pairs of |mean confidence - mean target| of the pair's bin, 0 to 1.

    A model isn't told which of the two is chosen, so a pair is judged from the side that it
    prefers: its confidence is max(p, 1 - p), and the target is that of the preferred side: under
    hard labels 1 where that is the chosen one and 0 where not. A tie has the mean of both sides,
    1/2. That is what counting every pair in both orders comes to.

    Args:
        difference: of each pair's rewards.
        target: of each pair.
        bins: how many of equal width part the confidences 1/2 to 1. Few pairs in many bins show
            an error even where there is none.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), equation 3.
    """
    confidence, preferred_target, bin_of_pair = _from_preferred_side(difference, target, bins)
    gaps = np.bincount(bin_of_pair, weights=confidence - preferred_target)
    return float(np.abs(gaps).sum() / len(difference))


def reliability(difference: Floats, target: Floats, bins: int) -> pd.DataFrame:
    """The bins of `expected_calibration_error`, for a diagram.

    Returns:
        low, high (the bin's edges), n, mean_confidence, mean_target; a row for each bin that
        isn't empty. A bin holds its lower edge, and the last also its upper.
    """
    confidence, preferred_target, bin_of_pair = _from_preferred_side(difference, target, bins)
    edges = np.linspace(0.5, 1, bins + 1)
    count = np.bincount(bin_of_pair, minlength=bins)
    occupied = np.flatnonzero(count)
    sums = {
        name: np.bincount(bin_of_pair, weights=values, minlength=bins)[occupied]
        for name, values in (("mean_confidence", confidence), ("mean_target", preferred_target))
    }
    means = {name: total / count[occupied] for name, total in sums.items()}
    bounds = {"low": edges[occupied], "high": edges[occupied + 1], "n": count[occupied]}
    return pd.DataFrame(bounds | means)


def _from_preferred_side(
    difference: Floats, target: Floats, bins: int
) -> tuple[Floats, Floats, Ints]:
    """Each pair's confidence, its target seen from the preferred side, and its bin's number."""
    confidence = preference_probability(np.abs(difference))
    preferred_target = 0.5 + np.sign(difference) * (target - 0.5)
    bin_of_pair = np.floor((confidence - 0.5) * 2 * bins).astype(np.int64)
    return confidence, preferred_target, np.minimum(bin_of_pair, bins - 1)


def fit_temperature(difference: Floats, target: Floats) -> float:
    """The temperature that minimises `log_loss` of difference / temperature.

    Where the loss has no minimum the nearer end of `TEMPERATURES` comes back: the lower where
    every pair is ranked right (against hard labels the loss then falls until certainty), the
    upper where the rewards rank no better than a coin. Where all pairs are ties every temperature
    gives the same loss, and it is 1.

    Args:
        difference: of validation pairs' rewards.
        target: of the same pairs.

    Returns:
        Within `TEMPERATURES`; above 1 for an over-confident model.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), 4.2.
    """
    if not difference.any():
        return 1.0

    def loss(log_temperature: float) -> float:
        return log_loss(difference / np.exp(log_temperature), target)

    # Convex in 1 / temperature, hence one valley in its logarithm.
    low, high = np.log(TEMPERATURES)
    optimum = scipy.optimize.minimize_scalar(loss, bounds=(low, high), method="bounded").x
    best = min((low, high, optimum), key=loss)
    return float(np.clip(np.exp(best), *TEMPERATURES))

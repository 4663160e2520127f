"""Intervals by resampling whole clusters, since rows of one aren't independent."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from goldrm.evaluation.params import EvaluateParams
from goldrm.evaluation.statistics import metrics
from goldrm.evaluation.statistics.metrics import Floats, Ints


class Bootstrap:
    """Intervals by one choice of resamples and confidence, always from the same seed."""

    def __init__(self, params: EvaluateParams, seed: int) -> None:
        """`seed` is the run's."""
        self._options = (params.bootstrap_samples, params.confidence)
        self._seed = seed

    @property
    def options(self) -> tuple[int, float, np.random.Generator]:
        """Resamples, confidence and a fresh generator, as the functions of `metrics` take them."""
        return (*self._options, np.random.default_rng(self._seed))

    def share(self, name: str, values: Floats, clusters: npt.NDArray[Any]) -> dict[str, Any]:
        """Like `mean`, of values from 0 to 1."""
        return self._row(name, values, clusters, metrics.bootstrap_share_interval)

    def mean(self, name: str, values: Floats, clusters: npt.NDArray[Any]) -> dict[str, Any]:
        """A mean and its interval, as a row of `statistics`; all NaN where there are no values."""
        return self._row(name, values, clusters, metrics.bootstrap_mean_interval)

    def _row(
        self,
        name: str,
        values: Floats,
        clusters: npt.NDArray[Any],
        interval: Callable[..., tuple[float, float]],
    ) -> dict[str, Any]:
        if not len(values):
            return {"statistic": name, "value": np.nan, "low": np.nan, "high": np.nan}
        low, high = interval(values, clusters, *self.options)
        return {"statistic": name, "value": float(values.mean()), "low": low, "high": high}

    def of(
        self, name: str, statistic: Callable[[Ints], float], clusters: npt.NDArray[Any]
    ) -> dict[str, Any]:
        """A statistic of rows and its interval, as a row of `statistics`."""
        low, high = metrics.bootstrap_interval(statistic, clusters, *self.options)
        value = statistic(np.arange(len(clusters)))
        return {"statistic": name, "value": value, "low": low, "high": high}


def bootstrap_interval(
    statistic: Callable[[Ints], float],
    clusters: npt.NDArray[Any],
    samples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap that resamples whole clusters, since rows of one aren't independent.

    Args:
        statistic: of the rows with the given numbers, which may repeat. A statistic that groups
            rows would take a repeated group for one: of those, resample each group's value.
        clusters: each row's cluster.
        samples: how many resamples.
        confidence: of the interval, 0 to 1.
        rng: where the resamples come from.

    Returns:
        Lower and upper end.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8.
    """
    cluster_of_row, sizes = _numbered(clusters)
    rows = np.arange(len(cluster_of_row))
    values = [
        statistic(np.repeat(rows, counts[cluster_of_row]))
        for counts in _cluster_counts(len(sizes), samples, rng)
    ]
    return _percentiles(values, confidence)


def bootstrap_mean_interval(
    values: Floats,
    clusters: npt.NDArray[Any],
    samples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """`bootstrap_interval` of the mean of one value a row, from the same resamples, but faster."""
    cluster_of_row, sizes = _numbered(clusters)
    sums = np.bincount(cluster_of_row, weights=values)
    means = [
        float(counts @ sums / (counts @ sizes))
        for counts in _cluster_counts(len(sizes), samples, rng)
    ]
    return _percentiles(means, confidence)


def bootstrap_share_interval(
    values: Floats,
    clusters: npt.NDArray[Any],
    samples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """`bootstrap_mean_interval` of values from 0 to 1, such as right or wrong.

    Where all are 0, or all are 1, so is every resample, and the interval would have no width. Then
    it is Clopper and Pearson's exact one, each cluster counting as one trial.
    """
    if np.ptp(values) > 0 or values[0] not in (0, 1):
        return bootstrap_mean_interval(values, clusters, samples, confidence, rng)
    trials = len(np.unique(clusters))
    exact = stats.binomtest(trials * int(values[0]), trials).proportion_ci(confidence, "exact")
    return float(exact.low), float(exact.high)


def _numbered(clusters: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Each row's cluster as a number from 0, and each cluster's number of rows."""
    _, cluster_of_row, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return cluster_of_row, sizes


def _cluster_counts(clusters: int, samples: int, rng: np.random.Generator) -> Iterator[Ints]:
    """How often each cluster is in each resample, of as many clusters as there are."""
    for _ in range(samples):
        yield np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)


def _percentiles(values: list[float], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)

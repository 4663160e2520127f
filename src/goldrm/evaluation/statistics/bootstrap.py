"""Intervals by resampling whole clusters, since the rows of a cluster aren't independent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy import stats

from goldrm.evaluation.statistics.metrics import Floats, Ints

RESAMPLED_NUMBERS = 1_000_000  # that are in memory at once: rows or clusters of so many resamples
# Of how often each row is in each resample: the statistic of each resample.
Statistic = Callable[[Float[np.ndarray, "resamples rows"]], Float[np.ndarray, " resamples"]]


class Estimate(NamedTuple):
    """A statistic with its interval, from `low` to `high`, and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals, each from resamples of its own that begin with the same seed.

    So equal rows give equal intervals, whatever else is estimated before.

    Attributes:
        samples: how many resamples, of as many clusters as there are, with replacement.
        confidence: of the intervals, 0 to 1.
        seed: of the resamples.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8.
    """

    samples: int
    confidence: float
    seed: int

    def mean(self, values: Floats, clusters: npt.NDArray[Any]) -> Estimate:
        """The mean of one value a row; NaN where there are no rows.

        Args:
            values: one a row.
            clusters: each row's cluster.
        """
        if not len(values):
            return Estimate(np.nan, np.nan, np.nan, 0)
        cluster_of_row, sizes = _numbered(clusters)
        sums = np.bincount(cluster_of_row, weights=values)
        return self._estimate(_ratio_of_sums, (sums, sizes), float(values.mean()), len(values))

    def share(self, values: Floats, clusters: npt.NDArray[Any]) -> Estimate:
        """Like `mean`, of values from 0 to 1, such as wrong or right.

        Where all are 0, or all are 1, so is every resample, and the interval would have no width.
        Then it is Clopper and Pearson's exact one, each cluster counting as one trial.
        """
        if not len(values) or np.ptp(values) > 0 or values[0] not in (0, 1):
            return self.mean(values, clusters)
        trials = len(np.unique(clusters))
        exact = stats.binomtest(trials * int(values[0]), trials)
        interval = exact.proportion_ci(self.confidence, "exact")
        return Estimate(float(values[0]), float(interval.low), float(interval.high), len(values))

    def of(self, statistic: Statistic, clusters: npt.NDArray[Any]) -> Estimate:
        """Any statistic of rows.

        Args:
            statistic: of how often each row is in each resample. A statistic that groups rows
                would take a repeated group for one: take the `mean` of the groups' values.
            clusters: each row's cluster.
        """
        cluster_of_row, sizes = _numbered(clusters)

        def of_drawn(drawn: Ints, axis: int = -1) -> Floats:
            del axis  # the last one, by what scipy.stats.bootstrap says
            counts = np.stack([np.bincount(row, minlength=len(sizes)) for row in drawn])
            return statistic(counts[:, cluster_of_row].astype(np.float64))

        rows = len(cluster_of_row)
        value = float(statistic(np.ones((1, rows)))[0])
        return self._estimate(of_drawn, (np.arange(len(sizes)),), value, rows)

    def _estimate(
        self, statistic: Callable[..., Floats], data: tuple[Any, ...], value: float, rows: int
    ) -> Estimate:
        """A statistic and its interval.

        Args:
            statistic: of each of `data`, resampled together along the last axis.
            data: arrays with a number for each cluster.
            value: the statistic itself.
            rows: how many there are behind it.
        """
        if len(data[0]) == 1:  # one cluster, of which every resample is the same
            return Estimate(value, value, value, rows)
        interval = stats.bootstrap(
            data,
            statistic,
            n_resamples=self.samples,
            batch=max(RESAMPLED_NUMBERS // rows, 1),
            vectorized=True,
            paired=len(data) > 1,
            confidence_level=self.confidence,
            method="percentile",
            rng=np.random.default_rng(self.seed),
        ).confidence_interval
        return Estimate(value, float(interval.low), float(interval.high), rows)


def one_by_one(function: Callable[..., float], *columns: Floats) -> Statistic:
    """A function of columns of rows as a statistic of resamples, for `Bootstrap.of`.

    Args:
        function: of as many arrays as there are columns, all of the same rows.
        columns: one number a row in each.
    """

    def statistic(counts: Floats) -> Floats:
        return np.array(
            [
                function(*(np.repeat(column, times.astype(np.int64)) for column in columns))
                for times in counts
            ]
        )

    return statistic


def _numbered(clusters: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Each row's cluster as a number from 0, and each cluster's number of rows."""
    _, cluster_of_row, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return cluster_of_row, sizes


def _ratio_of_sums(sums: Floats, sizes: Ints, axis: int) -> Floats:
    return sums.sum(axis) / sizes.sum(axis)

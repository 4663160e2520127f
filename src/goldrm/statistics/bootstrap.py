"""Intervals by resampling whole clusters, since the rows of a cluster aren't independent."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from jaxtyping import Int

from goldrm.statistics.metrics import ClusterStatistic, Floats
from goldrm.statistics.shares import NOTHING, Estimate

BATCH = 200  # resamples in memory at once


@dataclass(frozen=True)
class Bootstrap:
    """BCa intervals, each from resamples of its own that begin with the same seed.

    So equal rows give equal intervals, whatever else is estimated before.

    Attributes:
        samples: how many resamples, of as many clusters as there are, with replacement.
        confidence: of the intervals, 0 to 1.
        seed: of the resamples.

    Source: Efron, Better bootstrap confidence intervals (1987); of clusters, Davison and Hinkley,
        Bootstrap Methods and their Application (1997), 3.8.
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
            return NOTHING
        return self.of_sums(np.divide, clusters, values, np.ones(len(values)))

    def of_sums(
        self, function: Callable[..., Floats], clusters: npt.NDArray[Any], *columns: Floats
    ) -> Estimate:
        """A function of columns' sums, such as a mean.

        Args:
            function: of the sum of each column, one number a resample each.
            clusters: each row's cluster.
            columns: one number a row in each.
        """
        _, cluster_of_row = np.unique(clusters, return_inverse=True)
        sums = np.column_stack([np.bincount(cluster_of_row, column) for column in columns])

        def statistic(counts: Floats) -> Floats:
            return function(*np.moveaxis(counts @ sums, -1, 0))

        return self.of(statistic, clusters)

    def of(self, statistic: ClusterStatistic, clusters: npt.NDArray[Any]) -> Estimate:
        """Any statistic of rows.

        Args:
            statistic: of how often each cluster is in each resample. A statistic that groups rows
                would take a repeated group for one: take the `mean` of the groups' values.
            clusters: each row's cluster.
        """
        rows, number = len(clusters), len(np.unique(clusters))

        def of_drawn(drawn: Int[np.ndarray, "*resamples drawn"], axis: int = -1) -> Floats:
            counts = np.apply_along_axis(np.bincount, axis, drawn, None, number)
            return statistic(counts.reshape(-1, number).astype(float)).reshape(counts.shape[:-1])

        value = float(of_drawn(np.arange(number)))
        if number == 1:  # of which every resample is the same
            return Estimate(value, value, value, rows, number)
        return Estimate(value, *self._interval(of_drawn, number), rows, number)

    def _interval(self, of_drawn: Callable[..., Floats], clusters: int) -> tuple[float, float]:
        """The interval of a statistic of the numbers of the clusters that are drawn."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # about what isn't defined: see below
            result = scipy.stats.bootstrap(
                (np.arange(clusters),),
                of_drawn,
                n_resamples=self.samples,
                batch=BATCH,
                vectorized=True,
                confidence_level=self.confidence,
                method="BCa",
                rng=np.random.default_rng(self.seed),
            )
        low, high = result.confidence_interval
        if np.isnan(low + high):  # where a cluster more or less changes nothing: the percentiles
            tail = (1 - self.confidence) / 2
            low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail])
        return float(low), float(high)

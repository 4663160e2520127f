"""Statistics within groups of rows and by group: prompts, labels, bins of the gold reward."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from goldrm.statistics.metrics import Floats, Ints
from goldrm.statistics.shares import Estimate, share


class GroupValues(NamedTuple):
    """One value a group.

    Attributes:
        values: one a group, in the groups' sorted order.
        first_rows: the number of each group's first row: `clusters[first_rows]` are the clusters
            to resample `values` by, where `clusters` has one a row.
    """

    values: Floats
    first_rows: Ints


def within_groups(
    statistic: Callable[..., Any], groups: npt.NDArray[Any], *columns: Floats
) -> GroupValues:
    """A statistic of each group's rows, such as the standard deviation of a prompt's rewards.

    Args:
        statistic: of a group's numbers of each column.
        groups: each row's group.
        columns: one number a row in each.
    """
    rows_by_group = _rows_by_group(groups)
    return GroupValues(
        np.array(
            [statistic(*(column[rows] for column in columns)) for rows in rows_by_group],
            dtype=np.float64,
        ),
        np.array([rows[0] for rows in rows_by_group], dtype=np.int64),
    )


def correlation_within_groups(
    correlation: Callable[[Floats, Floats], Any],
    reward: Floats,
    gold_reward: Floats,
    groups: npt.NDArray[Any],
) -> GroupValues:
    """Rank correlation of reward and gold reward within each group that has an order to find.

    Groups whose gold rewards are all equal are left out: no reward could rank them. A group whose
    gold rewards differ but whose rewards are all equal counts as 0: nothing was ranked.

    Args:
        correlation: `metrics.spearman` or `metrics.kendall`, which are 0 for a constant.
        reward: each row's.
        gold_reward: each row's.
        groups: each row's group, such as its prompt.
    """
    _, group_of_row = np.unique(groups, return_inverse=True)
    lowest = np.full(group_of_row.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, group_of_row, gold_reward)
    above = np.bincount(group_of_row, weights=gold_reward > lowest[group_of_row]) > 0
    kept = np.flatnonzero(above[group_of_row])
    values, first_rows = within_groups(correlation, groups[kept], reward[kept], gold_reward[kept])
    return GroupValues(values, kept[first_rows])


def share_by_label(
    values: Floats, labels: Any, clusters: npt.NDArray[Any], confidence: float
) -> pd.DataFrame:
    """`share` of the rows with each label: of `metrics.pairs_right` it is the accuracy by label.

    Args:
        values: one a row, from 0 to 1.
        labels: one a row, numbers, strings or a pandas Categorical; rows whose label is missing
            are left out.
        clusters: each row's cluster.
        confidence: of the intervals, 0 to 1.

    Returns:
        label, value, low, high, n (rows), families (clusters that have the label); a row for each
        label that occurs, in sorted order or in the categories' own.
    """
    table = pd.DataFrame({"value": values, "label": labels, "cluster": clusters})
    rows = [
        {"label": label}
        | share(part["value"].to_numpy(), part["cluster"].to_numpy(), confidence)._asdict()
        for label, part in table.groupby("label", observed=True)
    ]
    return pd.DataFrame(rows, columns=["label", *Estimate._fields])


def calibration_by_gold_reward(reward: Floats, gold_reward: Floats, edges: Floats) -> pd.DataFrame:
    """What is predicted for the completions of each bin of gold rewards: a reliability diagram's.

    Args:
        reward: each completion's.
        gold_reward: each completion's, none outside the edges.
        edges: of the bins, ascending. A bin holds its lower edge, and the last also its upper.

    Returns:
        low, high (the bin's edges), n, mean_gold_reward, mean_reward, std_reward (of the
        population, hence 0 for one completion); a row for each bin that isn't empty.

    Raises:
        ValueError: when a gold reward lies outside the edges.
    """
    if gold_reward.min() < edges[0] or gold_reward.max() > edges[-1]:
        raise ValueError(
            f"gold rewards {gold_reward.min()} to {gold_reward.max()} lie outside the bins' "
            f"edges {edges[0]} to {edges[-1]}"
        )
    bins = np.searchsorted(edges[:-1], gold_reward, side="right") - 1
    occupied = np.unique(bins)
    parts = [(reward[bins == i], gold_reward[bins == i]) for i in occupied]
    return pd.DataFrame(
        {
            "low": edges[occupied],
            "high": edges[occupied + 1],
            "n": [len(mine) for mine, _ in parts],
            "mean_gold_reward": [gold.mean() for _, gold in parts],
            "mean_reward": [mine.mean() for mine, _ in parts],
            "std_reward": [mine.std() for mine, _ in parts],
        }
    )


def _rows_by_group(groups: npt.NDArray[Any]) -> list[Ints]:
    """The numbers of each group's rows, ascending; groups in sorted order."""
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    by_group = np.argsort(group_of_row, kind="stable")
    return np.split(by_group, np.cumsum(sizes)[:-1]) if len(sizes) else []

"""Statistics within and by group against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from goldrm.statistics import groups, metrics
from goldrm.statistics.shares import share


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


PROMPTS = np.array(["b", "a", "b", "c", "a", "b", "d", "d", "c", "e"])
GOLD_REWARD = floats(1, 5, 2, 4, 7, 3, 2, 6, 4, 7)
REWARD = floats(1, 9, 3, 5, 8, 2, 5, 5, 6, 9)


def test_statistic_of_each_group_in_sorted_order():
    found = groups.within_groups(np.std, PROMPTS, REWARD)
    expected = [0.5, (2 / 3) ** 0.5, 0.5, 0, 0]  # of 9 8, 1 3 2, 5 6, 5 5 and 9
    assert found.values == pytest.approx(expected)
    assert found.first_rows.tolist() == [1, 0, 3, 6, 9]


@pytest.mark.parametrize(
    ("correlation", "of_b"), [(metrics.spearman, 0.5), (metrics.kendall, 1 / 3)]
)
def test_correlation_within_groups(correlation, of_b: float):
    """c and e have one gold reward each, so nothing to rank; d's rewards rank nothing."""
    found = groups.correlation_within_groups(correlation, REWARD, GOLD_REWARD, PROMPTS)
    assert found.values == pytest.approx([-1, of_b, 0])
    assert PROMPTS[found.first_rows].tolist() == ["a", "b", "d"]


def test_no_group_that_could_be_ranked():
    found = groups.correlation_within_groups(
        metrics.spearman, floats(1, 2), floats(3, 3), np.array([0, 0])
    )
    assert found.values.shape == found.first_rows.shape == (0,)


VALUES, CLUSTERS = floats(1, 0, 0.5, 1, 0, 1), np.array([0, 1, 1, 2, 3, 3])


def share_by_label(labels) -> pd.DataFrame:
    return groups.share_by_label(VALUES, labels, CLUSTERS, 0.8)


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (np.array([3, 3, 3, 3, 20, 20]), [3, 20]),
        (["wrong step"] * 4 + ["too many"] * 2, ["too many", "wrong step"]),
        (pd.Categorical(["low"] * 4 + ["high"] * 2, ["low", "none", "high"]), ["low", "high"]),
    ],
)
def test_share_by_label(labels, order: list):
    table = share_by_label(labels)
    assert table["label"].tolist() == order
    first, second = (table.set_index("label").loc[labels[row]] for row in (0, 5))
    for found, rows in ((first, slice(4)), (second, slice(4, 6))):
        expected = share(VALUES[rows], CLUSTERS[rows], 0.8)._asdict()
        assert found[list(expected)].to_dict() == expected
    assert (first["n"], first["families"], first["value"]) == (4, 3, 2.5 / 4)


def test_rows_without_a_label_are_left_out():
    table = share_by_label(["x", None, "x", None, None, None])
    assert table[["label", "n", "value"]].to_numpy().tolist() == [["x", 2, 0.75]]


def test_calibration_by_gold_reward():
    gold_reward, reward = floats(1, 2, 4, 6, 7, 2.5), floats(2, 1, 9, 5, 6.5, 3)
    table = groups.calibration_by_gold_reward(reward, gold_reward, floats(1, 2, 3, 4, 5, 7))
    assert list(table) == [*("low", "high", "n", "mean_gold_reward", "mean_reward", "std_reward")]
    assert table.to_numpy() == pytest.approx(
        np.array(
            [
                [1, 2, 1, 1, 2, 0],
                [2, 3, 2, 2.25, 2, 1],
                [4, 5, 1, 4, 9, 0],
                [5, 7, 2, 6.5, 5.75, 0.75],
            ]
        )
    )


@pytest.mark.parametrize("edges", [floats(1, 2, 6.9), floats(1.1, 7)])
def test_gold_rewards_outside_the_bins(edges: metrics.Floats):
    with pytest.raises(ValueError, match=r"1\.0 to 7\.0 lie outside"):
        groups.calibration_by_gold_reward(floats(1, 2), floats(1, 7), edges)

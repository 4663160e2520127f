"""Statistics within and by group against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from goldrm.evaluation.statistics import groups, metrics
from goldrm.evaluation.statistics.bootstrap import Bootstrap


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


def mean_by_label(labels) -> pd.DataFrame:
    values = floats(1, 0, 0.5, 1, 0, 1)
    clusters = np.array([0, 1, 1, 2, 3, 3])
    return groups.mean_by_label(values, labels, clusters, Bootstrap(400, 0.8, seed=0))


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (np.array([3, 3, 3, 3, 20, 20]), [3, 20]),
        (["wrong step"] * 4 + ["too many"] * 2, ["too many", "wrong step"]),
        (pd.Categorical(["low"] * 4 + ["high"] * 2, ["low", "none", "high"]), ["low", "high"]),
    ],
)
def test_mean_by_label(labels, order: list):
    table = mean_by_label(labels)
    assert table["label"].tolist() == order
    first, second = (table.set_index("label").loc[labels[row]] for row in (0, 5))
    assert (first["n"], first["value"]) == (4, 2.5 / 4)
    # Three clusters with means 1, 1/4 of two rows, and 1: of 27 resamples one is thrice the middle
    # one, 6 hold it twice, with the mean (1 + 2 * 1/2) / 5, and 8 don't hold it.
    assert (first["low"], first["high"]) == pytest.approx((0.4, 1))
    assert second[["value", "low", "high", "n"]].tolist() == [0.5, 0.5, 0.5, 2]


def test_rows_without_a_label_are_left_out():
    table = mean_by_label(["x", None, "x", None, None, None])
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

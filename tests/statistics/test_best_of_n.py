"""Best of n against every subset, one by one."""

from itertools import combinations
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.statistics import best_of_n
from goldrm.statistics.bootstrap import Bootstrap

completions = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=7)


def picks(rows: list[tuple[int, int]], n: int) -> list[tuple[float, float]]:
    """Of every subset of n: the mean gold reward of the top scorers, the share that is as good."""
    found = []
    for subset in combinations(rows, n):
        top = [gold for score, gold in subset if score == max(score for score, _ in subset)]
        best = max(gold for _, gold in subset)
        found.append((np.mean(top), np.mean([gold == best for gold in top])))
    return found


@settings(deadline=None)
@given(completions)
def test_every_subset(rows: list[tuple[int, int]]):
    score, gold_reward = np.array([rows, rows[::-1]], dtype=float).transpose(2, 0, 1)
    for n in range(1, len(rows) + 1):
        expected_gold, expected_best = np.mean(picks(rows, n), axis=0)
        gold = best_of_n.gold_reward_of_pick(score, gold_reward, n)
        best = best_of_n.best_picked(score, gold_reward, n)
        assert gold == pytest.approx([expected_gold] * 2)
        assert best == pytest.approx([expected_best] * 2)


def test_of_64_by_hand():
    """The top one of 64 is among 32 with probability 1/2, the second where it isn't: 32/63."""
    gold_reward = np.zeros((1, 64))
    gold_reward[0, [5, 9]] = 7, 3
    assert best_of_n.gold_reward_of_pick(np.sqrt(gold_reward), gold_reward, 32) == pytest.approx(
        7 / 2 + 3 / 2 * 32 / 63
    )


@pytest.mark.parametrize("n", [0, 4])
@pytest.mark.parametrize("estimate", [best_of_n.gold_reward_of_pick, best_of_n.best_picked])
def test_n_beyond_the_completions(estimate, n: int):
    with pytest.raises(ValueError, match=f"best of {n} can't be picked from 3"):
        estimate(np.zeros((2, 3)), np.zeros((2, 3)), n)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=8))
def test_best_of_four_of_every_four(rows: list[tuple[int, int]]):
    """Each completion against every three worse ones, one by one."""
    wins: list[float] = []
    for score, gold in rows:
        worse = [other for other, other_gold in rows if other_gold < gold]
        shares = [
            (score >= max(three)) / (1 + three.count(score)) for three in combinations(worse, 3)
        ]
        wins += [np.mean(shares)] if shares else []
    expected = np.mean(wins) if wins else np.nan
    found = best_of_n.best_of_four(*np.array(rows, dtype=float).T)
    assert found == pytest.approx(expected, nan_ok=True)


def test_best_of_four_by_hand():
    """The best of five is picked from the three below it and one of 9's rivals beats it: 1 of 4."""
    gold_reward = np.array([7.0, 1, 2, 3, 4])
    assert best_of_n.best_of_four(np.array([8.0, 1, 2, 9, 3]), gold_reward) == pytest.approx(
        ((1 / 4) + 0) / 2
    )
    assert best_of_n.best_of_four(np.zeros(5), gold_reward) == 0.25
    assert best_of_n.best_of_four(gold_reward, gold_reward) == 1


@pytest.mark.parametrize(("n", "expected"), [(1, 0), (2, log(2) - 0.5), (64, log(64) - 63 / 64)])
def test_kl_bound(n: int, expected: float):
    assert best_of_n.kl_bound(n) == pytest.approx(expected)


def test_table_by_hand():
    gold_reward = np.array([[1.0, 4, 7], [2, 2, 5]])
    scores = {"reward": np.array([[3.0, 1, 2], [1, 2, 3]])}
    table = best_of_n.best_of_n_table(
        scores, gold_reward, [1, 2, 3], np.array([0, 0]), Bootstrap(100, 0.9, seed=0)
    ).set_index(["model", "n"])
    # Best of 2: the reward picks 1, 1, 7 and 2, 5, 5; the oracle 4, 7, 7 and 2, 5, 5.
    expected = {
        ("reward", 1): (3.5, 0, 1),
        ("reward", 2): (3.5, 1.5, (1 / 3 + 1) / 2),
        ("reward", 3): (3, 3, 1 / 2),
        ("oracle", 2): (5, 0, 1),
        ("oracle", 3): (6, 0, 1),
        ("random", 2): (3.5, 1.5, (1 / 2 + 2 / 3) / 2),
        ("random", 3): (3.5, 2.5, 1 / 3),
    }
    for key, values in expected.items():
        row = table.loc[key]
        assert row[["gold_reward", "regret", "best"]].tolist() == pytest.approx(values)
        assert row[["low", "high"]].tolist() == pytest.approx([values[0]] * 2)  # one cluster
        assert row["kl_bound"] == best_of_n.kl_bound(key[1])
    assert len(table) == 9
    assert (table["prompts"] == 2).all()
    assert (table["families"] == 1).all()


def test_interval_resamples_clusters():
    gold_reward = np.array([[0.0, 0]] * 50 + [[1, 1]] * 50)
    table = best_of_n.best_of_n_table(
        {}, gold_reward, [2], np.arange(100) // 50, Bootstrap(200, 0.9, seed=0)
    )
    assert table[["low", "high"]].to_numpy().tolist() == [[0, 1]] * 2

"""The best of n: its KL against every draw, one by one; the script on a small project."""

import io
from collections import Counter
from itertools import product
from math import log
from pathlib import Path

import best_of_n
import numpy as np
import pandas as pd
import pytest
from small_project import SEEDS

from goldrm.reward_model.gold_scale import SAME
from goldrm.statistics.best_of_n import kl_bound


def kl_by_drawing(score: list[int], n: int) -> float:
    """Of the distribution that all equally likely draws of n give, equal scores sharing a win."""
    picks: Counter[int] = Counter()
    for drawn in product(range(len(score)), repeat=n):
        top = [i for i in drawn if score[i] == max(score[j] for j in drawn)]
        for i in top:
            picks[i] += 1 / len(top) / len(score) ** n
    return sum(p * log(p * len(score)) for p in picks.values())


@pytest.mark.parametrize("score", [[1, 2], [3, 3, 3], [1, 2, 2, 5], [4, 0, 4, 4, 7]])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_kl_is_that_of_all_draws(score: list[int], n: int):
    """The second row is the same in another order."""
    rows = np.array([score, score[::-1]], dtype=float)
    assert best_of_n.kl_of_pick(rows, n) == pytest.approx([kl_by_drawing(score, n)] * 2, abs=1e-12)


def test_kl_by_hand():
    """Of two the better one is picked with probability 3/4."""
    expected = 3 / 4 * log(3 / 2) + 1 / 4 * log(1 / 2)
    assert best_of_n.kl_of_pick(np.array([[1.0, 2.0]]), 2) == pytest.approx([expected])


def test_kl_of_different_scores_comes_near_its_bound():
    """The more completions, the nearer; with ties it stays below."""
    few, many = (
        best_of_n.kl_of_pick(np.arange(float(count))[None], 16).item() for count in (64, 4096)
    )
    assert few < many < kl_bound(16)
    assert many == pytest.approx(kl_bound(16), rel=0.001)


def test_picked_by_hand():
    """Of 16 the best of 16 is the highest score, that of one any."""
    score = np.arange(16.0)[None]
    table = best_of_n.picked(score, -score, SAME).set_index("n")
    assert table.loc[1, ["kl", "reward", "gold_reward"]].tolist() == [0, 7.5, -7.5]
    assert table.loc[16, ["reward", "gold_reward"]].tolist() == pytest.approx([15, -15])


@pytest.fixture
def small_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, and few completions."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(best_of_n, "PROMPTS", 3)
    monkeypatch.setattr(best_of_n, "COMPLETIONS", 16)
    return project


@pytest.mark.usefixtures("small_project")
def test_script(capsys: pytest.CaptureFixture[str]):
    best_of_n.main()
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table["model"].unique().tolist() == [*SEEDS, "gold"]
    assert table.groupby("model")["n"].agg(list).tolist() == [best_of_n.SIZES] * 3
    one = table[table["n"] == 1]
    assert (one["kl"] == 0).all()
    assert one["gold_reward"].nunique() == 1  # whoever picks one of one
    gold = table[table["model"] == "gold"]
    assert gold["reward"].tolist() == gold["gold_reward"].tolist()
    others = table[table["model"] != "gold"]
    assert (others.groupby("n")["gold_reward"].max().to_numpy() <= gold["gold_reward"]).all()
    assert others.groupby("model")["reward"].is_monotonic_increasing.all()

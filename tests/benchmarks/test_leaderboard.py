"""The leaderboard of tables that were made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from leaderboard import LOOKED_AT, Standings, board, gold_reward_at, page

from goldrm.common.tables import write_csv

RECIPES = ["token_damage", "notebook"]
PARAMS = {"task": {"name": "arithmetic_series"}, "models": dict.fromkeys(RECIPES)}


def curve(kl: list[float], gold_reward: list[float]) -> pd.DataFrame:
    """A policy's, whose gain lies within 0.5 on either side."""
    gain = np.array(gold_reward) - gold_reward[0]
    return pd.DataFrame(
        {
            "kl": kl,
            "value": gold_reward,
            "low": gain - 0.5,
            "high": gain + 0.5,
            "n": 96,
            "families": 54,
        }
    )


def test_gold_reward_lies_on_a_line_over_the_root_of_the_kl():
    """From √0.25 to √4 the first third ends at √1."""
    of = gold_reward_at(curve([0, 0.25, 4], [6, 6.5, 5]), 1)
    assert of["value"] == pytest.approx(6.5 - 1.5 / 3)
    assert (of["low"], of["high"]) == pytest.approx((-0.5, 0.5))
    assert (of["n"], of["families"]) == (96, 54)


def test_gold_reward_where_the_kl_first_comes():
    """It may fall again, and come a second time."""
    of = gold_reward_at(curve([0, 1, 0.25, 4], [6, 7, 2, 3]), 1)
    assert of["value"] == 7


def test_gold_reward_at_the_start():
    """Where rounding leaves a divergence below 0, nothing is different."""
    assert gold_reward_at(curve([-1e-9, 1], [6, 7]), 0)["value"] == 6


def test_gold_reward_that_no_look_comes_to():
    of = gold_reward_at(curve([0, 0.9], [6, 7]), 1)
    assert np.isnan([of["value"], of["low"], of["high"]]).all()
    assert of["n"] == 96


@pytest.fixture
def standings(tmp_path: Path) -> Standings:
    """Of a run whose notebook comes to KL 4, the others to 0.25."""
    measured = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 1000, "families": 69}
    statistics = [
        {"model": model, "statistic": statistic, **measured}
        for model in [*RECIPES, "median"]
        for statistic in ("accuracy", "spearman", "probes_spearman", "mae")
    ]
    best = [
        {"model": model, "n": n, "gold_reward": 6 + n / 100, "low": 6, "high": 6.5, "prompts": 40}
        for model in [*RECIPES, "random", "oracle"]
        for n in (8, 16)
    ]
    curves = {
        "token_damage": curve([0, 0.25], [6, 6.5]),
        "notebook": curve([0, 4], [6, 5]),
        "gold": curve([0, 0.25], [6, 6.75]),
    }
    write_csv(tmp_path / "statistics.csv", pd.DataFrame(statistics))
    write_csv(tmp_path / "best_of_n.csv", pd.DataFrame(best).assign(families=39, best=1))
    looks = pd.concat(curves, names=["model", None]).reset_index("model")
    written = {name: column for column, name in LOOKED_AT.items()}
    write_csv(tmp_path / "policy.csv", looks.rename(columns=written))
    return Standings.read(tmp_path, PARAMS, None)


def test_board_has_a_row_a_recipe_and_one_of_gold(standings: Standings):
    ranking = " | ".join(["0.900 (0.800 – 0.950)"] * 3)
    picked = "6.160 (6.000 – 6.500)"
    assert board([standings]).splitlines()[2:] == [
        f"| arithmetic series | `token_damage` | {ranking} | {picked} | – | – | "
        "6.500 (+0.000 – +1.000) | 0.25 |",
        f"| arithmetic series | `notebook` | {ranking} | {picked} | 5.500 (-1.000 – +0.000) | – | "
        "5.000 (-1.500 – -0.500) | 4.00 |",
        f"| arithmetic series | `gold` | – | – | – | {picked} | – | – | 6.750 (+0.250 – +1.250) | "
        "0.25 |",
    ]


def test_page_says_on_how_much_and_by_what(standings: Standings, tmp_path: Path):
    other = Standings.read(tmp_path, PARAMS | {"task": {"name": "sorting"}}, "demo")
    text = page([standings, other], "abc1234")
    assert text.startswith("# Leaderboard, made by `make leaderboard`\n")
    counted = "1,000 (69) | 1,000 (69) | 1,000 (69) | 40 (39) | 96 (54)"
    assert (
        f"| arithmetic series | {counted} |\n| sorting, by presets/demo.yaml | {counted} |" in text
    )
    assert "At the start it is 6.000 (arithmetic series), 6.000 (sorting, by presets/" in text
    assert "commit abc1234" in text


def test_fewer_completions_than_are_picked_from(tmp_path: Path, standings: Standings):
    """As the demo has them."""
    table = pd.read_csv(tmp_path / "best_of_n.csv")
    write_csv(tmp_path / "best_of_n.csv", table[table["n"] == 8])
    fewer = Standings.read(tmp_path, PARAMS, None)
    assert board([fewer]).count(" – |") == board([standings]).count(" – |") + 3
    assert "| 1,000 (69) | – | 96 (54) |" in page([fewer], "abc1234")

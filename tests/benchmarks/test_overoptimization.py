"""What is run, and what tables and figure make of curves whose coefficients are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from best_of_n import SIZES
from fits import NAMES, gain
from overoptimization import POLICY, VARIANTS, curves, in_markdown, questions, summary, variants
from overoptimization_figure import ROWS, drawn
from small_models import ROOT
from small_project import SEEDS

from goldrm.commands.params import Params
from goldrm.common.params import checked
from goldrm.common.tables import write_csv
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.paths import POLICIES

COEFFICIENTS = {"policy": (0.8, 0.3), "best_of_n": (0.5, 0.2)}
DISTANCE = np.array([0.0, 0.4, 0.9])


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return read_yaml(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def table(committed: dict[str, Any]) -> pd.DataFrame:
    """Curves of all models and three seeds, which differ in exact match only."""
    parts: list[pd.DataFrame] = []
    for way, coefficients in COEFFICIENTS.items():
        gained = np.append(0, gain(way, *coefficients, DISTANCE[1:]))  # pyright: ignore[reportArgumentType]
        for model in [*variants(committed)["models"], "gold"]:
            for seed in range(3):
                rows = {"seed": seed, "way": way, "model": model, "amount": [1, 2, 4]}
                rows |= {"kl": DISTANCE**2, "reward_gain": DISTANCE, "gold_reward_gain": gained}
                exact = -0.1 * seed * DISTANCE if way == "policy" else np.nan
                parts.append(pd.DataFrame({**rows, "exact_match_gain": exact}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame, committed: dict[str, Any]) -> pd.DataFrame:
    return summary(table, variants(committed))


def test_what_is_run_is_allowed(committed: dict[str, Any]):
    changed = variants(committed)
    models = changed["models"]
    assert list(models) == ["token_damage", "notebook", *VARIANTS]
    unchanged = read_yaml(ROOT / "params.yaml")["models"]
    assert {name: models[name] for name in unchanged} == unchanged
    read = checked(Params, changed, ROOT / "params.yaml")
    assert read.policy.steps == POLICY["steps"]
    assert read.models["uncertainty"].ensemble.combine == "uncertainty"
    assert read.models["worst"].data.label_noise == 0.25


def test_every_model_is_shown(committed: dict[str, Any]):
    shown = {model for models in questions(committed).values() for model in models}
    assert shown == {*variants(committed)["models"], "gold"}


def test_curves_of_a_copy(project: Path):
    """A policy's curve by hand; the best of n are picked by the copy's own script."""
    for name in (*SEEDS, "gold"):
        looks = {"model": name, "seed": 0, "step": [0, 5], "kl": [0.0, 0.5], "reward": [2.0, 5.0]}
        looks |= {"gold_reward": [6.0, 5.5], "exact_match": [0.9, 0.7]}
        write_csv(project / POLICIES / name / "curve.csv", pd.DataFrame(looks))
    table = curves(project, [*SEEDS, "gold"]).set_index(["way", "model", "amount"])
    last = table.loc[("policy", "token_damage", 5)]
    assert last[["kl", "reward", "reward_gain", "gold_reward_gain"]].tolist() == [0.5, 5, 3, -0.5]
    assert last["exact_match_gain"] == pytest.approx(-0.2)
    picked = table.loc[("best_of_n", "gold", SIZES[-1])]
    assert picked["gold_reward_gain"] == picked["reward_gain"] > 0
    assert np.isnan(picked["exact_match"])


def test_summary_of_known_curves(fitted: pd.DataFrame, committed: dict[str, Any]):
    rows = fitted.set_index(["way", "model"])
    assert len(rows) == 2 * (len(committed["models"]) + len(VARIANTS) + 1)
    for way, (alpha, beta) in COEFFICIENTS.items():
        row = rows.loc[(way, "pairs_500")]
        assert row[NAMES].tolist() == pytest.approx([alpha] * 3 + [beta] * 3)
        assert row["kl"] == pytest.approx(0.81)
        assert row["gold_reward_gain_lowest"] == row["gold_reward_gain_highest"]
        assert (row["pairs"], row["label_noise"], row["seeds"]) == (500, 0, 3)
    assert rows.loc[("policy", "noise_25"), "exact_match_gain"] == pytest.approx(-0.09)
    assert rows.loc[("policy", "noise_25"), "pairs"] == committed["pairs"]["num_pairs"]
    assert np.isnan(rows.loc[("best_of_n", "gold"), "exact_match_gain"])


def test_markdown_has_a_line_a_model(fitted: pd.DataFrame):
    """What a policy gains at 0.9: 0.9 (0.8 - 0.3 log 0.9) = 0.748; the best of n 0.288."""
    text = in_markdown(fitted)
    same = "+0.748 (+0.748 – +0.748)"
    coefficients = "+0.800 (+0.800 – +0.800) | +0.300 (+0.300 – +0.300)"
    about = "noise_25 | 1,500 | 0.25 | mean of 4 | 3 | 0.81 | +0.900"
    assert f"| {about} | {same} | -0.090 | {coefficients} |\n" in text
    assert "| gold |  |  |  | 3 | 0.81 | +0.900 | +0.288 (+0.288 – +0.288) |  | " in text


def test_figure_has_every_curve_and_its_fit(
    table: pd.DataFrame, fitted: pd.DataFrame, committed: dict[str, Any]
):
    asked = questions(committed)
    figure = drawn(table, fitted, asked)
    assert len(figure.axes) == len(ROWS) * len(asked)
    panels = iter(figure.axes)
    for _, gained, _ in ROWS:
        for models in asked.values():
            panel = next(panels)
            _, labels = panel.get_legend_handles_labels()
            assert labels == [model.replace("_", " ") for model in models]
            fits = len(models) if gained == "gold_reward_gain" else 0
            assert len(panel.lines) == len(models) + fits + 1  # and the line at 0
            assert panel.lines[0].get_xdata() == pytest.approx(DISTANCE)

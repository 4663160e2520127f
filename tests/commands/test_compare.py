"""`goldrm compare`: two models on the same pairs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import goldrm
from goldrm.commands.cli import app
from goldrm.commands.trained import load_trained
from goldrm.common.files import read_checked_json, write_checked_json

pytestmark = pytest.mark.usefixtures("small_project")
MODELS = ("token_damage", "notebook")


def rows_of(*models: str) -> dict[str, dict[str, float]]:
    result = CliRunner().invoke(app, ["compare", *models, "--json"])
    assert result.exit_code == 0, result.stderr
    rows = map(json.loads, result.stdout.splitlines())
    return {row["statistic"]: row for row in rows}


def rewards_and_gold(model: goldrm.TrainedModel, split: str) -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_parquet(f"data/completions/{split}.parquet")
    rewards = model.score(table["prompt"].tolist(), table["completion"].tolist())
    return np.array(rewards), table["gold_reward"].to_numpy()


def test_values_are_those_of_the_test_split():
    rows = rows_of(*MODELS)
    pairs = pd.read_parquet("data/pairs/test.parquet")
    for name, column in zip(MODELS, ("value", "other_value"), strict=True):
        model = load_trained(name)
        chosen, rejected = (
            np.array(model.score(pairs["prompt"].tolist(), pairs[side].tolist()))
            for side in ("chosen", "rejected")
        )
        reward, gold = rewards_and_gold(model, "test")
        assert rows["accuracy"][column] == pytest.approx((chosen > rejected).mean())
        correlation = stats.spearmanr(reward, gold).statistic
        assert rows["spearman"][column] == pytest.approx(correlation, abs=1e-6)
        assert rows["mae"][column] == pytest.approx(abs(reward - gold).mean(), abs=1e-5)
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["value"] - row["other_value"], abs=1e-9)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["families"] == 4
    assert (rows["accuracy"]["n"], rows["mae"]["n"]) == (12, 12)


def test_error_of_a_model_taught_by_ranking_alone_is_on_the_gold_scale():
    """By the straight line that stands beside its weights; its ranking stays."""
    config, before = Path("data/models/notebook/config.json"), rows_of(*MODELS)
    own_scale = {"gold_scale": {"slope": 0.5, "intercept": 4.0}}
    write_checked_json(config, read_checked_json(config) | own_scale)
    reward, gold = rewards_and_gold(load_trained("notebook"), "test")
    rows = rows_of(*MODELS)
    expected = abs(0.5 * reward + 4.0 - gold).mean()
    assert rows["mae"]["other_value"] == pytest.approx(expected, abs=1e-4)
    assert abs(rows["mae"]["other_value"] - before["mae"]["other_value"]) > 0.1
    for name in ("accuracy", "spearman"):
        assert rows[name] == before[name]
    assert CliRunner().invoke(app, ["compare", *MODELS]).stderr == (
        "note: ranking alone taught notebook: for mae a straight line brings its rewards to the "
        "gold rewards' scale.\n"
    )


def test_a_model_is_as_good_as_itself():
    for row in rows_of("notebook", "notebook").values():
        assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


def test_print_has_both_models_and_the_interval():
    header, accuracy, *_ = CliRunner().invoke(app, ["compare", *MODELS]).stdout.splitlines()
    row = rows_of(*MODELS)["accuracy"]
    assert header.split()[:2] == list(MODELS)
    assert "95 % interval" in header
    assert accuracy.split()[:3] == ["accuracy", f"{row['value']:.3f}", f"{row['other_value']:.3f}"]
    assert f"({row['low']:+.3f} – {row['high']:+.3f})  12 pairs, 4 families" in accuracy


def test_unknown_model_is_named():
    result = CliRunner().invoke(app, ["compare", "notebook", "other"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no recipe 'other'" in result.stderr

"""`goldrm compare`: two models on the same pairs."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.trained import load_trained

pytestmark = pytest.mark.usefixtures("small_project")
MODELS = ("token_damage", "notebook")


def rows_of(*models: str) -> dict[str, dict[str, float]]:
    result = CliRunner().invoke(app, ["compare", *models, "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    rows = map(json.loads, result.stdout.splitlines())
    return {row["statistic"]: row for row in rows}


def test_values_are_those_of_the_test_split():
    rows = rows_of(*MODELS)
    pairs = pd.read_parquet("data/pairs/test.parquet")
    completions = pd.read_parquet("data/completions/test.parquet")
    for name, column in zip(MODELS, ("value", "other_value"), strict=True):
        model = load_trained(name)
        chosen, rejected = (
            np.array(model.score(pairs["prompt"].tolist(), pairs[side].tolist()))
            for side in ("chosen", "rejected")
        )
        texts = completions["prompt"].tolist(), completions["completion"].tolist()
        reward, gold = np.array(model.score(*texts)), completions["gold_reward"]
        assert rows["accuracy"][column] == pytest.approx((chosen > rejected).mean())
        correlation = stats.spearmanr(reward, gold).statistic
        assert rows["spearman"][column] == pytest.approx(correlation, abs=1e-6)
        assert rows["mae"][column] == pytest.approx(abs(reward - gold).mean(), abs=1e-5)
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["value"] - row["other_value"], abs=1e-9)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["families"] == 4
    assert (rows["accuracy"]["n"], rows["mae"]["n"]) == (12, 12)


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

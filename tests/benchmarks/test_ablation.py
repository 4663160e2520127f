"""What the ablation runs, and how it shows what a part brings."""

from typing import Any

import pandas as pd
import pytest
from ablation import VARIANTS, variants, with_differences
from small_models import ROOT

from goldrm.commands.params import Params
from goldrm.common.params import checked
from goldrm.common.yaml_file import read_yaml


def test_what_is_run_is_allowed_and_one_parameter_off():
    committed: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    changed = variants(committed)
    read = checked(Params, changed, ROOT / "params.yaml")
    assert list(read.models) == [*committed["models"], *VARIANTS]
    flat = pd.json_normalize(list(changed["models"].values())).set_axis(list(read.models))
    for name in set(VARIANTS) - {"no_edits"}:
        assert flat.loc["token_damage"].compare(flat.loc[name]).shape == (1, 2), name


def test_differences_are_from_the_default_with_the_same_seed():
    """By hand: 0.9 and 0.7, beside them 0.5 and 0.8."""
    rows = [(0, "first", 0.9), (1, "first", 0.7), (0, "less", 0.5), (1, "less", 0.8)]
    table = pd.DataFrame(rows, columns=["seed", "model", "value"])
    table = table.assign(statistic="accuracy", n=10, families=3)
    row = with_differences(table, "first").set_index("model").loc["less"]
    found = row[["difference", "difference_lowest", "difference_highest"]].tolist()
    assert found == pytest.approx([-0.15, -0.4, 0.1])
    assert row["mean"] == pytest.approx(0.65)

"""TRL's trainers, each in a fresh process, run two steps with what is exported."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from exported_models import example_pairs
from fresh_process import needs_extra, run_script
from small_project import write_small_project

import goldrm
from goldrm.commands.export_pairs import write_pairs
from goldrm.common.tables import write_parquet
from goldrm.huggingface.export import write_reward_model
from goldrm.reward_model.model import read_reward_model_config
from goldrm.task.arithmetic_series import ArithmeticSeries
from goldrm.task.task import Task

needs_extra()
MODEL = "data/models/token_damage"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trl") / "project"
    write_small_project(folder)
    return folder


@pytest.fixture(scope="module")
def reward_model(project: Path) -> Path:
    """The exported one of the project's model."""
    readout = read_reward_model_config(project / MODEL).readout
    folder = project / "exported"
    model = goldrm.load(project / MODEL).reward_model
    write_reward_model(folder, model, readout, ArithmeticSeries.patterns, "a card")
    return folder


@pytest.fixture(scope="module")
def pairs(project: Path, task: Task) -> Path:
    """Sixteen pairs as `goldrm export pairs` writes them."""
    write_parquet(project / "data/pairs/train.parquet", example_pairs(task))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        write_pairs(Path("pairs.jsonl"), "train")
    return project / "pairs.jsonl"


def train(
    trainer: str, exported: Path, reward_model: Path, pairs: Path, folder: Path
) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLDRM_MODEL", str(reward_model.parent / MODEL))
        language_model = exported / "language_model"
        printed = run_script("in_trl.py", trainer, language_model, reward_model, pairs, folder)
    return json.loads(printed)


@pytest.mark.parametrize("trainer", ["grpo", "rloo"])
def test_rewards_by_path_are_those_by_function(
    exported: Path, reward_model: Path, pairs: Path, tmp_path: Path, trainer: str
):
    found = train(trainer, exported, reward_model, pairs, tmp_path)
    steps = [row for row in found["log"] if "reward" in row]
    assert found["steps"] == len(steps) == 2
    assert found["changed"] > 20
    for row in steps:
        by_path, by_function = (row[f"rewards/{name}/mean"] for name in ("exported", "reward_func"))
        assert by_path == pytest.approx(by_function, abs=1e-5)
        assert row["rewards/exported/std"] > 0


def test_a_reward_model_of_trls_own_trains_on_the_pairs(
    exported: Path, reward_model: Path, pairs: Path, tmp_path: Path
):
    found = train("reward", exported, reward_model, pairs, tmp_path)
    losses = [row["loss"] for row in found["log"] if "loss" in row]
    assert found["steps"] == len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert found["changed"] > 20

"""`goldrm export hf`: two folders, and how good the language model is as it is exported."""

import json
from pathlib import Path

import pytest
from small_project import write_small_policy, write_small_project
from successor_model import successor_model
from typer.testing import CliRunner

from goldrm.commands import export_hf
from goldrm.commands.cli import app
from goldrm.commands.export_hf import exported_exact_match
from goldrm.lm.sizes import BackboneSizes
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import split_of_family
from goldrm.task.task import Task


def test_exact_match_counts_the_unseen_prompts_answered_exactly(
    dictionary: Dictionary,
    small_sizes: BackboneSizes,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    monkeypatch: pytest.MonkeyPatch,
):
    """A model that always says 95 is right where nothing may follow it: differences 6 to 9."""
    seed = next(seed for seed in range(100) if split_of_family((95,), seed) == "test")
    params = task_params.model_copy(update={"split_seed": seed})
    task = Task(dictionary, params, gold_reward_params)
    successors = {token_id: dictionary.ids["95"] for token_id in range(len(dictionary))}
    successors[dictionary.ids["95"]] = dictionary.eos_id
    model = successor_model(small_sizes, successors, scale=5.0)
    monkeypatch.setattr(export_hf, "MEASURED_PROMPTS", len(task.space))
    estimate = exported_exact_match(model, task, seed=0)
    assert estimate.n == len(task.ids_in("test"))
    assert estimate.value * estimate.n == pytest.approx(4 * 10 * 3)


def test_a_language_model_that_opt_cannot_be_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = tmp_path / "project"
    write_small_project(project)
    monkeypatch.chdir(project)
    result = CliRunner().invoke(app, ["export", "hf", "out"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "129 tokens and hidden states of 24 numbers, too few for OPT" in result.stderr
    assert not (project / "out").exists()


def test_both_folders_are_written_with_their_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_sizes: BackboneSizes
):
    project = tmp_path / "project"
    write_small_project(project, d=264)
    monkeypatch.chdir(project)
    result = CliRunner().invoke(app, ["export", "hf", "out", "--model", "notebook"])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "wrote out/language_model and out/reward_model"
    readout = json.loads((project / "out/reward_model/config.json").read_text())["readout"]
    assert readout == {"kind": "last_token"}
    assert "# The reward model `notebook`" in (project / "out/reward_model/README.md").read_text()
    card = (project / "out/language_model/README.md").read_text()
    assert "| exact match as exported | 0.000 (" in card


def test_a_policy_is_written_as_the_language_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = tmp_path / "project"
    write_small_project(project, d=264)
    write_small_policy(project, "gold")
    monkeypatch.chdir(project)
    monkeypatch.setattr(export_hf, "MEASURED_PROMPTS", 10)
    for options, folder in (([], "language_model"), (["--policy", "gold"], "policy")):
        result = CliRunner().invoke(app, ["export", "hf", "out", *options])
        assert result.exit_code == 0, result.stderr
        assert f"out/{folder}" in result.stderr
    names = {path.name for path in (project / "out/policy").iterdir()}
    assert names == {path.name for path in (project / "out/language_model").iterdir()}
    for name in names - {"README.md"}:  # the weights are the same here
        written = (project / f"out/{folder}" / name for folder in ("policy", "language_model"))
        assert len({path.read_bytes() for path in written}) == 1
    card = (project / "out/policy/README.md").read_text()
    assert "# The language model, optimised for the gold reward" in card


@pytest.mark.parametrize("kind", ["hf", "course"])
def test_a_model_and_a_policy_are_not_exported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.chdir(tmp_path)
    both = ["--model", "notebook", "--policy", "gold"]
    result = CliRunner().invoke(app, ["export", kind, "out", *both])
    assert (result.exit_code, result.stderr) == (
        1,
        "goldrm: export takes --model or --policy, not both.\n",
    )

"""`goldrm try`: the whole pipeline at a preset's sizes, without touching the project's results."""

from pathlib import Path

import pytest
from small_models import ROOT
from small_pipeline import STAGES, SmallPipeline, stages_run
from typer.testing import CliRunner

from goldrm.commands import presets
from goldrm.commands.cli import app
from goldrm.commands.params import load_params
from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import read_yaml

PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


def test_demo_runs_all_stages_and_leaves_the_project_alone(tmp_path: Path):
    project = SmallPipeline.new(tmp_path / "project")
    (project.folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    project.set_params({"sft": {"source": "small_sft.safetensors", "sha256": None}})
    project.run("git", "add", ".")
    project.commit("whole sizes")
    done = project.run("goldrm", "try", "demo")
    assert stages_run(done.stderr) == STAGES
    assert "accuracy on unseen pairs, with its interval  this folder's run\n" in done.stdout
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert not (project.folder / "data/models").exists()
    assert not (project.folder / "dvc.lock").exists()
    demo = project.folder / ".work/try/demo"
    examples = project.run("goldrm", "examples", folder=str(demo)).stdout  # it is a project, too
    assert "pairs unseen, token_damage" in examples
    assert project.run("dvc", "repro", folder=str(demo)).stdout.count("didn't change") == len(
        STAGES
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fit_the_parameters_and_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "tried"
    presets.set_up(folder, preset)
    monkeypatch.chdir(folder)
    params = load_params()
    changed, values = read_yaml(ROOT / f"presets/{preset}.yaml"), params.model_dump()
    for section, name in (("pairs", "num_pairs"), ("task", "name")):
        if section in changed:
            assert values[section][name] == changed[section][name]
    own = changed.get("sft", {}).get("source", "upstream/sft_lm.safetensors")
    assert Path(params.sft.source) == ROOT / own
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_debug_has_the_notebooks_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its comments name them: 12 pairs, batches of 3, 1,001 epochs, 50 steps of warm-up."""
    monkeypatch.chdir(ROOT)
    presets.set_up(tmp_path / "tried", "debug")
    params = load_params(tmp_path / "tried/params.yaml")
    training = params.models["notebook"].training
    assert params.pairs.num_pairs == params.models["notebook"].data.num_pairs == 12
    assert (training.batch_size, training.epochs, training.warmup_steps) == (3, 1001, 50)


def test_what_was_tried_before_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    presets.set_up(tmp_path / "tried", "demo")
    (tmp_path / "tried/data/left").touch()
    presets.set_up(tmp_path / "tried", "demo")
    assert not (tmp_path / "tried/data/left").exists()


def test_other_presets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for preset in ("huge", "", "../params", "demo.yaml"):
        with pytest.raises(GoldrmError, match="no preset .*debug, demo"):
            presets.set_up(tmp_path / "tried", preset)
    assert not (tmp_path / "tried").exists()


def test_preset_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/wrong.yaml").write_text("pairs: {pairs: 3}\n")
    with pytest.raises(GoldrmError, match="presets/wrong.yaml: pairs.pairs is not a parameter"):
        presets.set_up(tmp_path / "tried", "wrong")


def test_git_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GoldrmError, match="needs Git, which isn't installed. Install it."):
        presets.set_up(tmp_path / "tried", "debug")

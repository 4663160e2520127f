"""Parameters of a commit, in a repository made for it."""

import subprocess
from pathlib import Path

import pytest
import shared
from shared import Commit


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Of a project, whose files have changed since."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "params.yaml").write_text("seed: 0\npolicy: {steps: 12, prompts: 16}\n")
    (tmp_path / "presets/far.yaml").write_text("policy: {steps: 40}\n")
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "presets/new.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(shared, "ROOT", tmp_path)
    return Commit.last()


def test_params_are_those_of_the_commit(commit: Commit):
    assert commit.params() == {"seed": 0, "policy": {"steps": 12, "prompts": 16}}


def test_a_preset_changes_them(commit: Commit):
    assert commit.params("far") == {"seed": 0, "policy": {"steps": 40, "prompts": 16}}


def test_a_preset_that_the_commit_has_not_is_refused(commit: Commit):
    with pytest.raises(SystemExit, match=r"has no presets/new.yaml, but presets/far.yaml\."):
        commit.params("new")

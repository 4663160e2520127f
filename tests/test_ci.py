"""What CI runs: that it can be read, and the comment that it writes on a pull request."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_dvc_project import dvc, write_project
from small_models import ROOT

from goldrm.common.yaml_file import read_yaml

WORKFLOW = ROOT / ".github/workflows/ci.yml"


def steps() -> list[dict[str, Any]]:
    return [step for job in read_yaml(WORKFLOW)["jobs"].values() for step in job["steps"]]


def test_steps_are_shell_lines_and_actions_of_githubs_own():
    for step in steps():
        assert set(step) <= {"name", "uses", "with", "env", "run"}
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        else:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
    assert {"run": ".ci/run"} in steps()


def test_what_steps_run_is_there():
    scripts = re.findall(r"\.ci/\w+", WORKFLOW.read_text())
    assert sorted(set(scripts)) == [".ci/report", ".ci/run"]
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK)
    assert "pull-requests" in read_yaml(WORKFLOW)["jobs"]["report"]["permissions"]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, text=True, capture_output=True).stdout


def committed(message: str) -> str:
    """Run, and commit what there is; the commit's name."""
    dvc(Path(), "repro")
    git("add", ".")
    git("commit", "--quiet", "--message", message)
    return git("rev-parse", "HEAD").strip()


def test_report_compares_two_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path(".ci").mkdir()
    shutil.copy(ROOT / ".ci/report", ".ci")
    Path("code/a.py").write_text('{"accuracy": 0.5}\n')
    Path("metrics/plots").mkdir(parents=True)
    Path("metrics/plots/probes.png").touch()
    base = committed("base")
    Path("code/a.py").write_text('{"accuracy": 0.75}\n')
    Path("params.yaml").write_text("x: 2\ny: 1\n")
    head = committed("head")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([".ci/report", base, head], text=True, capture_output=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
    assert ["", "metrics/first.json", "accuracy", "0.5", "0.75", "0.25", ""] in rows
    assert ["", "params.yaml", "x", "1", "2", ""] in rows
    figure = "metrics/plots/probes.png"
    assert f"![{figure}](https://example.org/owner/name/raw/{head}/{figure})" in done.stdout

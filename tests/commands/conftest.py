"""A project as `dvc repro` leaves it, with small models, for commands that look at it."""

import shutil
from pathlib import Path

import pytest
from small_dvc_project import dvc, write_project
from small_project import write_small_project
from small_tables import write_small_tables

from goldrm.task.task import Task


@pytest.fixture
def small_project(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder, which is the current one."""
    folder = tmp_path / "project"
    write_small_project(folder)
    write_small_tables(folder, task, ["token_damage", "notebook"])
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project of DVC's after a run."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder)
    dvc(folder, "repro")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in its root folder."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder

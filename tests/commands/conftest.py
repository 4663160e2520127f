"""A project as `dvc repro` leaves it, with small models, for commands that look at it."""

from pathlib import Path

import pytest
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

"""A small project whose recipes are trained, as the measurements find it in a copy."""

from pathlib import Path

import pytest
from small_models import ROOT
from small_project import write_small_project
from small_tables import write_small_tables

from goldrm.common.files import read_checked_json, write_checked_json
from goldrm.task.task import Task

OWN_SCALE = {"slope": 0.5, "intercept": 4.0}


@pytest.fixture
def project(tmp_path: Path, task: Task) -> Path:
    """Its code is this project's; its second recipe has learned from the order of pairs alone."""
    folder = tmp_path / "project"
    write_small_project(folder)
    for name in ("benchmarks", "src"):
        (folder / name).symlink_to(ROOT / name)
    write_small_tables(folder, task, [])
    config = folder / "data/models/notebook/config.json"
    write_checked_json(config, read_checked_json(config) | {"gold_scale": OWN_SCALE})
    return folder

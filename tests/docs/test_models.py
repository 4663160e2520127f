"""docs/models.md: its commands, run in their order, bring a model that scores as the original."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_models import ROOT
from small_project import write_small_project

import goldrm

PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
MODEL = "data/models/token_damage"
STAGE = """\
stages:
  all:
    cmd: "true"
    params: [seed]
    outs: [data/dictionary.json, data/sft, data/models/token_damage, data/models/notebook]
"""


class Reader:
    """Does what docs/models.md says, a block of commands after the other, below a folder.

    Attributes:
        srv: the folder that the commands call /srv.
        unread: the blocks that are still to be done.
    """

    def __init__(self, folder: Path) -> None:
        self.srv = folder / "srv"
        text = (ROOT / "docs/models.md").read_text().replace("/srv/", f"{self.srv}/")
        self.unread = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "KEY": "key",
            "SECRET": "secret",
        }

    def run(self, commands: str, folder: Path) -> str:
        """What some commands print in a folder."""
        return subprocess.run(
            ["sh", "-ec", commands],
            cwd=folder,
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def do_next(self, folder: Path) -> str:
        """What the next block prints in a folder, which is made where there is none."""
        folder.mkdir(exist_ok=True)
        return self.run(self.unread.pop(0), folder)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Before the first block; /srv/goldrm is a project after a run, of one stage."""
    reader = Reader(tmp_path)
    project = reader.srv / "goldrm"
    write_small_project(project)
    (project / "dvc.yaml").write_text(STAGE)
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore"):
        (project / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    run = "git init -q && dvc commit -q --force && git add . && git commit -q -m run"
    reader.run(run, project)
    return reader


def test_commands_bring_a_model_that_scores_as_the_original(reader: Reader, tmp_path: Path):
    project = reader.srv / "goldrm"
    expected = goldrm.load(project / MODEL).score([PROMPT], ["10 13 16 19 22"])

    def scores_as_the_original(folder: Path) -> bool:
        return goldrm.load(folder / MODEL).score([PROMPT], ["10 13 16 19 22"]) == expected

    reader.do_next(project)
    printed = reader.do_next(tmp_path / "archive")
    assert float(printed.split()[0]) == pytest.approx(*expected, abs=1e-5)
    reader.do_next(tmp_path / "get")
    assert scores_as_the_original(tmp_path / "get/fetched")

    own = tmp_path / "import"
    own.mkdir()
    reader.run("git init -q && dvc init -q", own)
    reader.do_next(own)
    assert scores_as_the_original(own)

    reader.do_next(project)
    shutil.rmtree(project / ".dvc/cache")
    printed = reader.do_next(tmp_path / "clone")
    assert "Data and pipelines are up to date." in printed
    assert scores_as_the_original(tmp_path / "clone/copy")

    reader.do_next(project)
    config = (project / ".dvc/config").read_text()
    assert "s3://bucket/goldrm" in config
    assert "endpointurl" in config
    assert reader.run("git status --short", project) == ""  # the keys aren't Git's
    assert "secret" in (project / ".dvc/config.local").read_text()
    assert not reader.unread

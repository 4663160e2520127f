"""docs/huggingface.md and the cards: what they show runs, each block in a fresh process."""

import re
import shlex
from pathlib import Path

import pytest
from exported_models import example_pairs
from fresh_process import needs_extra, run_code
from small_models import ROOT
from small_project import write_small_policy, write_small_project

from goldrm.common.tables import write_parquet
from goldrm.task.task import Task

needs_extra()
PAGE = (ROOT / "docs/huggingface.md").read_text()
COMMAND = "from goldrm.commands.cli import main; main()"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, task: Task) -> Path:
    """A project with a small model, wide enough for OPT, after the page's commands."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    write_small_project(folder, d=264)
    write_small_policy(folder, "notebook")
    write_parquet(folder / "data/pairs/train.parquet", example_pairs(task))
    for line in "".join(blocks(PAGE, "sh")).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "goldrm"
        run_code(COMMAND, *arguments, folder=folder)
    return folder


@pytest.mark.parametrize("number", range(len(blocks(PAGE, "python"))))
def test_the_pages_code_runs(project: Path, number: int):
    assert run_code(blocks(PAGE, "python")[number], folder=project)


@pytest.mark.parametrize("folder", ["language_model", "reward_model", "policy"])
def test_the_cards_code_runs_where_the_folder_lies(project: Path, folder: str):
    (code,) = blocks((project / f"hf/{folder}/README.md").read_text(), "python")
    assert run_code(code, folder=project / "hf").startswith("[")

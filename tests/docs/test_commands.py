"""Every command in README.md and docs/: goldrm's are run, the others' names and options looked up.

docs/models.md and docs/api.md have tests of their own, which run them whole.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dvc.cli import parse_args
from ruamel.yaml import YAML
from small_models import ROOT
from small_project import write_small_policy, write_small_project
from small_tables import write_small_tables
from typer.testing import CliRunner

from goldrm.commands.cli import app
from goldrm.commands.params import Params
from goldrm.common.params import checked
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.snapshot import Snapshot
from goldrm.pipeline.stage_entry import stage_names
from goldrm.task.task import Task

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IN_TEXT = r"`((?:goldrm|make|dvc|python|pip|torchrun) [^`]+)`"
SHELLS_OWN = {"cd", "cp", "curl", "git", "mkdir", "source", "tar"}
# What takes long, needs an extra, or is about a whole run; it is tested elsewhere.
NOT_RUN = {"--install-completion", "serve", "try", "report", "check", "hf"}
PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
STAND_FOR = {"PROMPT": PROMPT, "COMPLETION": "10 13 16 19 22", "FILE": "written.jsonl"}


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of each command on a page, in blocks and within the text."""
    text = page.read_text()
    block = r"^```(\w*)\n(.*?)^```$"
    for language, content in re.findall(block, text, re.MULTILINE | re.DOTALL):
        if language == "sh":
            yield from split(content)
    for content in re.findall(IN_TEXT, re.sub(block, "", text, flags=re.MULTILINE | re.DOTALL)):
        yield from split(content)


def split(content: str) -> Iterator[list[str]]:
    """The words of each simple command of a shell's text, without comments and redirections."""
    text = re.sub(r"(^|\s)#.*$", "", content, flags=re.MULTILINE).replace("\\\n", " ")
    ends = ";&|<>\n"
    lexer = shlex.shlex(text, posix=True, punctuation_chars=ends)
    lexer.whitespace, lexer.whitespace_split = " \t", True
    for is_end, words in groupby(lexer, lambda word: set(word) <= set(ends)):
        if not is_end:
            command = [word for word in words if not re.match(r"[A-Z_]+=", word)]
            if "." not in command[0]:  # else what a redirection names
                yield command


def look_up(command: list[str]) -> None:
    """Refuse a command that can't be meant."""
    program, *words = command
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
    elif program == "goldrm":
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, result.output
    elif program == "dvc":
        look_up_dvc(words)
    elif program == "pip":
        project = (ROOT / "pyproject.toml").read_text()
        for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
        for file in re.findall(r"\S+\.lock", " ".join(words)):
            assert (ROOT / file).exists()
        for pinned in re.findall(r"\S+==\S+", " ".join(words)):
            assert pinned in (ROOT / "requirements.lock").read_text().splitlines()
    elif program in ("python", "torchrun"):
        scripts = [word for word in words if word.endswith(".py")]
        assert scripts
        assert all((ROOT / script).exists() for script in scripts)
    else:
        assert program in SHELLS_OWN


def look_up_dvc(words: list[str]) -> None:
    """DVC's own parser knows options; parameters, stages and files are the project's."""
    if len(words) == 1:  # a command's name
        with pytest.raises(SystemExit, match="^0$"):
            parse_args([*words, "--help"])
        return
    options = vars(parse_args(words))
    for change in options.get("set_param") or []:
        look_up_change(change)
    targets = options.get("targets") or []
    if words[0] in ("repro", "commit") or words[:2] == ["exp", "run"]:
        assert set(targets) <= set(stage_names(Snapshot.now(ROOT)))
    elif words[0] in ("metrics", "plots"):
        declared = (ROOT / "dvc.yaml").read_text()
        names = "|".join(read_yaml(ROOT / "params.yaml")["models"])
        assert all(
            re.sub(names, "${key}", target) in declared or target in declared for target in targets
        )


def look_up_change(change: str) -> None:
    """A -S option changes a parameter that there is, to a value that it can have."""
    name, _, value = change.partition("=")
    params = read_yaml(ROOT / "params.yaml")
    section: Any = params
    *sections, key = name.split(".")
    for each in sections:
        section = section[each]
    assert key in section
    section[key] = YAML(typ="safe", pure=True).load(value)
    checked(Params, params, Path("params.yaml"))


@pytest.fixture
def project(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project after a run, in which a policy is the language model, and somebody's pairs."""
    folder = tmp_path / "project"
    write_small_project(folder)
    write_small_tables(folder, task, ["token_damage", "notebook"])
    write_small_policy(folder, "notebook")
    (folder / ".dvc").mkdir()
    pairs = pd.read_parquet(folder / "data/pairs/test.parquet")
    pairs.to_json(folder / "pairs.jsonl", orient="records", lines=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_what_there_is(page: Path):
    for command in commands_of(page):
        look_up(command)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_goldrm_run(page: Path):
    for program, *words in commands_of(page):
        named_only = len(words) == 1 and words[0] in ("score", "sample", "compare", "export")
        if program == "goldrm" and not named_only and not NOT_RUN & set(words):
            result = CliRunner().invoke(app, [STAND_FOR.get(word, word) for word in words])
            assert result.exit_code == 0, (words, result.output)


def test_commands_are_found():
    """Else the others would pass whatever a page says."""
    found = [command for page in PAGES for command in commands_of(page)]
    assert ["make", "repro"] in found
    assert ["goldrm", "examples", "--model", "notebook"] in found
    assert ["dvc", "repro", "train_rm@notebook"] in found
    assert len(found) > 50


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "goldrm scores",
        "goldrm score --modell notebook",
        "dvc exp runs",
        "dvc repro train_rm@other",
        "dvc exp run -S models.notebook.data.pairs=3",
        "dvc exp run -S pairs.num_pairs=-3",
        "dvc metrics show metrics/nothing.json",
        "pip install 'goldrm[nothing]'",
        "pip install --requirement requirements-nothing.lock",
        "python benchmarks/nothing.py",
        "unknown",
    ],
)
def test_what_there_is_not_is_found_out(command: str):
    with pytest.raises(Exception):  # noqa: B017, PT011 - each kind of command has its own
        look_up(shlex.split(command))

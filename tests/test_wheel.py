"""What `pip install .` brings is enough: library and command, in an environment of its own.

No network: the packages that the wheel asks for are linked into that environment, and no others.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from import_closure import imported_files
from packaging.requirements import Requirement
from small_models import ROOT
from small_project import write_small_project

import goldrm

PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"


def files_of_git(folder: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ["pyproject.toml", "README.md", *files_of_git("src")]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", built]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", *options, source], check=True)
    (path,) = built.glob("*.whl")
    return path


def needed(requirements: Iterable[str]) -> Iterator[Distribution]:
    """What is installed here of some requirements, and of what these require in turn."""
    waiting, names = [*requirements], set[str]()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = distribution(requirement.name)
            if found.name not in names:
                names.add(found.name)
                waiting += found.requires or []
                yield found


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the packages that it needs without any extra."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        requirements = message_from_bytes(archive.read(name)).get_all("Requires-Dist")
    assert requirements is not None
    for found in needed(requirements):
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "project"
    write_small_project(folder)
    return folder


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_every_file_of_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name.removeprefix("src/") for name in files_of_git("src")}
    assert "goldrm/py.typed" in held


def test_library_scores(venv: Path, project: Path, tmp_path: Path):
    folder = project / "data/models/token_damage"
    code = f"""\
import goldrm
model = goldrm.load({str(folder)!r})
print(goldrm.__file__, *model.reward_func([{PROMPT!r}], ["10 13"]), sep="\\n")
"""
    done = run(venv / "bin/python", "-I", "-W", "error", "-c", code, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    file, reward = done.stdout.splitlines()
    assert Path(file).is_relative_to(venv)
    assert float(reward) == pytest.approx(*goldrm.load(folder).score([PROMPT], ["10 13"]))


def test_command_scores(venv: Path, project: Path):
    done = run(venv / "bin/goldrm", "score", PROMPT, "10 13", "--model", "notebook", folder=project)
    assert (done.returncode, done.stderr) == (0, "")
    (expected,) = goldrm.load(project / "data/models/notebook").score([PROMPT], ["10 13"])
    assert float(done.stdout.split()[0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("command", ["score", "sample", "examples", "compare", "export_course"])
def test_commands_about_a_model_import_no_package_of_an_extra(command: str):
    """Anywhere in their text, or in that of what they import."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {Requirement(line).name.partition(".")[0] for line in project["dependencies"]}
    imported = {
        name.partition(".")[0]
        for file in imported_files(ROOT / "src/goldrm/commands" / f"{command}.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imported_names(node)
    }
    assert {"torch", "pandas"} < imported
    assert imported - sys.stdlib_module_names <= core | {"goldrm"}


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize(
    ("command", "extra"),
    [("check", "pipeline"), ("summary", "pipeline"), ("report", "report"), ("serve", "serve")],
)
def test_extra_that_a_command_needs_is_named(venv: Path, project: Path, command: str, extra: str):
    done = run(venv / "bin/goldrm", command, folder=project)
    assert (done.returncode, done.stdout) == (1, "")
    said = rf"goldrm: this needs the package [\w-]+\. Run `pip install 'goldrm\[{extra}\]'`\.\n"
    assert re.fullmatch(said, done.stderr)

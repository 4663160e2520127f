"""What is in this folder against dvc.lock, by DVC itself: what is missing, what has changed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from small_dvc_project import dvc

from goldrm.commands.origin import find_origins
from goldrm.common.errors import GoldrmError


def test_nothing_differs_after_a_run(project: Path):
    assert find_origins().differences == {}
    shutil.rmtree(project / ".dvc/cache")  # which doesn't say what lies in the folder
    assert find_origins().differences == {}


def test_stages_of_results_are_dvcs(project: Path):
    written = {Path("data/first"): "first", Path("data/second"): "second"}
    written |= {Path(f"metrics/{stage}.json"): stage for stage in ("first", "second")}
    origins = find_origins()
    assert origins.written == written
    assert origins.of(Path("data/first")) == "this folder's run"
    assert origins.of(Path("data/second/a")) == "this folder's run"
    assert origins.of(Path("params.yaml")) == ""


def test_fresh_clone_has_no_data(project: Path):
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc/cache")
    assert find_origins().differences == {
        "first": "missing: data/first",
        "second": "missing: data/second, data/first",
    }


def test_partial_run_is_told_from_the_rest(project: Path):
    shutil.rmtree(project / "data")
    dvc(project, "repro", "first")
    assert find_origins().differences == {"second": "missing: data/second"}


@pytest.mark.parametrize(
    ("path", "content", "differences"),
    [
        ("params.yaml", "x: 1\ny: 2\n", {"second": "changed: y"}),
        ("params.yaml", "x: 1\n", {"second": "missing: y"}),
        ("code/a.py", "[]\n", {"first": "changed: code"}),
        ("data/second/a", "[]\n", {"second": "changed: data/second"}),
        ("data/first", "[]\n", {"first": "changed: data/first", "second": "changed: data/first"}),
        ("metrics/second.json", "[]\n", {"second": "changed: metrics/second.json"}),
    ],
)
def test_what_has_changed_is_named(
    project: Path, path: str, content: str, differences: dict[str, str]
):
    (project / path).write_text(content)
    assert find_origins().differences == differences


def test_changed_command_and_new_stage_are_named(project: Path):
    text = (project / "dvc.yaml").read_text().replace("mkdir -p data/second", "mkdir data/second")
    third = "  third:\n    cmd: cp code/a.py third\n    deps: [code]\n    outs: [third]\n"
    (project / "dvc.yaml").write_text(text + third)
    assert find_origins().differences == {
        "second": "changed: its command",
        "third": "missing: third; changed: code",
    }


def test_many_differences_are_counted(project: Path):
    names = "abcdef"
    with (project / "dvc.yaml").open("a") as file:
        file.write(f"  third:\n    cmd: 'true'\n    deps: [{', '.join(names)}]\n")
    for name in names:
        (project / name).touch()
    assert find_origins().differences == {"third": "changed: a, b, c, d, 2 more"}


def test_neither_another_machine_nor_a_frozen_stages_inputs_are_looked_at(project: Path):
    third = "  third:\n    cmd: 'true'\n    deps: ['http://localhost:1/none']\n"
    fourth = "  fourth:\n    cmd: 'true'\n    deps: [none]\n    frozen: true\n"
    with (project / "dvc.yaml").open("a") as file:
        file.write(third + fourth)
    assert find_origins().differences == {}


def test_git_is_not_needed(project: Path):
    shutil.rmtree(project / ".git")
    assert find_origins().differences == {}


@pytest.mark.parametrize(
    ("path", "content"), [("dvc.lock", "<<<<<<< HEAD\n"), ("dvc.yaml", "a: [")]
)
def test_what_dvc_cannot_read_is_one_sentence(project: Path, path: str, content: str):
    (project / path).write_text(content)
    with pytest.raises(GoldrmError, match=rf"DVC can't tell.*{path}.*goldrm check") as error:
        find_origins()
    assert "\n" not in str(error.value)


def test_outside_of_a_project_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GoldrmError, match="DVC can't tell"):
        find_origins()


LEFT_BEHIND = [
    *(".DS_Store", "._model.bin", "Thumbs.db", "desktop.ini", ".directory", ".nfs000000000012"),
    *("a.txt~", ".a.txt.swp", ".a.txt.swo", ".#a.txt", "#a.txt#", "a.orig", ".idea/workspace.xml"),
    *(".vscode/settings.json", ".ipynb_checkpoints/a.py", "__pycache__/a.cpython-311.pyc"),
]


@pytest.mark.parametrize("folder", ["code", "data/second", "data"])
def test_what_systems_and_editors_leave_changes_nothing(project: Path, folder: str):
    for name in LEFT_BEHIND:
        path = project / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("left")
    assert find_origins().differences == {}
    command = ["git", "status", "--porcelain", "--untracked-files=all", "code"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert listed == "?? code/a.py\n"


@pytest.mark.parametrize("autocrlf", ["true", "input", "false"])
def test_git_changes_no_byte(project: Path, autocrlf: str):
    """Else a clone with core.autocrlf would have other hashes than dvc.lock."""
    settings = [
        "-c",
        f"core.autocrlf={autocrlf}",
        "-c",
        "core.eol=crlf",
        "-c",
        "core.safecrlf=true",
    ]
    contents = {
        "a.csv": b"a,b\n1,2\n",
        "b.json": b"{}\r\n",
        "c.txt": b"a\r\nb\n",
        "d.png": b"\x89\r\n\n",
    }
    for name, content in contents.items():
        (project / name).write_bytes(content)
    subprocess.run(["git", *settings, "add", "."], check=True)
    for name in contents:
        (project / name).unlink()
    subprocess.run(["git", *settings, "checkout", "--quiet", "."], check=True)
    assert {name: (project / name).read_bytes() for name in contents} == contents

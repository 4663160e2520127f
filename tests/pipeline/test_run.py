"""A stage runs the code and the parameters of its folder, as they were when it was started."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
from small_dvc_project import dvc
from small_models import ROOT

from goldrm.pipeline.run import ARCHIVES, MOST_ARCHIVES, archive_of, project_files, write_archive

COMMAND = (sys.executable, "-EP", "src/goldrm/pipeline/run.py", "stages/mark.py")
# What the project's code says changes with it; nothing slow is imported.
SCRIPT = """\
import json, random, sys
from pathlib import Path
import goldrm
import yaml
from goldrm.common import errors

modules = {name: sys.modules[name].__file__ for name in ("goldrm", "random", "yaml")}
Path("mark.json").write_text(json.dumps({"mark": errors.MARK, **modules}))
"""
DVC_YAML = """\
stages:
  mark:
    cmd: python -EP src/goldrm/pipeline/run.py stages/mark.py
    deps: [src/goldrm/common, stages/mark.py]
    params: [x]
    outs:
      - mark.json: {cache: false}
"""


def mark(folder: Path, text: str) -> None:
    """Edit the project's code."""
    errors = ROOT / "src/goldrm/common/errors.py"
    (folder / "src/goldrm/common/errors.py").write_text(f"{errors.read_text()}MARK = {text!r}\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with all of goldrm's code, and a stage that says what it runs."""
    folder = tmp_path.resolve() / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src/goldrm", folder / "src/goldrm", ignore=ignored)
    (folder / "stages").mkdir()
    (folder / "stages/mark.py").write_text(SCRIPT)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text("x: 1\nfactor: 2\n")
    mark(folder, "its own")
    return folder


def run(
    folder: Path, *command: str | Path, **variables: str | Path
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.run(
        command or COMMAND, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def ran(folder: Path, **variables: str | Path) -> dict[str, str]:
    """What the stage said when it ran in a folder."""
    done = run(folder, **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return json.loads((folder / "mark.json").read_text())


def other_goldrm(folder: Path) -> Path:
    """A folder with something else of that name."""
    (folder / "goldrm/common").mkdir(parents=True)
    for name in ("__init__.py", "common/__init__.py", "common/errors.py"):
        (folder / "goldrm" / name).write_text("MARK = 'another'\n")
    return folder


def test_nothing_takes_the_place_of_a_module(project: Path, tmp_path: Path):
    """Not from the root, beside the script or run.py, PYTHONPATH, the home or an old `.pyc`."""
    elsewhere = other_goldrm(tmp_path / "elsewhere")
    other_goldrm(project)
    beside_run = project / "src/goldrm/pipeline"
    for folder in (project, project / "stages", project / "src", beside_run, elsewhere):
        for name in ("random", "yaml", "torch", "zipfile", "hashlib", "sitecustomize"):
            (folder / f"{name}.py").write_text("raise SystemExit('the wrong file')")
    old = project / "src/goldrm/common/errors.py"
    mark(project, "before"), run(project, sys.executable, "-m", "compileall", "-q", old)
    status = old.stat()
    mark(project, "its ow")  # of the same size and time
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(project.glob("src/goldrm/common/__pycache__/errors.*.pyc"))
    said = ran(project, PYTHONPATH=elsewhere, PYTHONHOME=elsewhere, PYTHONSTARTUP="no.py")
    (archive,) = (project / ARCHIVES).iterdir()
    assert (said["mark"], said["goldrm"]) == ("its ow", f"{archive}/src/goldrm/__init__.py")
    assert not any(str(tmp_path) in said[name] for name in ("random", "yaml"))


def test_each_folder_runs_its_own_code(project: Path, tmp_path: Path):
    """A second worktree and a copy, whatever is installed, and whatever the other has run."""
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "1")):
        assert run(project, "git", *command).returncode == 0
    run(project, "git", "worktree", "add", "-q", "../worktree")
    shutil.copytree(project, tmp_path / "copy")
    for name in ("worktree", "copy"):
        mark(tmp_path / name, name)
    source = project / "src"
    assert [ran(tmp_path / name, PYTHONPATH=source)["mark"] for name in ("worktree", "copy")] == [
        *("worktree", "copy")
    ]
    assert ran(project)["mark"] == "its own"


def test_another_folders_start_is_refused(project: Path, tmp_path: Path):
    """A project's run.py runs no other project's stage, nor what is no stage."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    other = [sys.executable, "-EP", copy / "src/goldrm/pipeline/run.py"]
    for script in ("stages/mark.py", "stages/nothing.py", *([] if copy.exists() else ["x"])):
        done = run(project, *other, script)
        assert done.returncode == 1
        assert f"{script} is not a stage's script of {copy}" in done.stderr
        assert done.stderr.count("\n") == 1
    assert "nothing is not a stage's script" in run(project, *other).stderr
    assert not (project / "mark.json").exists()


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("{folder}", "its own"),  # as an editable installation
        ("import sys; sys.path.insert(0, '{folder}')", "its own"),
        ("import sys; sys.path.insert(0, '{folder}'); import goldrm", None),
    ],
)
def test_what_is_installed_is_not_run(project: Path, tmp_path: Path, line: str, mark: str | None):
    """Not even where Python imports it before all else: that is refused."""
    other, python = other_goldrm(tmp_path / "installed"), tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "other.pth").write_text(line.format(folder=other) + "\n")
    (project / "stages/mark.py").write_text(
        SCRIPT.replace("import yaml\n", "").replace(', "yaml"', "")
    )
    done = run(project, python, *COMMAND[1:])
    if mark is None:
        assert done.returncode == 1
        assert f"mark: Python takes goldrm from {other}/goldrm/__init__.py" in done.stderr
        assert done.stderr.count("\n") == 1
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((project / "mark.json").read_text())["mark"] == mark


def test_queued_experiment_runs_what_it_records(project: Path, tmp_path: Path):
    """Once it ran the code of the folder that it was queued in, as edited since."""
    (project / ".gitignore").write_text("/.work/\n__pycache__/\n")
    assert run(project, "git", "init", "-q").returncode == 0
    dvc(project, "init", "-q")
    dvc(project, "config", "--local", "core.site_cache_dir", str(tmp_path / "site"))
    assert run(project, "git", "add", ".").returncode == 0
    run(project, "git", "commit", "-qm", "1")
    dvc(project, "exp", "run", "--queue", "--name", "queued", "-S", "x=2")
    mark(project, "edited")
    dvc(project, "queue", "start")
    dvc(project, "queue", "logs", "--follow", "queued")
    dvc(project, "exp", "run", "--temp", "--name", "temporary", "-S", "x=4")
    said = {
        name: json.loads(run(project, "git", "show", f"{ref}:mark.json").stdout)
        for line in run(project, "git", "for-each-ref", "refs/exps").stdout.splitlines()
        for ref in line.split()[2:]
        for name in [ref.rpartition("/")[2]]
        if name in ("queued", "temporary")
    }
    marks = {name: each["mark"] for name, each in said.items()}
    assert marks == {"queued": "its own", "temporary": "edited"}


def test_traceback_shows_the_lines_that_ran(project: Path):
    (project / "stages/mark.py").write_text("from goldrm import bug\n\nbug.divide(0)\n")
    (project / "src/goldrm/bug.py").write_text("def divide(by):\n    return 1 / by\n")
    done = run(project)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    for line in ("bug.divide(0)", "return 1 / by", "goldrm/bug.py", "stages/mark.py"):
        assert line in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_archive_that_cannot_be_written_is_one_sentence(project: Path):
    (project / ".work").write_text("a file")
    done = run(project)
    assert done.returncode == 1
    assert "mark: " in done.stderr
    assert ".work" in done.stderr
    assert done.stderr.count("\n") == 1


# The archive


def test_same_files_make_the_same_archive(project: Path):
    archive = archive_of(project_files(project))
    assert archive_of(project_files(project)) == archive
    (project / "src/goldrm/common/errors.py").touch()
    (project / "notes.txt").write_text("x")
    (project / "stages/.#mark.py").symlink_to("an editor's lock")
    (project / "src/goldrm/.ipynb_checkpoints").mkdir()
    (project / "src/goldrm/.ipynb_checkpoints/x.py").write_text("x")
    assert archive_of(project_files(project)) == archive
    edits: list[Callable[[], object]] = [
        lambda: mark(project, "edited"),
        lambda: (project / "params.yaml").write_text("x: 2\n"),
        lambda: (project / "stages/other.py").touch(),
    ]
    for edit in edits:
        edit()
        before, archive = archive, archive_of(project_files(project))
        assert archive != before


def test_archive_is_replaced_where_it_is_damaged_and_old_ones_go(project: Path):
    files = project_files(project)
    archive = write_archive(project, archive_of(files))
    content = archive.read_bytes()
    archive.write_bytes(b"cut short")
    (archive.parent / "left by a kill").touch()
    for number in range(MOST_ARCHIVES + 3):
        os.utime(
            write_archive(project, archive_of({**files, "n": b"%d" % number})), (number, number)
        )
    assert write_archive(project, archive_of(files)) == archive
    assert archive.read_bytes() == content
    assert zipfile.ZipFile(archive).testzip() is None
    assert len(list(archive.parent.iterdir())) == MOST_ARCHIVES


# A stage of many processes

SHARED = """\
import os, time
from pathlib import Path
from goldrm.common import errors
from goldrm.common.params import Section, SharedRuntimeParams
from goldrm.pipeline.stage import run_stage

class Params(Section):
    factor: int
    runtime: SharedRuntimeParams

def mark(params, run):
    made = run.workers.map_to_all(range(4), lambda n: n * params.factor)
    Path(f"made-by-{os.environ['RANK']}").write_text(f"{errors.MARK} {made}")

Path(f"imports-{os.environ.get('RANK', 'launcher')}").touch()
while os.environ.get("RANK") == "1" and not Path("edited").exists():
    time.sleep(0.05)
run_stage(Params, mark)
"""
SHARED_YAML = """\
stages:
  mark:
    params: [factor, runtime.device, runtime.threads]
    deps: [src/goldrm/common, stages/mark.py]
"""
RUNTIME = "runtime: {device: cpu, threads: 1, processes: 2}\n"


@pytest.fixture
def shared(project: Path) -> Path:
    """Its stage has two processes, of which one waits, while it imports, for an edit."""
    (project / "dvc.yaml").write_text(SHARED_YAML)
    (project / "params.yaml").write_text(f"factor: 2\n{RUNTIME}")
    (project / "stages/mark.py").write_text(SHARED)
    return project


def test_edits_while_processes_start_reach_none_of_them_and_are_refused(shared: Path):
    """Once chunks alternated between two temperatures, or old code was recorded as new."""
    started = subprocess.Popen(COMMAND, cwd=shared, text=True, stderr=subprocess.PIPE)
    while not (shared / "imports-1").exists() and started.poll() is None:
        time.sleep(0.05)
    mark(shared, "edited")
    (shared / "params.yaml").write_text(f"factor: 3\n{RUNTIME}")
    (shared / "edited").touch()
    _, err = started.communicate()
    assert started.returncode == 1
    assert [(shared / f"made-by-{rank}").read_text() for rank in (0, 1)] == [
        "its own [0, 2, 4, 6]"
    ] * 2
    assert err == (
        "mark: params.yaml: factor, src/goldrm/common/errors.py changed while the stage ran, so "
        "its outputs belong to neither state. Run `dvc repro` again.\n"
    )


def test_a_machine_with_another_clone_is_refused(shared: Path, tmp_path: Path):
    """Two projects as on two machines, under one launcher."""
    other = tmp_path / "other machine"
    (shared / "edited").touch()
    shutil.copytree(shared, other)
    mark(other, "another")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {
        **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)},
        **{"TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    }
    started = [
        subprocess.Popen(
            COMMAND,
            cwd=folder,
            env=os.environ | told | {"RANK": str(rank)},
            text=True,
            stderr=subprocess.PIPE,
        )
        for rank, folder in enumerate((shared, other))
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [1, 1]
    assert said[0] == ""
    assert "another src/goldrm/common/errors.py is at work than where the leading" in said[1]
    assert said[1].count("\n") == 1

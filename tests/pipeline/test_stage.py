"""Running a stage: its lock, its work folder, inputs that change, and how it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline.stage import run_stage

DVC_YAML = """\
stages:
  other:
    cmd: python other.py
    deps:
      - other.yaml
  double:
    cmd: python double.py
    params:
      - factor
      - data.source
      - other.yaml:
          - offset
    deps:
      - "${data.source}"
      - double.py
      - folder
      - "${data.url}"
    outs:
      - out.txt
"""
PARAMS_YAML = """\
factor: 2
unused: 1
data:
  source: input.txt
  url: https://127.0.0.1:1/model.pkl
"""


class DoubleParams(Section):
    """The small project's parameters."""

    factor: int
    unused: int
    data: dict[str, str]


def load() -> DoubleParams:
    return DoubleParams.model_validate(read_yaml(Path("params.yaml")))


def double(params: DoubleParams, work: Path) -> None:
    """A stage: number in, product out; in its folder it notes that it was there."""
    number = int(Path(params.data["source"]).read_text())
    with (work / "visits").open("a") as visits:
        visits.write("x")
    Path("out.txt").write_text(str(number * params.factor))


def stage_that(act: Callable[[Path], None]) -> Callable[[DoubleParams, Path], None]:
    """The stage `double`, which also does something else."""

    def acting(params: DoubleParams, work: Path) -> None:
        double(params, work)
        act(work)

    acting.__name__ = "double"
    return acting


def fail(_: Path) -> None:
    raise GoldrmError("the disk is full")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, in its root folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text(PARAMS_YAML)
    (tmp_path / "other.yaml").write_text("offset: 0\n")
    (tmp_path / "input.txt").write_text("21")
    (tmp_path / "double.py").write_text("# code")
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/file.txt").write_text("deep")
    (tmp_path / "folder/file.txt").write_text("file")
    return tmp_path


def run(act: Callable[[Path], None] = lambda _: None) -> None:
    run_stage(load, stage_that(act))


def message_of(act: Callable[[Path], None]) -> str:
    """What a run that fails says."""
    with pytest.raises(SystemExit) as end:
        run(act)
    assert isinstance(end.value.code, str)  # the interpreter prints it and exits with status 1
    return end.value.code


def work_folders() -> list[Path]:
    return sorted(Path(".work/double").iterdir()) if Path(".work/double").exists() else []


def unfinished() -> list[Path]:
    return [folder for folder in work_folders() if not (folder / "done").exists()]


def test_stage_does_its_work():
    run_stage(load, double)
    assert Path("out.txt").read_text() == "42"


def test_error_is_one_sentence():
    assert message_of(fail) == "double: the disk is full"


def test_bad_params_are_one_sentence():
    Path("params.yaml").unlink()
    assert message_of(fail).startswith("double: params.yaml doesn't exist")


def test_other_errors_are_not_hidden():
    def bug(_: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(bug)


def test_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]):
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run(interrupt)
    assert end.value.code == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert len(work_folders()) == 1


SCRIPT = """\
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from goldrm.errors import GoldrmError
from goldrm.stage import run_stage
from test_stage import load

def double(params, work):
    if {fails}:
        raise GoldrmError("the disk is full")
    Path("started").touch()
    time.sleep(60)

run_stage(load, double)
"""


def started_script(fails: bool) -> subprocess.Popen[str]:
    """A stage in a process of its own, which Ctrl-C ends even where the tests ignore it."""
    script = SCRIPT.format(tests=str(Path(__file__).parent), fails=fails)
    return subprocess.Popen(
        [sys.executable, "-B", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_failed_process_has_status_1_and_no_traceback():
    process = started_script(fails=True)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (1, "", "double: the disk is full\n")


def test_ctrl_c_has_status_130_and_no_traceback():
    process = started_script(fails=False)
    deadline = time.monotonic() + 60
    while not Path("started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    assert "interrupted" in err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda: Path("params.yaml").write_text(PARAMS_YAML.replace("2", "3")), "factor"),
        (lambda: Path("other.yaml").write_text("offset: 1\n"), "other.yaml"),
        (lambda: Path("input.txt").write_text("22"), "input.txt"),
        (lambda: Path("input.txt").unlink(), "input.txt"),
        (lambda: Path("double.py").write_text("# other code"), "double.py"),
        (lambda: Path("folder/deep/file.txt").write_text("x"), "folder/deep/file.txt"),
        (lambda: Path("folder/new.txt").write_text("x"), "folder/new.txt"),
        (lambda: Path("folder/file.txt").unlink(), "folder/file.txt"),
        (lambda: Path("folder/file.txt").rename("folder/moved.txt"), "folder/moved.txt"),
    ],
    ids=[
        *("parameter", "other parameter file", "input", "input removed", "code"),
        *("file in a folder", "file added to a folder", "file removed from a folder", "renamed"),
    ],
)
def test_edit_during_the_run_is_refused(change: Callable[[], object], named: str):
    message = message_of(lambda _: change() and None)
    assert message.startswith("double: ")
    assert named in message


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("params.yaml").write_text(PARAMS_YAML.replace("unused: 1", "unused: 5")),
        lambda: Path("params.yaml").write_text("# a comment\n" + PARAMS_YAML),
        lambda: Path("unrelated.txt").write_text("x"),
        lambda: Path("input.txt").touch(),
        lambda: Path("folder/module.pyc").write_bytes(b"x"),
    ],
    ids=["parameter of others", "comment", "file of others", "time stamp", "compiled code"],
)
def test_edit_of_what_it_does_not_read_is_fine(change: Callable[[], object]):
    run(lambda _: change() and None)
    assert unfinished() == []


def test_work_folder_is_marked_as_finished():
    seen: list[Path] = []
    run(seen.append)
    assert work_folders() == seen
    assert (seen[0] / "done").exists()


def test_work_folder_stays_after_a_failure():
    message_of(fail)
    (folder,) = work_folders()
    assert (folder / "visits").read_text() == "x"


def other(_: DoubleParams, work: Path) -> None:
    """A stage that a later one follows."""
    with (work / "visits").open("a") as visits:
        visits.write("x")


def test_finished_work_stays_until_a_later_stage_starts():
    """DVC may be killed before it records the outputs; it then deletes them and runs it again."""
    run_stage(load, other)
    run_stage(load, other)
    (visits,) = Path(".work/other").glob("*/visits")
    assert visits.read_text() == "xx"
    run_stage(load, double)
    assert list(Path(".work").glob("*/*")) == work_folders()


def test_unfinished_work_of_others_stays():
    message_of(fail)
    run_stage(load, other)
    (folder,) = work_folders()
    assert (folder / "visits").exists()


def test_next_run_goes_on_in_the_same_folder():
    message_of(fail)
    message_of(fail)
    (folder,) = work_folders()
    assert (folder / "visits").read_text() == "xx"
    visits: list[str] = []
    run(lambda work: visits.append((work / "visits").read_text()))
    assert visits == ["xxx"]
    assert unfinished() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("params.yaml").write_text(PARAMS_YAML.replace("2", "3")),
        lambda: Path("other.yaml").write_text("offset: 1\n"),
        lambda: Path("input.txt").write_text("22"),
        lambda: Path("double.py").write_text("# other code"),
        lambda: Path("folder/deep/file.txt").write_text("x"),
        lambda: Path("folder/file.txt").unlink(),
    ],
    ids=["parameter", "other parameter file", "input", "code", "file in a folder", "fewer files"],
)
def test_leftovers_of_other_inputs_are_dropped(change: Callable[[], object]):
    message_of(fail)
    (before,) = work_folders()
    change()
    message_of(fail)
    (after,) = work_folders()
    assert after != before
    assert (after / "visits").read_text() == "x"


def test_leftovers_survive_what_does_not_matter():
    message_of(fail)
    Path("params.yaml").write_text(PARAMS_YAML.replace("unused: 1", "unused: 5"))
    message_of(fail)
    (folder,) = work_folders()
    assert (folder / "visits").read_text() == "xx"


class Waiting:
    """A run of the stage in a thread, while somebody else holds its lock."""

    def __init__(self, stage: Callable[[DoubleParams, Path], None]) -> None:
        self.end: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(stage,), daemon=True)
        Path(".work").mkdir()
        self.lock = FileLock(".work/double.lock")
        self.lock.acquire()
        self.thread.start()
        time.sleep(0.3)

    def _run(self, stage: Callable[[DoubleParams, Path], None]) -> None:
        try:
            run_stage(load, stage)
        except BaseException as error:
            self.end = error

    def release(self) -> None:
        self.lock.release()
        self.thread.join(timeout=30)
        assert not self.thread.is_alive()


def test_second_run_waits(capsys: pytest.CaptureFixture[str]):
    second = Waiting(double)
    assert second.thread.is_alive()
    assert not Path("out.txt").exists()
    assert "double: waiting for another run" in capsys.readouterr().err
    second.release()
    assert second.end is None
    assert Path("out.txt").read_text() == "42"


def test_edit_while_waiting_counts_or_is_refused():
    """Old parameters with the new ones' fingerprint would be recorded as up to date for ever."""
    second = Waiting(double)
    Path("params.yaml").write_text(PARAMS_YAML.replace("factor: 2", "factor: 3"))
    second.release()
    if second.end is None:
        assert Path("out.txt").read_text() == "63"
    else:
        assert isinstance(second.end, SystemExit)
        assert "factor" in str(second.end.code)


def test_other_stages_do_not_wait():
    Path(".work").mkdir()
    with FileLock(".work/other.lock"):
        run_stage(load, double)
    assert Path("out.txt").read_text() == "42"


@pytest.mark.parametrize("name", ["input.txt", "double.py", "other.yaml", "dvc.yaml"])
def test_missing_file_is_one_sentence(name: str):
    Path(name).unlink()
    message = message_of(fail)
    assert message.startswith("double: ")
    assert name in message


def test_missing_folder_is_one_sentence(project: Path):
    for path in (project / "folder/deep/file.txt", project / "folder/file.txt"):
        path.unlink()
    (project / "folder/deep").rmdir()
    (project / "folder").rmdir()
    assert "folder" in message_of(fail)


def test_work_folder_that_cannot_be_made_is_one_sentence():
    """As in a read-only project."""
    Path(".work").write_text("a file")
    assert ".work" in message_of(fail)

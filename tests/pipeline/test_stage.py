"""Running a stage: its lock, its work folder, inputs that change, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from small_models import ROOT

from goldrm.common.errors import GoldrmError
from goldrm.common.params import RuntimeParams, Section, SharedRuntimeParams
from goldrm.common.workers import ALONE, Workers
from goldrm.pipeline import stage as stage_module
from goldrm.pipeline.snapshot import Snapshot
from goldrm.pipeline.stage import Run, run_stage
from goldrm.pipeline.stage_entry import StageEntry

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
      - stages/double.py
      - folder
      - "${data.url}"
    outs:
      - out.txt
  shared:
    cmd: python shared.py
    params:
      - runtime.device
      - runtime.threads
      - factor
  train:
    foreach: ${models}
    do:
      cmd: python train.py
      params:
        - factor
        - models.${key}
      deps:
        - "${data.source}"
        - data/${key}.txt
"""
PARAMS_YAML = """\
factor: 2
unused: 1
runtime: {device: cpu, threads: 1, processes: 1}
data:
  source: input.txt
  url: https://127.0.0.1:1/model.pkl
models:
  big: {size: 9}
  small: {size: 1}
"""


class DataParams(Section):
    """Of the section only what is declared."""

    source: str


class DoubleParams(Section):
    """What the stage `double` declares."""

    factor: int
    data: DataParams
    offset: int


def double(params: DoubleParams, run: Run) -> None:
    """A stage: number in, product out; in its folder it notes that it was there."""
    number = int(Path(params.data.source).read_text())
    with (run.work / "visits").open("a") as visits:
        visits.write("x")
    Path("out.txt").write_text(str(number * params.factor))


def stage_that(act: Callable[[Path], None]) -> Callable[[DoubleParams, Run], None]:
    """The stage `double`, which also does something else."""

    def acting(params: DoubleParams, run: Run) -> None:
        double(params, run)
        act(run.work)

    acting.__name__ = "double"
    return acting


def fail(_: Path) -> None:
    raise GoldrmError("the disk is full")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, in its root folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text(PARAMS_YAML)
    (tmp_path / "other.yaml").write_text("offset: 0\n")
    (tmp_path / "input.txt").write_text("21")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/double.py").write_text("# code")
    (tmp_path / ".dvcignore").write_text("*.pyc\n.DS_Store\n")
    # What a process that run.py started has; `now` in a stage's process is the same moment.
    monkeypatch.setattr(Snapshot, "of_this_process", lambda: Snapshot.now(tmp_path))
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/file.txt").write_text("deep")
    (tmp_path / "folder/file.txt").write_text("file")
    return tmp_path


def run(act: Callable[[Path], None] = lambda _: None) -> None:
    run_stage(DoubleParams, stage_that(act))


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
    run_stage(DoubleParams, double)
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
import time
from pathlib import Path
from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section
from goldrm.pipeline.stage import run_stage

class Params(Section):
    pass

def other(params, run):
    if Path("fails").exists():
        raise GoldrmError("the disk is full")
    Path("started").touch()
    time.sleep(60)

run_stage(Params, other)
"""


def started(script: str) -> subprocess.Popen[str]:
    """A stage in a process of its own, which Ctrl-C ends even where the tests ignore it."""
    Path("src").symlink_to(ROOT / "src")
    Path("stages/other.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, "-EP", "src/goldrm/pipeline/run.py", "stages/other.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_failed_process_has_status_1_and_no_traceback():
    Path("fails").touch()
    process = started(SCRIPT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (1, "", "other: the disk is full\n")


def test_ctrl_c_has_status_130_and_no_traceback():
    process = started(SCRIPT)
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
        (lambda: Path("stages/double.py").write_text("# other code"), "double.py"),
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
        lambda: Path("folder/deep/.DS_Store").write_bytes(b"x"),
        lambda: Path("stages/.#double.py").symlink_to("an editor's lock"),
    ],
    ids=[
        *("parameter of others", "comment", "file of others", "time stamp", "compiled code"),
        *("a system's file", "an editor's file"),
    ],
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


class OtherParams(Section):
    """The stage `other` declares none."""


def other(_: OtherParams, run: Run) -> None:
    """A stage that a later one follows."""
    with (run.work / "visits").open("a") as visits:
        visits.write("x")


def test_finished_work_stays_until_a_later_stage_starts():
    """DVC may be killed before it records the outputs; it then deletes them and runs it again."""
    run_stage(OtherParams, other)
    run_stage(OtherParams, other)
    (visits,) = Path(".work/other").glob("*/visits")
    assert visits.read_text() == "xx"
    run_stage(DoubleParams, double)
    assert list(Path(".work").glob("*/*")) == work_folders()


def test_finished_work_goes_though_a_kill_left_some_of_it(monkeypatch: pytest.MonkeyPatch):
    """Once the mark could go first, and no later stage took the rest for finished."""

    def cut_short(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        raise GoldrmError("killed")

    run_stage(OtherParams, other)
    (folder,) = Path(".work/other").iterdir()
    (folder / "train").mkdir()
    (folder / "train/chunk").touch()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", cut_short)
        message_of(lambda _: None)
    assert folder.exists()
    run()
    assert not folder.exists()


def test_unfinished_work_of_others_stays():
    message_of(fail)
    run_stage(OtherParams, other)
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
        lambda: Path("stages/double.py").write_text("# other code"),
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

    def __init__(self, stage: Callable[[DoubleParams, Run], None]) -> None:
        self.end: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(stage,), daemon=True)
        Path(".work").mkdir()
        self.lock = FileLock(".work/double.lock")
        self.lock.acquire()
        self.thread.start()
        time.sleep(0.3)

    def _run(self, stage: Callable[[DoubleParams, Run], None]) -> None:
        try:
            run_stage(DoubleParams, stage)
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
        run_stage(DoubleParams, double)
    assert Path("out.txt").read_text() == "42"


@pytest.mark.parametrize("name", ["input.txt", "stages/double.py", "other.yaml", "dvc.yaml"])
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


# What a stage reads


class Sized(Section):
    """An entry of `models`."""

    size: int


class TrainParams(Section):
    """What the stage `train` declares; of the models only its own."""

    factor: int
    models: dict[str, Sized]


class SharedParams(Section):
    """What the stage `shared` declares."""

    factor: int
    runtime: SharedRuntimeParams


def given_to(model: type[Section], name: str) -> tuple[Section, Run]:
    """What a stage of that name is given."""
    given: list[tuple[Section, Run]] = []

    def stage(params: Section, run: Run) -> None:
        given.append((params, run))

    stage.__name__ = name
    run_stage(model, stage)
    (params_and_run,) = given
    return params_and_run


def refused(model: type[Section], name: str) -> str:
    """What is said where a stage of that name doesn't begin."""
    with pytest.raises(SystemExit) as end:
        given_to(model, name)
    assert isinstance(end.value.code, str)
    assert "\n" not in end.value.code
    return end.value.code


def test_stage_gets_what_it_declares_of_both_files():
    params, run = given_to(DoubleParams, "double")
    assert params == DoubleParams(factor=2, data=DataParams(source="input.txt"), offset=0)
    assert (run.work.parent, run.workers) == (Path(".work/double"), ALONE)


class MoreParams(DoubleParams):
    """Also a parameter that params.yaml has, but the stage doesn't declare."""

    unused: int


class DataUrlParams(DataParams):
    """Also a part of the section that isn't declared."""

    url: str


class MoreDataParams(DoubleParams):
    """The same one section deeper."""

    data: DataUrlParams


class FewerParams(Section):
    """Without one that is declared."""

    factor: int
    data: DataParams


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (MoreParams, "unused is missing"),
        (MoreDataParams, "data.url is missing"),
        (FewerParams, "offset is not a parameter"),
    ],
)
def test_undeclared_parameters_are_not_handed_on(model: type[Section], sentence: str):
    assert f"double: params.yaml and other.yaml: {sentence}" in refused(model, "double")
    assert not Path(".work").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("factor: 2\n", "", "factor is missing"),
        ("factor: 2\n", "factor: two\n", "factor is 'two', it should be a valid integer"),
        ("  source: input.txt\n", "  sauce: input.txt\n", "data.source is missing"),
        ("  source: input.txt\n", "  source: null\n", "data.source is None, it should be"),
        (
            "data:\n  source: input.txt\n  url",
            "data: [input.txt]\nurl",
            "data is ['input.txt']",
        ),
        ("data:\n  source: input.txt\n  url", "url", "data is missing"),
    ],
)
def test_bad_parameter_is_one_sentence(old: str, new: str, sentence: str):
    Path("params.yaml").write_text(PARAMS_YAML.replace(old, new))
    assert sentence in refused(DoubleParams, "double")


def test_edit_to_what_no_parameter_can_be_is_one_sentence():
    message = message_of(lambda _: change_params("factor: 2", "factor: 2001-01-01"))
    assert "factor is datetime.date(2001, 1, 1), it should be a valid integer" in message


def change_params(old: str, new: str) -> None:
    Path("params.yaml").write_text(PARAMS_YAML.replace(old, new))


def here() -> Snapshot:
    return Snapshot.now(Path.cwd())


def test_entry_is_resolved_as_dvc_does():
    entry = StageEntry.named("double", here())
    assert entry.params == {"params.yaml": ["factor", "data.source"], "other.yaml": ["offset"]}
    url = "https://127.0.0.1:1/model.pkl"
    assert entry.deps == ["input.txt", "stages/double.py", "folder", url]
    assert entry.values(here()) == {"factor": 2, "data": {"source": "input.txt"}, "offset": 0}
    assert StageEntry.named("other", here()) == StageEntry(params={}, deps=["other.yaml"])


def test_entry_of_foreach_is_resolved():
    entry = StageEntry.named("train@small", here())
    assert entry.params == {"params.yaml": ["factor", "models.small"]}
    assert entry.deps == ["input.txt", "data/small.txt"]
    assert entry.values(here()) == {"factor": 2, "models": {"small": {"size": 1}}}


def test_stage_that_is_not_in_dvc_yaml_is_one_sentence():
    assert refused(OtherParams, "nothing") == (
        "nothing: dvc.yaml has no stage nothing. Restore it with `git checkout -- dvc.yaml`."
    )


# Stages that foreach makes


@pytest.fixture
def data() -> None:
    """The dependencies of the stage `train`."""
    Path("data").mkdir()
    for name in ("big", "small"):
        Path(f"data/{name}.txt").touch()


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("dvc_stage", "name", "size"),
    [
        ("train@big", "big", 9),
        ("train@small", "small", 1),
        ("sub/dvc.yaml:train@small", "small", 1),
    ],
)
def test_dvc_says_which_of_a_foreach_runs(
    monkeypatch: pytest.MonkeyPatch, dvc_stage: str, name: str, size: int
):
    monkeypatch.setenv("DVC_STAGE", dvc_stage)
    params, run = given_to(TrainParams, "train")
    assert params == TrainParams(factor=2, models={name: Sized(size=size)})
    assert run.work.parent == Path(f".work/train@{name}")
    assert f'"train@{name}": "torch ' in Path("environment.json").read_text()


@pytest.mark.parametrize("dvc_stage", ["other", "dvc.yaml:other", "doubled@big", "train@big", ""])
def test_dvc_stage_of_another_stage_is_ignored(monkeypatch: pytest.MonkeyPatch, dvc_stage: str):
    """As where a stage's script runs a program that runs another stage's script."""
    monkeypatch.setenv("DVC_STAGE", dvc_stage)
    run()
    assert len(work_folders()) == 1


@pytest.mark.parametrize("dvc_stage", ["", "other", "train", "train@", "train@huge"])
def test_unknown_key_is_one_sentence_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, dvc_stage: str
):
    monkeypatch.setenv("DVC_STAGE", dvc_stage)
    sentence = refused(TrainParams, "train")
    assert "there is one train for each of params.yaml's models (big, small)" in sentence
    assert "run `dvc repro train@big`" in sentence


@pytest.mark.parametrize("models", ["models: {}", "models: 3", "models: null", "others: 3"])
def test_without_keys_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, models: str):
    monkeypatch.setenv("DVC_STAGE", "train@big")
    Path("params.yaml").write_text(PARAMS_YAML.partition("models:")[0] + models)
    assert "for each of params.yaml's models (none)" in refused(TrainParams, "train")


@pytest.mark.usefixtures("data")
def test_stages_of_a_foreach_keep_off_each_others_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_STAGE", "train@big")
    _, big = given_to(TrainParams, "train")
    monkeypatch.setenv("DVC_STAGE", "train@small")
    with FileLock(".work/train@big.lock"):
        _, small = given_to(TrainParams, "train")
    assert (big.work / "done").exists()
    assert (small.work / "done").exists()
    change_params("size: 9", "size: 8")  # of the other's model only
    assert given_to(TrainParams, "train")[1].work == small.work
    monkeypatch.setenv("DVC_STAGE", "train@big")
    assert given_to(TrainParams, "train")[1].work != big.work
    assert not big.work.exists()


# Processes that share a stage


def test_number_of_processes_is_handed_on_but_counts_for_nothing(monkeypatch: pytest.MonkeyPatch):
    """A lock and unfinished work that were made with another number hold."""
    wanted: list[int] = []
    monkeypatch.setattr(stage_module, "launch", wanted.append)  # which doesn't return
    folders: set[Path] = set()
    for processes in (1, 2, 7):
        change_params("processes: 1", f"processes: {processes}")
        params, run = given_to(SharedParams, "shared")
        runtime = SharedRuntimeParams(device="cpu", threads=1, processes=processes)
        assert params == SharedParams(factor=2, runtime=runtime)
        folders.add(run.work)
    assert wanted == [2, 7]
    assert len(folders) == 1
    entry = StageEntry.named("shared", here())
    inputs = entry.inputs(entry.values(here()), here())
    assert not [name for name in inputs if "processes" in name]
    change_params("threads: 1", "threads: 2")
    assert given_to(SharedParams, "shared")[1].work not in folders


def test_number_of_processes_is_asked_for_only_where_the_stage_shares():
    change_params(", processes: 1", "")
    assert "runtime.processes is missing" in refused(SharedParams, "shared")

    class AloneParams(Section):
        factor: int
        runtime: RuntimeParams

    given_to(AloneParams, "shared")


class Follower(Workers):
    """A process that another one leads, which has read other parameters than this one."""

    is_leader = False
    told = (SharedParams.model_construct(factor=5), Path("folder of the leader"))

    def broadcast(self, value: object) -> object:
        return value or self.told  # of the project, where the leader's is the same, both have one


def test_followers_get_parameters_and_folder_from_the_leader(monkeypatch: pytest.MonkeyPatch):
    """Only its DVC_STAGE need say which of a foreach it is; and it alone holds the lock."""
    follower = Follower()
    monkeypatch.setattr(stage_module, "join", lambda: follower)
    assert given_to(SharedParams, "shared") == (follower.told[0], Run(follower.told[1], follower))
    assert not Path(".work").exists()
    assert not Path("environment.json").exists()


def test_stage_that_is_not_run_from_a_snapshot_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    """As by `python stages/double.py`, with whatever is installed as goldrm."""
    monkeypatch.undo()
    sentence = refused(DoubleParams, "double")
    assert f"its code is taken from {ROOT / 'src'}, whatever folder it runs in" in sentence


SHARED_SCRIPT = """\
import os
from pathlib import Path
from goldrm.common.params import Section, SharedRuntimeParams
from goldrm.pipeline.stage import run_stage

class Params(Section):
    factor: int
    runtime: SharedRuntimeParams

def shared(params, run):
    squares = run.workers.map_to_all(range(3), lambda n: n * n * params.factor)
    Path(f"{os.environ['RANK']}.txt").write_text(f"{run.work} {params} {squares}")

run_stage(Params, shared)
"""


def test_processes_of_a_script_share_a_stage():
    change_params("processes: 1", "processes: 2")
    process = started(SHARED_SCRIPT)
    assert (*process.communicate(), process.returncode) == ("", "", 0)
    first, second = (Path(f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert first.endswith(
        "factor=2 runtime=SharedRuntimeParams(device='cpu', threads=1, processes=2) [0, 2, 8]"
    )
    (folder,) = Path(".work/shared").iterdir()
    assert first.startswith(f"{folder} ")
    assert (folder / "done").exists()

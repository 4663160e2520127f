"""Runs a DVC stage: one at a time, on inputs that hold still, resumable, errors as sentences.

What a stage reads is taken from its entry in dvc.yaml (`stage_entry.py`), so it is said there only.
Code and parameters are those of the snapshot that its process runs (`run.py`).
"""

import gc
import hashlib
import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section, checked
from goldrm.common.workers import ALONE, Workers, join, launch
from goldrm.pipeline import environment
from goldrm.pipeline.recorded import refuse_damaged
from goldrm.pipeline.snapshot import Snapshot
from goldrm.pipeline.stage_entry import StageEntry, stage_names

WORK = Path(".work")  # for what an interrupted stage goes on with; neither Git nor DVC sees it
DONE = "done"  # a file that marks the work folder of a stage that has ended well
P = TypeVar("P", bound=Section)


@dataclass(frozen=True)
class Run:
    """What a stage is given besides its parameters.

    Attributes:
        work: a folder of its own, in which it finds what an interrupted run with the same inputs,
            parameters and code left.
        workers: the processes that share its work.
    """

    work: Path
    workers: Workers


def run_stage(params: type[P], stage: Callable[[P, Run], None]) -> None:
    """Run a stage as its process's whole job and exit with status 1 on what the user can mend.

    Args:
        params: the sections that the stage reads: what its entry in dvc.yaml declares.
        stage: the work, named as in dvc.yaml. It writes its outputs last, in the leading process
            only.
    """
    gc.freeze()  # what was imported stays: nobody need look through it again and again
    gc.enable()
    name, workers = _name(stage.__name__), ALONE
    try:
        workers = join()
        _run(name, params, stage, workers)
    except GoldrmError as error:
        workers.let_first_fail()
        sys.exit(f"{name}: {error}")
    except Exception:
        workers.let_first_fail()
        raise
    except KeyboardInterrupt:
        print(f"{name}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


def _name(script: str) -> str:
    """The stage's name: of train_rm there is one a recipe, and DVC says which it runs."""
    named = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    return named if named.partition("@")[0] == script else script


def _run(name: str, model: type[P], stage: Callable[[P, Run], None], workers: Workers) -> None:
    snapshot = Snapshot.of_this_process()
    _refuse_other_project(snapshot, workers)
    if not workers.is_leader:
        params, folder = workers.broadcast(None)
        stage(params, Run(folder, workers))
        return
    entry = StageEntry.named(name, snapshot)
    values, params = _read(entry, model, snapshot)
    processes = values.get("runtime", {}).get("processes", 1)
    if workers is ALONE and processes > 1:
        launch(processes)
    inputs = entry.inputs(values, snapshot)
    refuse_damaged(entry.paths())
    try:
        WORK.mkdir(exist_ok=True)
    except OSError as error:
        raise GoldrmError(
            f"{WORK} can't be made: {error.strerror}. Allow writing in this folder."
        ) from None
    with _alone(name):
        params, folder = workers.broadcast((params, _folder(name, inputs, snapshot)))
        stage(params, Run(folder, workers))
        now = Snapshot.now(snapshot.root)
        inputs_now = entry.inputs(_read(entry, model, now)[0], now)
        changed = sorted(dict(inputs.items() ^ inputs_now.items()))
        if changed:
            raise GoldrmError(
                f"{', '.join(changed)} changed while the stage ran, so its outputs belong to "
                "neither state. Run `dvc repro` again."
            )
        environment.record(name, stage_names(now))
        (folder / DONE).touch()


def _refuse_other_project(snapshot: Snapshot, workers: Workers) -> None:
    """On another machine than the leader's there may be another clone."""
    own = {**snapshot.files, "PyTorch": torch.__version__, "Python": platform.python_version()}
    other = sorted(dict(own.items() ^ workers.broadcast(own).items()))
    if other:
        raise GoldrmError(
            f"on {socket.gethostname()} another {other[0]} is at work than where the leading "
            "process runs. Have the same project, PyTorch and Python on all machines."
        )


def _read(entry: StageEntry, model: type[P], snapshot: Snapshot) -> tuple[dict[str, Any], P]:
    """The declared parameters, as the files have them and as the stage gets them."""
    values = entry.values(snapshot)
    return values, checked(model, values, Path(entry.params_files()))


def _alone(name: str) -> AbstractContextManager[Any]:
    """Hold the stage's lock: where `dvc` alone was killed, its stage is still at work."""
    lock = FileLock(WORK / f"{name}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{name}: waiting for another run of this stage to end", file=sys.stderr)
        return lock.acquire()


def _folder(name: str, inputs: dict[str, str], snapshot: Snapshot) -> Path:
    """The stage's folder, after dropping what nobody will go on with.

    A finished stage's folder stays until a later stage starts: only then is it sure that DVC has
    recorded the outputs. Killed in between, DVC deletes them and runs the stage again. The last
    stage's stays until its inputs change.
    """
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    folder = WORK / name / fingerprint
    stages = [stage.partition("@")[0] for stage in stage_names(snapshot)]
    earlier = stages[: stages.index(name.partition("@")[0])]
    for other in WORK.glob("*/*"):
        finished = other.parent.name.partition("@")[0] in earlier and (other / DONE).exists()
        if finished or (other.parent.name == name and other != folder):
            _remove(other)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    return folder


def _remove(folder: Path) -> None:
    """Remove a stage's folder, its mark last: what a kill leaves of it goes the next time."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != DONE:
            path.unlink()
    shutil.rmtree(folder)

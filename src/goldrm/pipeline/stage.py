"""Runs a DVC stage: one at a time, on inputs that hold still, resumable, errors as sentences.

What a stage reads is taken from its entry in dvc.yaml (`stage_entry.py`), so it is said there only.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section, checked
from goldrm.common.workers import Workers, join_or_launch
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline import environment
from goldrm.pipeline.stage_entry import StageEntry

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
    name = _name(stage.__name__)
    try:
        _run(name, params, stage)
    except GoldrmError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


def _name(script: str) -> str:
    """The stage's name: of train_rm there is one a recipe, and DVC says which it runs."""
    named = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    return named if named.partition("@")[0] == script else script


def _run(name: str, model: type[P], stage: Callable[[P, Run], None]) -> None:
    entry = StageEntry.named(name)
    values, params = _read(entry, model)
    workers = join_or_launch(values.get("runtime", {}).get("processes", 1))
    if not workers.is_leader:
        params, folder = workers.broadcast(None)
        stage(params, Run(folder, workers))
        return
    inputs = entry.inputs(values)
    try:
        WORK.mkdir(exist_ok=True)
    except OSError as error:
        raise GoldrmError(
            f"{WORK} can't be made: {error.strerror}. Allow writing in this folder."
        ) from None
    with _alone(name):
        params, folder = workers.broadcast((params, _folder(name, inputs)))
        stage(params, Run(folder, workers))
        changed = sorted(dict(inputs.items() ^ entry.inputs(_read(entry, model)[0]).items()))
        if changed:
            raise GoldrmError(
                f"{', '.join(changed)} changed while the stage ran, so its outputs belong to "
                "neither state. Run `dvc repro` again."
            )
        environment.record(name)
        (folder / DONE).touch()


def _read(entry: StageEntry, model: type[P]) -> tuple[dict[str, Any], P]:
    """The declared parameters, as the files have them and as the stage gets them."""
    values = entry.values()
    return values, checked(model, values, Path(entry.params_files()))


def _alone(name: str) -> AbstractContextManager[Any]:
    """Hold the stage's lock: where `dvc` alone was killed, its stage is still at work."""
    lock = FileLock(WORK / f"{name}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{name}: waiting for another run of this stage to end", file=sys.stderr)
        return lock.acquire()


def _folder(name: str, inputs: dict[str, str]) -> Path:
    """The stage's folder, after dropping what nobody will go on with.

    A finished stage's folder stays until a later stage starts: only then is it sure that DVC has
    recorded the outputs. Killed in between, DVC deletes them and runs the stage again. The last
    stage's stays until its inputs change.
    """
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    folder = WORK / name / fingerprint
    stages = list(read_yaml(Path("dvc.yaml"))["stages"])
    earlier = stages[: stages.index(name.partition("@")[0])]
    for other in WORK.glob("*/*"):
        finished = other.parent.name.partition("@")[0] in earlier and (other / DONE).exists()
        if finished or (other.parent.name == name and other != folder):
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    return folder

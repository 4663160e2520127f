"""Runs a DVC stage: one at a time, on inputs that hold still, resumable, errors as sentences.

What a stage reads is taken from its entry in dvc.yaml, so it is said in one place only. It must
not know what a stage does.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from goldrm import distributed, environment
from goldrm.config import Section, read_yaml
from goldrm.errors import GoldrmError

WORK = Path(".work")  # for what an interrupted stage goes on with; neither Git nor DVC sees it
DONE = "done"  # a file that marks the work folder of a stage that has ended well
P = TypeVar("P", bound=Section)


def run_stage(
    load: Callable[[], P],
    work: Callable[[P, Path], None],
    processes: Callable[[P], int] = lambda _: 1,
) -> None:
    """Run a stage as its process's whole job and exit with status 1 on what the user can mend.

    Args:
        load: reads and checks the parameters.
        work: the stage, named as in dvc.yaml. It is given the parameters and a folder of its own,
            in which it finds what an interrupted run with the same inputs, parameters and code
            left. It writes its outputs last, in the leading process only.
        processes: how many processes share the work, by the parameters.
    """
    try:
        _run(load, work, processes)
    except GoldrmError as error:
        sys.exit(f"{work.__name__}: {error}")
    except KeyboardInterrupt:
        print(f"{work.__name__}: interrupted; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)


def _run(
    load: Callable[[], P], work: Callable[[P, Path], None], processes: Callable[[P], int]
) -> None:
    name = work.__name__
    params = load()  # bad parameters end here, in a sentence, before they are looked up by name
    distributed.launch(processes(params))
    if not distributed.leads():
        work(params, distributed.agreed(None))
        return
    inputs = _inputs(name)
    params = load()  # again, after the fingerprint: an edit in between will be noticed
    try:
        WORK.mkdir(exist_ok=True)
    except OSError as error:
        raise GoldrmError(
            f"{WORK} can't be made: {error.strerror}. Allow writing in this folder."
        ) from None
    with _alone(name):
        folder = distributed.agreed(_folder(name, inputs))
        work(params, folder)
        changed = sorted(dict(inputs.items() ^ _inputs(name).items()))
        if changed:
            raise GoldrmError(
                f"{', '.join(changed)} changed while the stage ran, so its outputs belong to "
                "neither state. Run `dvc repro` again."
            )
        environment.record(name)
        (folder / DONE).touch()


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
    earlier = _stages()[: _stages().index(name)]
    for other in WORK.glob("*/*"):
        finished = other.parent.name in earlier and (other / DONE).exists()
        if finished or (other.parent.name == name and other != folder):
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    return folder


def _stages() -> list[str]:
    return list(read_yaml(Path("dvc.yaml"))["stages"])


def _inputs(name: str) -> dict[str, str]:
    """Everything that the stage's outcome depends on: what it is → its value or hash."""
    stage = read_yaml(Path("dvc.yaml"))["stages"][name]
    root_params = read_yaml(Path("params.yaml"))
    inputs = {"torch": torch.__version__, "python": platform.python_version()}
    for entry in stage.get("params", []):
        for file, names in entry.items() if isinstance(entry, dict) else [("params.yaml", [entry])]:
            values = read_yaml(Path(file))
            inputs |= {f"{file}: {key}": json.dumps(_at(values, key)) for key in names}
    for template in stage.get("deps", []):
        path = re.sub(r"\${(.+?)}", lambda found: _at(root_params, found[1]), template)
        if "://" not in path:
            inputs |= {str(file): _hash(file) for file in _files(Path(path))}
    return inputs


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from sorted(Path(folder) / name for name in names if not name.endswith(".pyc"))
    else:
        yield path


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise GoldrmError(f"{path} can't be read: {error.strerror}. Restore it.") from None

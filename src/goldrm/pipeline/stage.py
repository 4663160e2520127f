"""Runs a DVC stage: one at a time, on inputs that hold still, resumable, errors as sentences.

What a stage reads is taken from its entry in dvc.yaml, so it is said there only.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from goldrm.common.errors import GoldrmError
from goldrm.common.params import Section, checked
from goldrm.common.workers import Workers, join_or_launch
from goldrm.common.yaml_file import read_yaml
from goldrm.pipeline import environment

WORK = Path(".work")  # for what an interrupted stage goes on with; neither Git nor DVC sees it
DONE = "done"  # a file that marks the work folder of a stage that has ended well
UNRECORDED = "runtime.processes"  # changes no byte, so a stage reads it without declaring it
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


@dataclass(frozen=True)
class StageEntry:
    """A stage's entry in dvc.yaml: what it says that the stage depends on.

    Attributes:
        params: file → names of parameters, such as params.yaml → seed, runtime.device.
        deps: paths and URLs.
    """

    params: dict[str, list[str]]
    deps: list[str]

    @classmethod
    def named(cls, name: str) -> "StageEntry":
        """The entry of a stage, `train_rm@notebook` being one of those that `foreach` makes.

        Raises:
            GoldrmError: when dvc.yaml has no such stage.
        """
        script, _, key = name.partition("@")
        entry = _at(read_yaml(Path("dvc.yaml")), f"stages.{script}")
        if not isinstance(entry, dict):
            raise GoldrmError(
                f"dvc.yaml has no stage {script}. Restore it with `git checkout -- dvc.yaml`."
            )
        params = read_yaml(Path("params.yaml"))
        if "foreach" in entry:
            section = entry["foreach"].strip("${}")
            entries = _at(params, section)
            keys = list(map(str, entries)) if isinstance(entries, dict) else []
            if key not in keys:
                raise GoldrmError(
                    f"there is one {script} for each of params.yaml's {section} "
                    f"({', '.join(keys) or 'none'}): run "
                    f"`dvc repro {script}@{next(iter(keys), 'NAME')}`, or set DVC_STAGE to that."
                )
            entry, params = entry["do"], {**params, "key": key}

        def resolved(template: str) -> str:
            return re.sub(r"\${(.+?)}", lambda found: str(_at(params, found[1])), template)

        declared: dict[str, list[str]] = {}
        for item in entry.get("params", []):
            named = item if isinstance(item, dict) else {"params.yaml": [item]}
            for file, names in named.items():
                declared.setdefault(file, []).extend(map(resolved, names))
        return cls(declared, [resolved(dep) for dep in entry.get("deps", [])])

    def params_files(self) -> str:
        """The files that hold its parameters, for messages."""
        return " and ".join(self.params) or "params.yaml"

    def values(self) -> dict[str, Any]:
        """The declared parameters, and no others, as sections in sections.

        Raises:
            GoldrmError: when a file can't be read.
        """
        values: dict[str, Any] = {}
        for file, names in self.params.items():
            content = read_yaml(Path(file))
            runtime = any(name.startswith("runtime") for name in names)
            for name in [*names, *([UNRECORDED] if runtime else [])]:
                _copy(name, content, values)
        return values

    def inputs(self, values: dict[str, Any]) -> dict[str, str]:
        """Everything that the stage's outcome depends on: what it is → its value or hash.

        Args:
            values: of the declared parameters.

        Raises:
            GoldrmError: when a file can't be read.
        """
        inputs = {"torch": torch.__version__, "python": platform.python_version()}
        for file, names in self.params.items():
            inputs |= {f"{file}: {name}": json.dumps(_at(values, name)) for name in names}
        for path in self.deps:
            if "://" not in path:
                inputs |= {str(file): _hash(file) for file in _files(Path(path))}
        return inputs


def _read(entry: StageEntry, model: type[P]) -> tuple[dict[str, Any], P]:
    """The declared parameters, as the files have them and as the stage gets them."""
    values = entry.values()
    return values, checked(model, values, Path(entry.params_files()))


def _at(values: dict[str, Any], name: str) -> Any:
    """What stands under a dotted name; None where nothing does."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _copy(name: str, content: dict[str, Any], values: dict[str, Any]) -> None:
    """Copy what stands under a dotted name, with the sections around it."""
    part, _, rest = name.partition(".")
    if part not in content:
        return
    if rest and isinstance(content[part], dict):
        _copy(rest, content[part], values.setdefault(part, {}))
    else:
        values[part] = content[part]


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

"""What a stage's entry in dvc.yaml says that the stage depends on, and what that is just now."""

import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from goldrm.common.errors import GoldrmError
from goldrm.pipeline.snapshot import Snapshot

UNRECORDED = "runtime.processes"  # changes no byte, so a stage reads it without declaring it


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
    def named(cls, name: str, snapshot: Snapshot) -> "StageEntry":
        """The entry of a stage, `train_rm@notebook` being one of those that `foreach` makes.

        Raises:
            GoldrmError: when dvc.yaml has no such stage.
        """
        script, _, key = name.partition("@")
        entry = _at(snapshot.read_yaml(Path("dvc.yaml")), f"stages.{script}")
        if not isinstance(entry, dict):
            raise GoldrmError(
                f"dvc.yaml has no stage {script}. Restore it with `git checkout -- dvc.yaml`."
            )
        params = snapshot.read_yaml(Path("params.yaml"))
        if "foreach" in entry:
            _refuse_unknown_key(script, key, entry["foreach"], params)
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

    def values(self, snapshot: Snapshot) -> dict[str, Any]:
        """The declared parameters, and no others, as sections in sections.

        Raises:
            GoldrmError: when a file can't be read.
        """
        values: dict[str, Any] = {}
        for file, names in self.params.items():
            content = snapshot.read_yaml(Path(file))
            runtime = any(name.startswith("runtime") for name in names)
            for name in [*names, *([UNRECORDED] if runtime else [])]:
                _copy(name, content, values)
        return values

    def paths(self) -> list[Path]:
        """The files and folders that it depends on."""
        return [Path(dep) for dep in self.deps if "://" not in dep]

    def inputs(self, values: dict[str, Any], snapshot: Snapshot) -> dict[str, str]:
        """Everything that the stage's outcome depends on: what it is → its value or hash.

        Args:
            values: of the declared parameters.
            snapshot: the code that it runs.

        Raises:
            GoldrmError: when a file can't be read.
        """
        inputs = {"torch": torch.__version__, "python": platform.python_version()}
        for file, names in self.params.items():
            inputs |= {f"{file}: {name}": json.dumps(_at(values, name)) for name in names}
        for path in self.paths():
            inputs |= snapshot.hashes(path)
        return inputs


def stage_names(snapshot: Snapshot) -> list[str]:
    """All stages of dvc.yaml in its order, those that `foreach` makes each by its own name."""
    params = snapshot.read_yaml(Path("params.yaml"))
    names: list[str] = []
    for name, entry in snapshot.read_yaml(Path("dvc.yaml"))["stages"].items():
        keys = _keys(entry["foreach"], params) if "foreach" in entry else []
        names += [f"{name}@{key}" for key in keys] if "foreach" in entry else [name]
    return names


def _keys(foreach: str, params: dict[str, Any]) -> list[str]:
    entries = _at(params, foreach.strip("${}"))
    return list(map(str, entries)) if isinstance(entries, dict) else []


def _refuse_unknown_key(script: str, key: str, foreach: str, params: dict[str, Any]) -> None:
    section, keys = foreach.strip("${}"), _keys(foreach, params)
    if key not in keys:
        raise GoldrmError(
            f"there is one {script} for each of params.yaml's {section} "
            f"({', '.join(keys) or 'none'}): run "
            f"`dvc repro {script}@{next(iter(keys), 'NAME')}`, or set DVC_STAGE to that."
        )


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

"""What a stage's entry in dvc.yaml says that the stage depends on, and what that is just now."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import read_yaml

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
            _refuse_unknown_key(script, key, entry["foreach"].strip("${}"), params)
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


def _refuse_unknown_key(script: str, key: str, section: str, params: dict[str, Any]) -> None:
    entries = _at(params, section)
    keys = list(map(str, entries)) if isinstance(entries, dict) else []
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

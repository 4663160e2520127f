"""Damage of what stages made: it shows against the hashes that DVC recorded in dvc.lock.

DVC itself doesn't look again at a file whose size and time are as they were.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from goldrm.common.errors import GoldrmError
from goldrm.common.yaml_file import parse_yaml
from goldrm.pipeline.hashes import folder_md5, hashes_of, md5

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # where PyYAML was built without its parser in C
    from yaml import SafeLoader

LOCK = Path("dvc.lock")
LOCK_BYTES = 10_000_000  # it grows with the recipes, and DVC writes it


def refuse_damaged(paths: Iterable[Path]) -> None:
    """Refuse files and folders that aren't what dvc.lock recorded of the stage that made them.

    Whatever dvc.lock doesn't know is accepted, and what is missing: who reads it says so.

    Args:
        paths: what is to be read, from the project's root folder.

    Raises:
        GoldrmError: names the file.
    """
    wanted = list(paths)
    try:
        outs = _outs(LOCK.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        raise GoldrmError(f"{LOCK} can't be read: {error.strerror}. Restore it.") from None
    for stage, out, recorded in outs:
        if out.exists() and any(_overlap(out, path) for path in wanted):
            damaged = _damaged(out, recorded)
            if damaged:
                raise GoldrmError(
                    f"{damaged[0]} isn't what dvc.lock recorded of {stage}: it is damaged, or "
                    f"{stage} was run by hand. Delete {' and '.join(map(str, damaged))} and run "
                    "`dvc repro`, which makes or restores it; or, if it is right, run "
                    f"`dvc commit --force {stage}`."
                )


@lru_cache(maxsize=1)
def stages_in(lock: bytes) -> dict[str, Any]:
    """What a dvc.lock says of each stage.

    DVC has written it, and it is long, so PyYAML reads it, in C: in a tenth of the time.

    Raises:
        GoldrmError: when it isn't YAML.
    """
    return parse_yaml(lock, LOCK, LOCK_BYTES, _load).get("stages", {})


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(error) from None


@lru_cache(maxsize=1)
def _outs(lock: bytes) -> list[tuple[str, Path, str]]:
    """Stage, path and hash of all that stages have made."""
    return [
        (stage, Path(out["path"]), out["md5"])
        for stage, entry in stages_in(lock).items()
        for out in entry.get("outs", [])
        if "md5" in out
    ]


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents


def _damaged(out: Path, recorded: str) -> list[Path]:
    """What is damaged: nothing, or a file and what DVC would restore it from, if that is, too."""
    found = hashes_of(out, Path())
    if not out.is_dir():
        whole = found == {out.as_posix(): recorded}
        return [] if whole else [out, *_damaged_copies(recorded)]
    below = {Path(file).relative_to(out).as_posix(): hash for file, hash in found.items()}
    if folder_md5(below) == recorded:
        return []
    copies = _damaged_copies(recorded)
    listed = {} if copies else _listed(recorded)
    for file, expected in listed.items():
        if below.get(file, expected) != expected:
            return [out / file, *_damaged_copies(expected)]
    return [out, *copies]  # it can't be told which of its files, or there are others


def _damaged_copies(recorded: str) -> list[Path]:
    """The copy of a hash in DVC's cache, which DVC believes unseen; none where it is whole."""
    copy = _cached(recorded)
    whole = not copy.is_file() or md5(copy.read_bytes()) == recorded.removesuffix(".dir")
    return [] if whole else [copy]


def _listed(recorded: str) -> dict[str, str]:
    """Path → hash of a folder's files, as DVC's cache has them; empty where it hasn't."""
    copy = _cached(recorded)
    listed = json.loads(copy.read_bytes()) if copy.is_file() else []
    return {file["relpath"]: file["md5"] for file in listed}


def _cached(recorded: str) -> Path:
    command = [sys.executable, "-P", "-m", "dvc", "cache", "dir"]
    told = subprocess.run(command, text=True, capture_output=True, check=False).stdout.strip()
    return Path(os.path.relpath(told or ".dvc/cache"), "files/md5", recorded[:2], recorded[2:])

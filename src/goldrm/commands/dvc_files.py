"""DVC's own files, where DVC was ended while it wrote them: from then on it refuses them."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from dvc.lock import LockError, make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from goldrm.common.errors import GoldrmError

# Of what is up to date; without it DVC finds finished stages in its cache.
LOCK = Path("dvc.lock")
UPSTREAM_LOCK = Path("upstream/dvc.lock")
IN_USE = Path(".dvc/tmp") / RWLOCK_FILE  # who reads and writes what; empty where nobody does
CONFLICT = re.compile(rb"^<{7}( |$)", re.MULTILINE)


def put_damaged_aside() -> list[str]:
    """Rename the files that DVC would refuse; return a sentence on each.

    Raises:
        GoldrmError: when a file is in a merge conflict, or can't be read or renamed.
    """
    notes = [
        _put_aside(LOCK, _check_lock, "`dvc repro` writes it again; finished stages are cached."),
        _put_aside(UPSTREAM_LOCK, _check_lock, f"`git checkout -- {UPSTREAM_LOCK}` restores it."),
    ]
    if IN_USE.exists():
        with (
            suppress(LockError),  # a living DVC is writing it
            make_lock(str(IN_USE.with_name(RWLOCK_LOCK)), tmp_dir=str(IN_USE.parent)),
        ):
            notes.append(_put_aside(IN_USE, _check_in_use, "DVC writes it again."))
    return [note for note in notes if note is not None]


def _put_aside(path: Path, check: Callable[[bytes], Any], remedy: str) -> str | None:
    try:
        content = path.read_bytes()
        if CONFLICT.search(content):
            raise GoldrmError(
                f"{path} is in a merge conflict. Run `git checkout HEAD -- {path}`, which takes "
                "one side's, and then `dvc repro`, which makes what that side lacks."
            )
        check(content)
    except FileNotFoundError:
        return None
    except (Invalid, ValueError, YAMLError, RecursionError):
        return f"{path} was cut short, so it is now {_renamed(path)}. {remedy}"
    except OSError as error:
        raise GoldrmError(f"{path} can't be read: {error.strerror}. Restore it.") from None
    return None


def _renamed(path: Path) -> Path:
    """Give a file a name that isn't taken."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    target = next(name for name in names if not name.exists())
    try:
        return path.rename(target)
    except OSError as error:
        raise GoldrmError(
            f"{path} was cut short and can't be renamed: {error.strerror}. Allow writing there."
        ) from None


def _check_lock(content: bytes) -> None:
    COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(content.decode()) or {})


def _check_in_use(content: bytes) -> None:
    RWLOCK_SCHEMA(json.loads(content))

"""DVC's own files, where DVC was ended while it wrote them: from then on it refuses them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvc.lock import LockError, make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

LOCK = Path("dvc.lock")  # of what is up to date; DVC finds finished stages in its cache without it
IN_USE = Path(".dvc/tmp") / RWLOCK_FILE  # who reads and writes what; empty where nobody does


def remove_damaged() -> list[Path]:
    """Remove the files that DVC would refuse, without a loss; return which these were."""
    removed = [LOCK] if _removed(LOCK, _check_lock) else []
    if IN_USE.exists():
        try:
            with make_lock(str(IN_USE.with_name(RWLOCK_LOCK)), tmp_dir=str(IN_USE.parent)):
                removed += [IN_USE] if _removed(IN_USE, _check_in_use) else []
        except LockError:  # a living DVC is writing it
            pass
    return removed


def _removed(path: Path, check: Callable[[bytes], Any]) -> bool:
    if not path.exists():
        return False
    try:
        check(path.read_bytes())
    except (Invalid, ValueError, YAMLError):
        path.unlink()
        return True
    return False


def _check_lock(content: bytes) -> None:
    COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(content.decode()) or {})


def _check_in_use(content: bytes) -> None:
    RWLOCK_SCHEMA(json.loads(content))

"""dvc.lock where DVC was ended while it wrote it: DVC refuses such a file, without a remedy."""

from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

LOCK = Path("dvc.lock")


def mend() -> bool:
    """Remove dvc.lock where DVC would refuse it, and say whether it did.

    No work is lost: DVC finds finished stages in its cache by what went into them.
    """
    if not LOCK.exists():
        return False
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(LOCK.read_bytes()) or {})
    except (Invalid, yaml.YAMLError):
        LOCK.unlink()
        return True
    return False

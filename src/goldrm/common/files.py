"""Files that appear whole or not at all, and JSON that tells whether it is as it was written."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from goldrm.common.errors import GoldrmError

CHECKSUM_KEY = "checksum"  # in JSON that is read again, of all that stands before it


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves the old one or the new one, never a part.

    Not for two processes that write one file at once: a stage's lock keeps the second one waiting.

    Raises:
        GoldrmError: when it can't be written.
    """
    # One name, not a random one: what a SIGKILL leaves behind goes when the file is written again.
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> GoldrmError:
    """What to say when a file can't be written."""
    return GoldrmError(
        f"{path} can't be written: {error.strerror}. Make room or allow writing there, "
        "then run again; finished work is kept."
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, one key a line, in its order; raises like `write_atomic`."""
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON for `read_checked_json`; raises like `write_atomic`."""
    write_json(path, {**content, CHECKSUM_KEY: _checksum(content)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """What `write_checked_json` wrote.

    Raises:
        GoldrmError: when it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop(CHECKSUM_KEY) != _checksum(content):
            raise ValueError
        return content
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise GoldrmError(f"{path} is damaged. Delete it; `dvc repro` makes it again.") from None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_text(path: Path, max_bytes: int) -> str:
    """A text file of somebody else, which may be of any size.

    Raises:
        OSError: when it can't be read.
        ValueError: when it has more bytes than that, or isn't UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return content.decode()

"""Files that appear whole or not at all."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from goldrm.common.errors import GoldrmError


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

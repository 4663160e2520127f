"""Copies a file from a path or URL, and checks the copy before anyone opens it."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import fsspec

from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar

CONNECT_SECONDS = 20  # to reach a server
READ_SECONDS = 60  # that a server may keep silent
PART_BYTES = 1 << 20  # that are read at a time


def fetch(source: str, sha256: str | None, copy: Path, read_seconds: float = READ_SECONDS) -> str:
    """Copy a file and return its sha256.

    Even a local file is copied, so that what is read later is what was checked.

    Args:
        source: a path, or an http, https or s3 URL.
        sha256: what the file's must be, 64 hex digits; None: anything.
        copy: where to put the copy.
        read_seconds: how long a server may keep silent.

    Raises:
        GoldrmError: when the source can't be read to its end, isn't the pinned file, or the copy
            can't be written.
    """
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copied_sha256 = _copy(_read_parts(source, read_seconds), copy)
    except OSError as error:  # of the copy: those of the source are sentences already
        with suppress(OSError):
            copy.unlink()
        raise GoldrmError(
            f"{source} can't be copied to {copy}: {error.strerror}. Make room or allow writing "
            "there, then run again."
        ) from None
    if sha256 is not None and copied_sha256 != sha256:
        copy.unlink()
        raise GoldrmError(
            f"{source} has sha256 {copied_sha256}, but sft.sha256 pins {sha256}. It was not "
            "opened. Get the right file; or, if you trust this one, set sft.sha256 to its own, or "
            "to null."
        )
    return copied_sha256


def _copy(parts: Iterator[bytes], copy: Path) -> str:
    """Write the parts of a file, and return its sha256."""
    digest = hashlib.sha256()
    with (
        copy.open("wb") as writer,
        progress_bar(desc="fetch", unit="B", unit_scale=True) as progress,
    ):
        for part in parts:
            digest.update(part)
            writer.write(part)
            progress.update(len(part))
    return digest.hexdigest()


def _read_parts(source: str, read_seconds: float) -> Iterator[bytes]:
    try:
        with _open(source, read_seconds) as reader:
            while part := reader.read(PART_BYTES):
                yield part
    except ImportError:
        raise GoldrmError(f"{source} needs an extra: pip install 'goldrm[s3]'.") from None
    except (OSError, aiohttp.ClientError, ValueError, TimeoutError) as error:
        cause = error.__cause__ or error  # fsspec says "not found" of every trouble with a server
        if isinstance(cause, FileNotFoundError):
            raise GoldrmError(f"{source} doesn't exist. Correct sft.source.") from None
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise GoldrmError(
            f"{source} can't be read: {reason:.200}. Check the address and the connection, then "
            "run again."
        ) from None


def _open(source: str, read_seconds: float) -> Any:
    """The source as a file to read from beginning to end."""
    if source.startswith(("http://", "https://")):
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds
        )
        # block_size 0: a stream, not parts that are asked for one after the other.
        return fsspec.open(source, "rb", block_size=0, client_kwargs={"timeout": timeout})
    if "://" in source:
        return fsspec.open(source, "rb")
    return Path(source).open("rb")

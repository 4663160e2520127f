"""Rows of numbers in a raw file, mapped into memory: only the rows in use take any."""

import hashlib
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import unwritable

# What follows the rows: how many, numbers in each and their type; then a checksum of all that.
DESCRIPTION = struct.Struct("<QQ16s")
PART_BYTES = 1 << 20  # that are read at a time


class RowWriter:
    """Writes rows for `map_rows`, part after part; a kill leaves some of them, without an ending.

    Through an ordinary file, whose errors can be caught: on a full disk a write through the map
    would end the process.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file anew.

        Raises:
            GoldrmError: when it can't be written, like all that follows.
        """
        self._path = path
        self._shape = (0, 0)  # rows so far, and numbers in each
        self._dtype = torch.float32  # of the rows so far
        self._digest = hashlib.sha256()
        with self._errors_named():
            self._file = path.open("wb")

    def append(self, rows: Float[Tensor, "rows width"]) -> None:
        """Write some rows behind the others."""
        self._shape, self._dtype = (self._shape[0] + len(rows), rows.shape[1]), rows.dtype
        content = rows.reshape(-1).view(torch.uint8).numpy().data
        self._digest.update(content)
        with self._errors_named():
            self._file.write(content)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Write the ending, and what is left to the disk itself, unless there was an error."""
        with self._errors_named(), self._file:
            if error is None:
                dtype = str(self._dtype).removeprefix("torch.").encode()
                description = DESCRIPTION.pack(*self._shape, dtype)
                self._digest.update(description)
                self._file.write(description + self._digest.digest())
                self._file.flush()
                os.fsync(self._file.fileno())

    @contextmanager
    def _errors_named(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._path, error) from None


def map_rows(path: Path) -> Float[Tensor, "rows width"]:
    """What a `RowWriter` wrote, as a tensor, not to be written to.

    The whole file is read once here, about a GiB a second. Pages of it that were read count as the
    process's memory, but the system takes them back when it needs any.

    Raises:
        GoldrmError: when the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = _checked_description(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise GoldrmError(f"{path} is damaged ({reason}). Delete it and run `dvc repro`.") from None
    count = shape[0] * shape[1]
    if not count:  # nothing can't be mapped
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(path), size=count, dtype=dtype).view(shape)


def _checked_description(file: BinaryIO) -> tuple[tuple[int, int], torch.dtype]:
    """Number of rows, numbers in each, and their type, after reading all of a file."""
    digest = hashlib.sha256()
    end = os.fstat(file.fileno()).st_size - digest.digest_size
    for start in range(0, end, PART_BYTES):
        digest.update(file.read(min(PART_BYTES, end - start)))
    if file.read() != digest.digest():
        raise ValueError("its checksum is another")
    file.seek(end - DESCRIPTION.size)
    rows, width, dtype = DESCRIPTION.unpack(file.read(DESCRIPTION.size))
    return (rows, width), getattr(torch, dtype.rstrip(b"\0").decode())

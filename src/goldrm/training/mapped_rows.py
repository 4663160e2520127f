"""Rows of numbers in a raw file, mapped into memory: only the rows in use take any."""

import math
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import unwritable


class RowWriter:
    """Writes rows for `map_rows`, part after part; a kill leaves some of them.

    Through an ordinary file, whose errors can be caught: on a full disk a write through the map
    would end the process.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file anew.

        Raises:
            GoldrmError: when it can't be written, like all that follows.
        """
        self._path = path
        self.shape = (0, 0)  # rows so far, and numbers in each
        self.dtype = torch.float32  # of the rows so far
        with self._errors_named():
            self._file = path.open("wb")

    def append(self, rows: Float[Tensor, "rows width"]) -> None:
        """Write some rows behind the others."""
        self.shape, self.dtype = (self.shape[0] + len(rows), rows.shape[1]), rows.dtype
        with self._errors_named():
            self._file.write(rows.contiguous().numpy().data)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Write what is left to the disk itself, unless there was an error."""
        with self._errors_named(), self._file:
            if error is None:
                self._file.flush()
                os.fsync(self._file.fileno())

    @contextmanager
    def _errors_named(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._path, error) from None


def map_rows(path: Path, shape: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "rows width"]:
    """What a `RowWriter` wrote, as a tensor, not to be written to.

    Pages of the file that were read count as the process's memory, but the system takes them back
    when it needs any.

    Args:
        path: the file.
        shape: number of rows and numbers in each.
        dtype: of the numbers.

    Raises:
        GoldrmError: when the file is shorter than that.
    """
    count = math.prod(shape)
    size = path.stat().st_size if path.exists() else 0
    if size < count * dtype.itemsize:  # reading behind a mapped file's end would end the process
        raise GoldrmError(f"{path} was cut short. Delete it and run `dvc repro`.")
    if not count:  # an empty file can't be mapped
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(path), size=count, dtype=dtype).view(shape)

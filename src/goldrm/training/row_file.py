"""Rows of numbers that stay in a file and are read as they are asked for; it knows no meaning."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import unwritable


class RowFile:
    """A matrix in a file, of which only the rows in use take memory.

    Read, not mapped: pages of a mapped file count as the process's memory until they are needed
    elsewhere.
    """

    def __init__(self, path: Path, width: int, dtype: torch.dtype) -> None:
        """What a `RowWriter` wrote, of rows of `width` numbers of `dtype`."""
        self._path, self._width, self._dtype = path, width, dtype
        self._row_bytes = width * dtype.itemsize

    @property
    def size(self) -> int:
        """Bytes."""
        return self._path.stat().st_size

    def __len__(self) -> int:
        return self.size // self._row_bytes if self._row_bytes else 0

    def index_select(
        self, dim: Literal[0], rows: Int[Tensor, " asked"]
    ) -> Float[Tensor, "asked width"]:
        """Some rows, in the order asked for, as of a tensor; those side by side are read together.

        Raises:
            GoldrmError: when the file has become shorter.
        """
        found = torch.empty((len(rows), self._width), dtype=self._dtype)
        into = found.view(-1).view(torch.uint8).numpy().data
        with self._path.open("rb", buffering=0) as file:
            for place, first, count in _runs(rows):
                start, size = place * self._row_bytes, count * self._row_bytes
                file.seek(first * self._row_bytes)
                if file.readinto(into[start : start + size]) != size:
                    raise GoldrmError(f"{self._path} was cut short. Delete it and run `dvc repro`.")
        return found

    def split(self, size: int) -> Iterator[Float[Tensor, "part width"]]:
        """All rows, so many at a time."""
        for part in torch.arange(len(self)).split(size) if len(self) else ():
            yield self.index_select(0, part)


def _runs(rows: Int[Tensor, " asked"]) -> Iterator[tuple[int, int, int]]:
    """Place, first row and number of rows of each run of rows that lie side by side."""
    if not len(rows):
        return
    ends = (rows[1:] != rows[:-1] + 1).nonzero().flatten() + 1
    places = [0, *ends.tolist(), len(rows)]
    for place, end in zip(places, places[1:], strict=False):
        yield place, int(rows[place]), end - place


class RowWriter:
    """Writes rows for a `RowFile`, part after part; a kill leaves some of them."""

    def __init__(self, path: Path) -> None:
        """Begin the file anew.

        Raises:
            GoldrmError: when it can't be written, like all that follows.
        """
        self._path = path
        with self._sentence():
            self._file = path.open("wb")

    def append(self, rows: Float[Tensor, "part width"]) -> None:
        """Write some rows behind the others."""
        with self._sentence():
            self._file.write(rows.contiguous().numpy().data)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left to the disk itself."""
        with self._sentence(), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    @contextmanager
    def _sentence(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._path, error) from None

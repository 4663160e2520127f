"""Tables as files, written whole or not at all."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile, ParquetWriter

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic

SEAL = b"goldrm: sha256 of all the rest: "  # what stands before the checksum in a Parquet file
ROW_GROUP = 20_000  # rows that are compressed together


class ParquetBuffer:
    """A Parquet file made piece by piece, of which only compressed pieces stay in memory."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """An empty table of these columns and their pandas types."""
        self._columns = columns
        self._pending = pd.DataFrame(columns=list(columns)).astype(columns)
        self._buffer = io.BytesIO()
        schema = pa.Schema.from_pandas(self._pending, preserve_index=False)
        self._writer = ParquetWriter(self._buffer, schema)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: pd.DataFrame) -> None:
        """Add rows with the table's types, which may have more columns."""
        self._rows += len(rows)
        self._pending = pd.concat([self._pending, rows[list(self._columns)]], ignore_index=True)
        self._flush(ROW_GROUP)

    def content(self) -> bytes:
        """The finished file; the same bytes for the same rows, however they came."""
        self._flush(1)
        self._writer.close()
        return _sealed(self._buffer.getvalue())

    def _flush(self, least: int) -> None:
        """Write as many whole row groups as are pending, and a last one of at least `least`."""
        while len(self._pending) >= least:
            rows, self._pending = self._pending[:ROW_GROUP], self._pending[ROW_GROUP:]
            self._writer.write_table(pa.Table.from_pandas(rows, preserve_index=False))


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet; the same bytes for the same table.

    Raises:
        GoldrmError: when the file can't be written.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, _sealed(buffer.getvalue()))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file that goldrm wrote.

    Raises:
        GoldrmError: when it is missing or damaged.
    """
    try:
        # Without threads: a stage's processes share the cores.
        with open_parquet(path, needs_checksum=True) as file:
            return file.read(use_threads=False).to_pandas(use_threads=False)
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(
            f"{path} is not a whole Parquet file ({reason:.200}). Delete it and make it again."
        ) from None


def open_parquet(path: Path, needs_checksum: bool = False) -> ParquetFile:
    """Open a Parquet file, whose checksums must be right where there are any.

    Args:
        path: the file.
        needs_checksum: whether it must have that of a file that goldrm wrote.

    Raises:
        OSError: when it can't be read.
        ValueError: when it is damaged.
        ArrowException: when it isn't a Parquet file.
    """
    content = path.read_bytes()
    if needs_checksum or SEAL in content:
        _check(content)
    return ParquetFile(pa.BufferReader(content), page_checksum_verification=True)


def _sealed(content: bytes) -> bytes:
    """A Parquet file with a checksum of all its bytes before its footer, where no reader looks.

    Parquet's own checksums are of its pages only: of 3,000 flipped bits they missed 10, in the
    footer.
    """
    footer = _footer_start(content)
    return content[:footer] + SEAL + hashlib.sha256(content).digest() + content[footer:]


def _check(content: bytes) -> None:
    end = _footer_start(content)
    start = end - len(SEAL) - hashlib.sha256().digest_size
    if start < 0 or _sealed(content[:start] + content[end:]) != content:
        raise ValueError("it isn't as it was written")


def _footer_start(content: bytes) -> int:
    """Where the metadata begin: a Parquet file ends in them, their length and PAR1."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers with six significant digits; raises like `write_parquet`."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomic(path, text.encode())


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file that `dvc repro` made; raises like `read_parquet`."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(f"{path} can't be read ({reason:.200}). Correct it.") from None

"""Tables as files, written whole or not at all."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile, ParquetWriter

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic

DIGEST_KEY = "goldrm_sha256"  # among the attributes that pandas keeps in a Parquet file

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
        """Add rows, which may have more columns."""
        self._rows += len(rows)
        fitting = rows[list(self._columns)].astype(self._columns)
        self._pending = pd.concat([self._pending, fitting], ignore_index=True)
        self._flush(ROW_GROUP)

    def content(self) -> bytes:
        """The finished file; the same bytes for the same rows, however they came."""
        self._flush(1)
        self._writer.close()
        return self._buffer.getvalue()

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
    digested = table.copy(deep=False)
    digested.attrs = {DIGEST_KEY: _digest(table)}
    digested.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file.

    Raises:
        GoldrmError: when it is missing or damaged.
    """
    try:
        # Not by pandas, whose reader works in threads: they go on, past a memory limit, after an
        # error in one.
        with ParquetFile(path) as file:
            table: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
        digest = table.attrs.pop(DIGEST_KEY, None)
        if digest is not None and digest != _digest(table):
            raise ValueError("its rows aren't those that were written")
        return table
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(
            f"{path} is not a whole Parquet file ({reason:.200}). Delete it and make it again."
        ) from None


def _digest(table: pd.DataFrame) -> str:
    """A checksum of names and values.

    Parquet's own are of its pages only: of 3,000 flipped bits they missed 10, in the file's footer.
    """
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
    return hashlib.sha256(repr(list(table.columns)).encode() + rows).hexdigest()


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers with six significant digits; raises like `write_parquet`."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomic(path, text.encode())


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file that `dvc repro` made; raises like `read_parquet`."""
    return read_text_table(path, lambda: pd.read_csv(path), "`dvc repro` makes it.")


def read_text_table(path: Path, read: Callable[[], pd.DataFrame], if_missing: str) -> pd.DataFrame:
    """What `read` makes of a text file, such as CSV or JSONL; raises like `read_parquet`.

    Args:
        path: the file.
        read: reads it.
        if_missing: what to do where there is none.
    """
    try:
        return read()
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. {if_missing}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(f"{path} can't be read ({reason:.200}). Correct it.") from None

"""A user's preference pairs: JSONL, CSV or Parquet."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from goldrm.common.errors import GoldrmError
from goldrm.common.tables import read_parquet, read_text_table
from goldrm.course.limits import OPENING_BYTES, memory_limit

MISSING = "Correct the path."


def read_pairs(path: Path) -> pd.DataFrame:
    """A user's preference pairs: JSONL, CSV or Parquet with text columns prompt, chosen, rejected.

    Raises:
        GoldrmError: when the file can't be read or lacks a column or a text.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with memory_limit(OPENING_BYTES + 64 * size):
            return _checked_pairs(path)
    except MemoryError:
        raise GoldrmError(
            f"{path} takes far more memory than a file of {size} bytes should. Split it."
        ) from None


def _checked_pairs(path: Path) -> pd.DataFrame:
    table = _READERS.get(path.suffix, _unknown_kind)(path)
    for column in ("prompt", "chosen", "rejected"):
        if column not in table:
            found = ", ".join(map(str, table.columns[:20]))
            raise GoldrmError(f"{path} has no column {column}; found {found:.300}.")
        if table[column].isna().any():
            row = int(table[column].isna().argmax())
            raise GoldrmError(f"{path}: row {row} (counted from 0) has no {column}.")
        table[column] = table[column].astype(str)
    return table


def _read_jsonl(path: Path) -> pd.DataFrame:
    return read_text_table(path, lambda: pd.read_json(path, lines=True, dtype=False), MISSING)


def _read_csv_texts(path: Path) -> pd.DataFrame:
    table = read_text_table(path, lambda: pd.read_csv(path, dtype=str), MISSING)
    if not isinstance(table.index, pd.RangeIndex):
        raise GoldrmError(f"{path} has rows with more values than its header. Correct it.")
    return table


def _unknown_kind(path: Path) -> pd.DataFrame:
    raise GoldrmError(f"{path} must end in {', '.join(_READERS)}.")


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv_texts,
    ".parquet": read_parquet,
}

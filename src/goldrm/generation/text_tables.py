"""Columns of texts in a user's JSONL, CSV or Parquet: the same texts whichever they come in."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from pyarrow import ArrowException

from goldrm.common.errors import GoldrmError, shown
from goldrm.common.tables import open_parquet
from goldrm.course.limits import OPENING_BYTES, memory_limit

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how its files begin


class Table(NamedTuple):
    """What a file holds of the columns that are read; no others are looked at.

    Attributes:
        names: of all columns, as often as the file has them.
        rows: the values of the columns asked for, None where there is none.
    """

    names: list[str]
    rows: list[tuple[Any, ...]]


def read_texts(
    path: Path, columns: Sequence[str], name: str, optional: Sequence[str] = ()
) -> list[list[str]]:
    """The texts of some columns of a file; no others are looked at.

    Whole numbers are texts, too. An empty text, a null and a value that is missing are the same,
    since a CSV file can't tell them apart.

    Args:
        path: its ending says in which format it is.
        columns: a prompt's and those of its completions.
        name: what to call the file in messages.
        optional: further columns, whose texts are all empty where the file lacks them.

    Returns:
        The texts of each column, those of the optional ones last; at least one row.

    Raises:
        GoldrmError: when the file can't be read, lacks a column, has no row, or holds what is no
            text.
    """
    reader = READERS.get(path.suffix, _unknown_kind)
    try:
        with memory_limit(OPENING_BYTES + 64 * path.stat().st_size):
            return _texts(name, columns, reader(path, [*columns, *optional]), optional)
    except MemoryError:
        raise GoldrmError(
            f"{name} takes far more memory than a file of its size should. Split it."
        ) from None
    except FileNotFoundError:
        raise GoldrmError(f"{name} doesn't exist. Correct the path.") from None
    except (OSError, ValueError, LookupError, TypeError, csv.Error, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(f"{name} can't be read ({reason:.200}). Correct it.") from None


def _texts(
    name: str, columns: Sequence[str], table: Table, optional: Sequence[str]
) -> list[list[str]]:
    """The texts of each column, after checking that there are some to score."""
    if not table.rows:
        raise GoldrmError(f"{name} holds no pairs or completions. Write a row for each.")
    for column in (*columns, *optional):
        if column not in table.names and column not in optional:
            found = ", ".join(f"{name:.40}" for name in table.names[:20])
            raise GoldrmError(f"{name} has no column {column}; found {shown(found, 300)}.")
        if table.names.count(column) > 1:
            raise GoldrmError(f"{name} has several columns {column}. Keep the right one.")
    texts = [
        [_text(name, row, column, value) for row, value in enumerate(values)]
        for column, values in zip((*columns, *optional), zip(*table.rows, strict=True), strict=True)
    ]
    for row, (prompt, *completions) in enumerate(zip(*texts[: len(columns)], strict=True)):
        if not prompt.split() and not all(text.split() for text in completions):
            raise GoldrmError(
                f"{name}: row {row} (counted from 0) has neither a prompt nor a completion, and "
                "so no reward. Remove it."
            )
    return texts


def _text(name: str, row: int, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):  # as older programs write texts to Parquet
        return value.decode(errors="backslashreplace")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise GoldrmError(
            f"{name}: row {row} (counted from 0) has {shown(value)} as {column}, which is no text. "
            "Write words and whole numbers, separated by spaces."
        )
    return str(value)


def _open_text(path: Path) -> TextIO:
    """A text file, without its byte-order mark; what isn't UTF-8 harms only where it is used."""
    with path.open("rb") as file:
        if file.read(2) in UTF_16:
            raise ValueError("it is UTF-16; save it as UTF-8")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Object(list[tuple[str, Any]]):
    """A JSON object's names and values, doubled names too."""


def _read_jsonl(path: Path, columns: Sequence[str]) -> Table:
    rows: list[tuple[Any, ...]] = []
    names: dict[str, None] = {}
    with _open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                content = _json_object(line, number, columns)
                rows.append(tuple(dict(content).get(column) for column in columns))
                names |= dict.fromkeys(name for name, _ in content)
    return Table(list(names), rows)


def _json_object(line: str, number: int, columns: Sequence[str]) -> _Object:
    """The names and values of a line; numbers as they are spelt there.

    Raises:
        ValueError: when it is no object, or names a column twice.
    """
    try:
        content = json.loads(
            line, object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str
        )
    except (ValueError, RecursionError):
        raise ValueError(f"line {number} isn't JSON; write an object a line") from None
    if not isinstance(content, _Object):
        raise ValueError(f"line {number} is {shown(content)}; write an object a line")
    doubled = [column for column in columns if [name for name, _ in content].count(column) > 1]
    if doubled:
        raise ValueError(f"line {number} has {doubled[0]} twice")
    return content


def _read_csv(path: Path, columns: Sequence[str]) -> Table:
    csv.field_size_limit(sys.maxsize)
    with _open_text(path) as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        return Table(names, [*_csv_rows(names, reader, columns)])


def _csv_rows(
    names: list[str], rows: Iterable[list[str]], columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    indices = [names.index(column) if column in names else len(names) for column in columns]
    for number, row in enumerate(filter(None, rows)):
        if len(row) > len(names):
            raise ValueError(
                f"row {number}, counted from 0, has {len(row)} values, its header {len(names)}"
            )
        yield tuple(row[index] if index < len(row) else None for index in indices)


def _read_parquet(path: Path, columns: Sequence[str]) -> Table:
    # Without threads: they go on, past a memory limit, after an error in one.
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        there = [column for column in columns if names.count(column) == 1]
        table = file.read(columns=there, use_threads=False)
        missing = [None] * file.metadata.num_rows
    values = [table.column(name).to_pylist() if name in there else missing for name in columns]
    return Table(names, list(zip(*values, strict=True)))


def _unknown_kind(path: Path, columns: Sequence[str]) -> Table:
    del columns
    raise GoldrmError(f"{path} must end in {', '.join(READERS)}.")


READERS: dict[str, Callable[[Path, Sequence[str]], Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}

"""A user's preference pairs, JSONL, CSV or Parquet: the same texts whichever they come in."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pyarrow import ArrowException

from goldrm.common.errors import GoldrmError, shown
from goldrm.common.tables import open_parquet
from goldrm.course.limits import OPENING_BYTES, memory_limit

if TYPE_CHECKING:
    from goldrm.reward_model.model import RewardModel

COLUMNS = ("prompt", "chosen", "rejected")
MAX_ROWS_NAMED = 5
CUT = "the prompt is longer than the model can read; its first words are left out."
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how its files begin


class Table(NamedTuple):
    """What a file holds of the columns that are read; no others are looked at.

    Attributes:
        names: of all columns, as often as the file has them.
        rows: the values of `COLUMNS`, None where there is none.
    """

    names: list[str]
    rows: list[tuple[Any, ...]]


class Pairs(NamedTuple):
    """Preference pairs; an empty text where the file has none.

    Attributes:
        prompt: one a row.
        chosen: one a row.
        rejected: one a row.
    """

    prompt: list[str]
    chosen: list[str]
    rejected: list[str]


def read_pairs(path: Path) -> Pairs:
    """A user's preference pairs, from the columns prompt, chosen and rejected of a file.

    Whole numbers are texts, too. An empty text, a null and a value that is missing are the same,
    since a CSV file can't tell them apart.

    Raises:
        GoldrmError: when the file can't be read, lacks a column, has no row, or holds what is no
            text.
    """
    try:
        with memory_limit(OPENING_BYTES + 64 * path.stat().st_size):
            return _pairs(path, _READERS.get(path.suffix, _unknown_kind)(path))
    except MemoryError:
        raise GoldrmError(
            f"{path} takes far more memory than a file of {path.stat().st_size} bytes should. "
            "Split it."
        ) from None
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. Correct the path.") from None
    except (OSError, ValueError, LookupError, TypeError, csv.Error, ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GoldrmError(f"{path} can't be read ({reason:.200}). Correct it.") from None


def warnings(pairs: Pairs, reward_model: "RewardModel") -> Iterator[str]:
    """A sentence for whatever is scored, but may not be what its writer meant."""
    for column, texts in pairs._asdict().items():
        if rows := [row for row, text in enumerate(texts) if not text.split()]:
            yield f"no {column} in {_named(rows)}; scored as a text without a word."
    chosen, rejected = (reward_model.cut(pairs.prompt, texts) for texts in pairs[1:])
    if rows := sorted({*chosen, *rejected}):
        yield f"{_named(rows)}: {CUT}"


def _named(rows: list[int]) -> str:
    """Some rows in words, the first ones by their numbers: "rows 2, 5 (counted from 0)"."""
    more = len(rows) - MAX_ROWS_NAMED
    listed = ", ".join(map(str, rows[:MAX_ROWS_NAMED])) + (f" and {more} more" if more > 0 else "")
    return f"row{'s' if len(rows) > 1 else ''} {listed} (counted from 0)"


def _pairs(path: Path, table: Table) -> Pairs:
    """The texts of a table, after checking that there are some to score."""
    if not table.rows:
        raise GoldrmError(f"{path} holds no pairs. Write a row for each.")
    for column in COLUMNS:
        if column not in table.names:
            found = ", ".join(f"{name:.40}" for name in table.names[:20])
            raise GoldrmError(f"{path} has no column {column}; found {shown(found, 300)}.")
        if table.names.count(column) > 1:
            raise GoldrmError(f"{path} has several columns {column}. Keep the right one.")
    texts = [
        [_text(path, row, column, value) for row, value in enumerate(values)]
        for column, values in zip(COLUMNS, zip(*table.rows, strict=True), strict=True)
    ]
    pairs = Pairs(*texts)
    for row, (prompt, *completions) in enumerate(zip(*pairs, strict=True)):
        if not prompt.split() and not all(text.split() for text in completions):
            raise GoldrmError(
                f"{path}: row {row} (counted from 0) has neither a prompt nor a completion, and "
                "so no reward. Remove it."
            )
    return pairs


def _text(path: Path, row: int, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):  # as older programs write texts to Parquet
        return value.decode(errors="backslashreplace")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise GoldrmError(
            f"{path}: row {row} (counted from 0) has {shown(value)} as {column}, which is no text. "
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


def _read_jsonl(path: Path) -> Table:
    rows: list[tuple[Any, ...]] = []
    names: dict[str, None] = {}
    with _open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                content = _json_object(line, number)
                rows.append(tuple(dict(content).get(column) for column in COLUMNS))
                names |= dict.fromkeys(name for name, _ in content)
    return Table(list(names), rows)


def _json_object(line: str, number: int) -> _Object:
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
    doubled = [column for column in COLUMNS if [name for name, _ in content].count(column) > 1]
    if doubled:
        raise ValueError(f"line {number} has {doubled[0]} twice")
    return content


def _read_csv(path: Path) -> Table:
    csv.field_size_limit(sys.maxsize)
    with _open_text(path) as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        return Table(names, [*_csv_rows(names, reader)])


def _csv_rows(names: list[str], rows: Iterable[list[str]]) -> Iterator[tuple[Any, ...]]:
    indices = [names.index(column) if column in names else len(names) for column in COLUMNS]
    for number, row in enumerate(filter(None, rows)):
        if len(row) > len(names):
            raise ValueError(
                f"row {number}, counted from 0, has {len(row)} values, its header {len(names)}"
            )
        yield tuple(row[index] if index < len(row) else None for index in indices)


def _read_parquet(path: Path) -> Table:
    # Without threads: they go on, past a memory limit, after an error in one.
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        if any(names.count(column) != 1 for column in COLUMNS):
            return Table(names, [()] * file.metadata.num_rows)
        table = file.read(columns=list(COLUMNS), use_threads=False)
    columns = [table.column(column).to_pylist() for column in COLUMNS]
    return Table(names, list(zip(*columns, strict=True)))


def _unknown_kind(path: Path) -> Table:
    raise GoldrmError(f"{path} must end in {', '.join(_READERS)}.")


_READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}

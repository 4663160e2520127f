"""A user's pairs or completions, JSONL, CSV or Parquet: the same texts whichever they come in."""

import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from goldrm.generation.text_tables import read_texts

STDIN = Path("-")


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


class Completions(NamedTuple):
    """Completions by themselves; an empty text where the file has none.

    Attributes:
        prompt: one a row.
        completion: one a row.
    """

    prompt: list[str]
    completion: list[str]


T = TypeVar("T", Pairs, Completions)


def read_pairs(path: Path) -> Pairs:
    """A user's preference pairs, from the columns prompt, chosen and rejected of a file.

    Args:
        path: its ending says in which format it is; "-" is standard input, in any of them.

    Raises:
        GoldrmError: as `read_texts` does.
    """
    return _read(path, Pairs)


def read_completions(path: Path) -> Completions:
    """A user's completions, from the columns prompt and completion of a file, as `read_pairs`."""
    return _read(path, Completions)


def _read(path: Path, kind: type[T]) -> T:
    """The columns of a file that are named as `kind`'s fields."""
    name = "standard input" if path == STDIN else str(path)
    with _as_file(path) as file:
        return kind(*read_texts(file, kind._fields, name))


@contextmanager
def _as_file(path: Path) -> Generator[Path]:
    """The file; of standard input one with its content, named by how that begins."""
    if path != STDIN:
        yield path
        return
    content = sys.stdin.buffer.read()
    first = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]  # after a byte-order mark and space
    suffix = ".parquet" if content.startswith(b"PAR1") else ".jsonl" if first == b"{" else ".csv"
    with tempfile.NamedTemporaryFile(prefix="goldrm-", suffix=suffix) as file:
        file.write(content)
        file.flush()
        yield Path(file.name)

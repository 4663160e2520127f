"""Chunks of work that end in files: those that a kill left are not made again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from goldrm.common.progress import progress_bar
from goldrm.common.workers import Workers

T = TypeVar("T")


def make_missing(
    files: Sequence[Path],
    make: Callable[[int], T],
    write: Callable[[Path, T], None],
    workers: Workers,
    desc: str,
    unit: str = "chunk",
) -> None:
    """Make the files that aren't there, every process a part of them. All come here together.

    Args:
        files: of all chunks; the leading process's count.
        make: makes the content of the file with this number; it can be pickled.
        write: writes a file whole or not at all.
        workers: who share the work.
        desc: what the progress bar says.
        unit: what it counts.
    """
    missing = [number for number, file in enumerate(files) if not file.exists()]
    made = workers.map(missing, make)
    for number, content in progress_bar(
        made, total=len(missing), desc=desc, unit=unit, disable=workers.hide_progress
    ):
        write(files[number], content)

"""Progress of long work: a bar on a terminal, and elsewhere, as in a log, a line now and then."""

import sys
from typing import Any

from tqdm import tqdm

SECONDS = 30  # between two lines of a log
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} gone, {remaining} to go{postfix}"


class _Log:
    """The file of a bar that isn't on a terminal: what would be drawn over is a line of its own."""

    _last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line not in ("", self._last):  # at the end a bar is drawn again
            sys.stderr.write(f"{line}\n")
            self._last = line

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(*args: Any, **options: Any) -> "tqdm[Any]":
    """A tqdm of these arguments; what takes less than half a minute leaves no line in a log."""
    if not sys.stderr.isatty():
        seconds = {"delay": SECONDS, "mininterval": SECONDS, "maxinterval": SECONDS}
        options |= {"file": _Log(), "bar_format": LINE, **seconds}
    return tqdm(*args, **options)

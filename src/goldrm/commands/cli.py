"""The command `goldrm`, for what isn't a stage: its parts, and how its output is written.

Results go to stdout, talk to stderr; what the user can mend ends in one sentence and status 1.
Commands import what is slow when they run, so that --help is quick.
"""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import typer

from goldrm.commands.check import check
from goldrm.commands.compare import compare
from goldrm.commands.examples import examples
from goldrm.commands.export import export
from goldrm.commands.options import errors_as_sentences
from goldrm.commands.presets import try_preset
from goldrm.commands.report import report
from goldrm.commands.sample import sample
from goldrm.commands.score import score
from goldrm.commands.serve import serve
from goldrm.commands.summary import summary

TOUR = """Use the reward models that `dvc repro` trained. Run it in the project's root folder.

A tour:

- `goldrm summary`: how good they are
- `goldrm report`: all of it on one page
- `goldrm examples`: pairs, their gold rewards and their rewards
- `goldrm sample "PROMPT"`: what the language model answers, and what that is worth
- `goldrm score "PROMPT" "COMPLETION"`: what your own answer is worth
- `goldrm compare token_damage notebook`: which model ranks better, and how sure that is
- `goldrm export --help`: take one elsewhere
- `goldrm serve`: score over HTTP
"""
LOOK, USE, RUN = "Look at a model", "Use it elsewhere", "Before and after a run"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=TOUR,
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    LOOK: (score, sample, examples, compare),
    RUN: (check, summary, report),
    USE: (serve,),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(errors_as_sentences(command))
app.command("try", rich_help_panel=RUN)(errors_as_sentences(try_preset))
app.add_typer(export, name="export", rich_help_panel=USE)


def main() -> None:
    """The console script; for output that can't be written there is a sentence, too."""
    _prepare_streams()
    # DVC asks for a user's name and home, which the user of a container may lack.
    os.environ.setdefault("USER", str(os.getuid()))
    os.environ.setdefault("HOME", "/nonexistent")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        if not isinstance(error, BrokenPipeError):  # which is quiet everywhere
            said = f"goldrm: the output can't be written: {error.strerror or error}."
            with suppress(OSError):
                typer.echo(said, err=True)
        # Python writes what is left when it ends, and would fail again.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(1)


def _prepare_streams() -> None:
    """Make writing to a closed stdout fail, and to a closed stderr do nothing."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where its encoding has no dash

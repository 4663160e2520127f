"""The command `goldrm`, for what isn't a stage: scoring, exporting, summing up.

Results go to stdout, talk to stderr; what the user can mend ends in one sentence and status 1.
"""

import functools
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

import goldrm
from goldrm.common.errors import GoldrmError

if TYPE_CHECKING:
    from goldrm.commands.trained import TrainedModel

A = ParamSpec("A")
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Use the reward models that `dvc repro` trained. Run it in the project's root folder.",
)
export = typer.Typer(no_args_is_help=True, help="Write a reward model for other programs.")
app.add_typer(export, name="export")
Model = Annotated[
    str | None,
    typer.Option(help="A recipe of params.yaml's models.", show_default="the first recipe"),
]


def _errors_as_sentences(command: Callable[A, None]) -> Callable[A, None]:
    @functools.wraps(command)
    def wrapped(*args: A.args, **kwargs: A.kwargs) -> None:
        try:
            _refuse_another_folders_code()
            command(*args, **kwargs)
        except GoldrmError as error:
            typer.echo(f"goldrm: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def _refuse_another_folders_code() -> None:
    """In a folder with a package of its own, such as a copy or a worktree, only that one is right.

    Raises:
        GoldrmError: when another one runs.
    """
    here, running = Path("src/goldrm").absolute(), Path(goldrm.__file__).parent
    if here.is_dir() and not here.samefile(running):
        raise GoldrmError(
            f"this folder has its own code, {here}, but the command that runs is of {running}. "
            "Run `make setup` here, then `.venv/bin/goldrm`."
        )


# torch takes seconds to import: commands import it when they run, so that --help is quick.
# ruff: noqa: PLC0415


def _load(model: str | None) -> "TrainedModel":
    from goldrm.commands.trained import load_trained

    return load_trained(model)


@app.command()
@_errors_as_sentences
def score(
    prompt: Annotated[str | None, typer.Argument(help="The prompt's text.")] = None,
    completion: Annotated[str | None, typer.Argument(help="The completion's text.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="JSONL, CSV or Parquet with columns prompt, chosen, rejected."),
    ] = None,
    model: Model = None,
) -> None:
    """Print the reward of a completion or, as CSV, of both completions of every pair in a file."""
    import pandas as pd

    from goldrm.commands import pairs_file

    if (pairs is None) == (prompt is None) or (prompt is None) != (completion is None):
        raise GoldrmError("score takes a PROMPT and a COMPLETION, or --pairs FILE.")
    if pairs is not None:
        texts = pairs_file.read_pairs(pairs)
        reward_model = _load(model).reward_model
        sides = {"chosen": texts.chosen, "rejected": texts.rejected}
        rewards = {
            f"{side}_reward": reward_model.score(texts.prompt, completions)
            for side, completions in sides.items()
        }
        for warning in pairs_file.warnings(texts, reward_model):
            typer.echo(f"warning: {pairs}: {warning}", err=True)
        pd.DataFrame(rewards).to_csv(sys.stdout, index=False, float_format="%.6f")
    else:
        reward_model = _load(model).reward_model
        (reward,) = reward_model.score([prompt or ""], [completion or ""])
        if reward_model.cut([prompt or ""], [completion or ""]):
            typer.echo(f"warning: {pairs_file.CUT}", err=True)
        typer.echo(f"{reward:.6f}")


@export.command()
@_errors_as_sentences
def course(
    path: Annotated[Path, typer.Argument(help="The .pkl to write.")],
    model: Model = None,
) -> None:
    """Write a reward model as the course's step 3 saves it, for its step 4 to load.

    The course's SL_RM has a last_token readout of one member, as the recipe notebook; no other
    fits it.
    """
    from goldrm.commands.export_course import write_reward_model

    write_reward_model(path, _load(model))
    typer.echo(f"wrote {path}", err=True)


@app.command()
@_errors_as_sentences
def check() -> None:
    """Check params.yaml and the files it names, before `dvc repro` removes outputs to run a stage.

    Rename what DVC was ended at while it wrote it: dvc.lock, .dvc/tmp/rwlock. And say where
    dvc.lock comes from, if that isn't a machine like this one.
    """
    from goldrm.commands import dvc_files
    from goldrm.commands.feasible import refuse_infeasible
    from goldrm.commands.params import load_params
    from goldrm.pipeline.environment import difference

    refuse_infeasible(load_params())
    for note in dvc_files.put_damaged_aside():
        typer.echo(f"note: {note}", err=True)
    note = difference()
    if note is not None:
        typer.echo(f"note: {note}", err=True)


@app.command()
@_errors_as_sentences
def summary() -> None:
    """Print the metrics and where they come from, where the figures are, and what to try next."""
    from goldrm.commands.origin import find_origins
    from goldrm.commands.params import load_params
    from goldrm.commands.summary import summarise

    typer.echo(summarise(list(load_params().models), find_origins()), nl=False)


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

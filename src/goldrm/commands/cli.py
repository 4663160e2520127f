"""The command `goldrm`, for what isn't a stage: scoring, exporting, summing up.

Results go to stdout, talk to stderr; what the user can mend ends in one sentence and status 1.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

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
            command(*args, **kwargs)
        except GoldrmError as error:
            typer.echo(f"goldrm: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


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

    from goldrm.commands.pairs_file import read_pairs

    if (pairs is None) == (prompt is None) or (prompt is None) != (completion is None):
        raise GoldrmError("score takes a PROMPT and a COMPLETION, or --pairs FILE.")
    if pairs is not None:
        table = read_pairs(pairs)
        reward_model, prompts = _load(model).reward_model, table["prompt"].tolist()
        rewards = {
            f"{side}_reward": reward_model.score(prompts, table[side].tolist())
            for side in ("chosen", "rejected")
        }
        pd.DataFrame(rewards).to_csv(sys.stdout, index=False, float_format="%.6f")
    else:
        (reward,) = _load(model).reward_model.score([prompt or ""], [completion or ""])
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
    """Check params.yaml, before `dvc repro` removes a stage's outputs to run it.

    Remove what DVC was ended at while it wrote it: dvc.lock, .dvc/tmp/rwlock. And say where
    dvc.lock comes from, if that isn't a machine like this one.
    """
    from goldrm.commands import dvc_files
    from goldrm.commands.params import load_params
    from goldrm.pipeline.environment import difference

    load_params()
    for path in dvc_files.remove_damaged():
        typer.echo(
            f"note: {path} was cut short, so it was removed. `dvc repro` writes it again; "
            "finished stages are in its cache.",
            err=True,
        )
    note = difference()
    if note is not None:
        typer.echo(f"note: {note}", err=True)


@app.command()
@_errors_as_sentences
def summary() -> None:
    """Print the metrics, where the figures are, and what to try next."""
    from goldrm.commands.params import load_params
    from goldrm.commands.summary import summarise

    typer.echo(summarise(list(load_params().models)), nl=False)


def main() -> None:
    """The console script."""
    app()

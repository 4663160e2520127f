"""The command `goldrm`, for what isn't a stage: scoring, exporting, summing up.

Results go to stdout, talk to stderr; what the user can mend ends in one sentence and status 1.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from goldrm.common.errors import GoldrmError

A = ParamSpec("A")
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Use the reward model that `dvc repro` trained. Run it in the project's root folder.",
)
export = typer.Typer(no_args_is_help=True, help="Write the reward model for other programs.")
app.add_typer(export, name="export")


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


@app.command()
@_errors_as_sentences
def score(
    prompt: Annotated[str | None, typer.Argument(help="The prompt's text.")] = None,
    completion: Annotated[str | None, typer.Argument(help="The completion's text.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="JSONL, CSV or Parquet with columns prompt, chosen, rejected."),
    ] = None,
) -> None:
    """Print the reward of a completion or, as CSV, of both completions of every pair in a file."""
    import pandas as pd

    from goldrm.paths import REWARD_MODEL
    from goldrm.tables import read_pairs

    if (pairs is None) == (prompt is None) or (prompt is None) != (completion is None):
        raise GoldrmError("score takes a PROMPT and a COMPLETION, or --pairs FILE.")
    if pairs is not None:
        table = read_pairs(pairs)
        model, prompts = _load(REWARD_MODEL), table["prompt"].tolist()
        rewards = {
            f"{side}_reward": model.score(prompts, table[side].tolist())
            for side in ("chosen", "rejected")
        }
        pd.DataFrame(rewards).to_csv(sys.stdout, index=False, float_format="%.6f")
    else:
        (reward,) = _load(REWARD_MODEL).score([prompt or ""], [completion or ""])
        typer.echo(f"{reward:.6f}")


@export.command()
@_errors_as_sentences
def course(
    path: Annotated[Path, typer.Argument(help="The .pkl to write.")],
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Write the notebook's readout, trained beside.")
    ] = False,
) -> None:
    """Write the reward model as the course's step 3 saves it, for its step 4 to load.

    The course's SL_RM has a last_token readout of one member; no other fits it.
    """
    from goldrm.backbone_files import read_config
    from goldrm.config import load_params
    from goldrm.course_export import write_reward_model
    from goldrm.paths import BASELINE, REWARD_MODEL
    from goldrm.reward_model import LastTokenReadout

    folder = BASELINE if baseline else REWARD_MODEL
    model = _load(folder)
    readout = model.members[0]
    if not isinstance(readout, LastTokenReadout) or len(model.members) > 1:
        raise GoldrmError(
            f"{folder} holds {len(model.members)} {model.params.readout} readouts, but the "
            "course's SL_RM has one last_token readout. Export the notebook's with --baseline, or "
            "train one: dvc exp run -S reward_model.readout=last_token -S reward_model.members=1."
        )
    best = read_config(folder / "config.json").get("best")
    if not isinstance(best, dict) or not all(
        isinstance(best.get(name), int | float) for name in ("epoch", "train_loss")
    ):
        raise GoldrmError(
            f"{folder / 'config.json'} is damaged. Delete it; `dvc repro` makes it again."
        )
    params = load_params()
    train = params.baseline.train if baseline else params.train
    write_reward_model(path, model.backbone, readout, train, best)
    typer.echo(f"wrote {path}", err=True)


@app.command()
@_errors_as_sentences
def check() -> None:
    """Check params.yaml, before `dvc repro` removes a stage's outputs to run it.

    Remove what DVC was ended at while it wrote it: dvc.lock, .dvc/tmp/rwlock. And say where
    dvc.lock comes from, if that isn't a machine like this one.
    """
    from goldrm import dvc_files
    from goldrm.config import load_params
    from goldrm.environment import difference

    load_params()
    for path in dvc_files.mend():
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
    from goldrm.report import report

    typer.echo(report(), nl=False)


def _load(folder: Path):  # noqa: ANN202
    from goldrm import dictionary
    from goldrm.config import load_params
    from goldrm.device import set_up
    from goldrm.paths import DICTIONARY, SFT
    from goldrm.scoring import load_reward_model

    params = load_params()
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    return load_reward_model(folder, SFT, tokens, device)


def main() -> None:
    """The console script."""
    app()

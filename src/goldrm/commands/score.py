"""`goldrm score`: the rewards of a completion, or of all completions in a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from goldrm.commands.options import Json, Model


def score(
    prompt: Annotated[str | None, typer.Argument(help="The prompt's text.")] = None,
    completion: Annotated[str | None, typer.Argument(help="The completion's text.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="JSONL, CSV or Parquet with columns prompt, chosen, rejected; - is stdin."
        ),
    ] = None,
    completions: Annotated[
        Path | None,
        typer.Option(help="JSONL, CSV or Parquet with columns prompt, completion; - is stdin."),
    ] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Print the reward of a completion or, as CSV, of all completions in a file.

    Beside it stands the gold reward, where the prompt is one of the task's.
    """
    from goldrm.commands import scoring
    from goldrm.commands.own_scale import load_shown

    texts = scoring.read_texts(prompt, completion, pairs, completions)
    trained = load_shown(model)
    rewards = scoring.rewards_of(texts, trained)
    if prompt is None:
        for warning in scoring.warnings(texts, trained.reward_model):
            typer.echo(f"warning: {pairs or completions}: {warning}", err=True)
    elif trained.reward_model.cut(*texts):
        typer.echo(f"warning: {scoring.CUT}", err=True)
    if as_json:
        rewards.to_json(sys.stdout, orient="records", lines=True, double_precision=6)
    elif prompt is None:
        rewards.to_csv(sys.stdout, index=False, float_format="%.6f")
    else:
        reward, gold_reward = rewards.iloc[0]
        known = "" if gold_reward != gold_reward else f"  gold reward {gold_reward:.6f}"
        typer.echo(f"{reward:.6f}{known}")

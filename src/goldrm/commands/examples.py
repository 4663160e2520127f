"""`goldrm examples`: pairs that a reward model was trained on, and pairs that it has never met."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from goldrm.commands import colours
from goldrm.commands.options import Json, Model


def examples(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of each.")] = 3,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Show pairs of the training set and unseen ones, with gold rewards and the model's rewards.

    That is what the notebook prints: its "reward label" is the gold reward, its "reward pred" the
    reward. The unseen pairs are the test split's. Colours are those of mistakes.
    """
    from goldrm.commands import example_pairs
    from goldrm.commands.own_scale import load_shown

    trained = load_shown(model)
    trained_on, unseen = example_pairs.trained_on(trained.folder.name), example_pairs.unseen()
    for kind, pairs in (("trained on", trained_on), ("unseen", unseen)):
        rows = example_pairs.judged(pairs.head(count), trained)
        if as_json:
            for row in rows:
                typer.echo(json.dumps({"pair": kind, **row}))
            continue
        typer.echo(f"{len(rows)} of {len(pairs)} pairs {kind}, {trained.folder.name}:\n")
        for row in rows:
            _print(row)


def _print(row: Mapping[str, Any]) -> None:
    typer.echo(f"  prompt    {row['prompt']}")
    width = max(len(row["chosen"]), len(row["rejected"]))
    is_wrong = row["chosen_reward"] <= row["rejected_reward"]
    for side, said in (("chosen", ""), ("rejected", "  wrong order" if is_wrong else "")):
        text = colours.by_mistake(f"{row[side]:<{width}}", row[f"{side}_mistake"])
        gold_reward, reward = row[f"{side}_gold_reward"], row[f"{side}_reward"]
        rewards = f"gold reward {gold_reward:.2f}  reward {reward:.2f}{said}"
        colours.echo(f"  {side:<8}  {text}  {rewards}")
    typer.echo()

"""`goldrm compare`: which of two reward models ranks and predicts better on unseen families."""

import json
from typing import Annotated

import typer

from goldrm.commands.options import Json, recipe_names


def compare(
    model: Annotated[
        str, typer.Argument(help="A recipe of params.yaml's models.", autocompletion=recipe_names)
    ],
    other: Annotated[
        str, typer.Argument(help="The one it is compared with.", autocompletion=recipe_names)
    ],
    as_json: Json = False,
) -> None:
    """Compare two reward models on the same pairs and completions of the test split.

    The interval is of what the first has more than the other, by a paired bootstrap over families.
    Where 0 lies in it, the test split doesn't tell them apart.
    """
    from goldrm.commands.comparing import compared
    from goldrm.commands.own_scale import say_own_scale
    from goldrm.commands.params import load_params
    from goldrm.commands.trained import load_trained

    params = load_params()
    trained, other_trained = load_trained(model), load_trained(other)
    rows = compared(trained, other_trained, params.evaluate, params.seed)
    for each in (trained, other_trained):
        say_own_scale(each, "for mae a straight line brings its rewards to the gold rewards' scale")
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    confidence = f"{100 * params.evaluate.confidence:g} %"
    width = max(len(model), len(other), 8)
    typer.echo(f"{'':<10}{model:>{width}}  {other:>{width}}  difference, {confidence} interval")
    for row in rows:
        own, others = (f"{row[name]:{width}.3f}" for name in ("value", "other_value"))
        interval = f"{row['difference']:+.3f} ({row['low']:+.3f} – {row['high']:+.3f})"
        of = f"{row['n']} {row['of']}, {row['families']} families"
        typer.echo(f"{row['statistic']:<10}{own}  {others}  {interval}  {of}")

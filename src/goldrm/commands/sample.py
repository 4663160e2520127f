"""`goldrm sample`: completions of a prompt by the language model, with their rewards."""

import json
from typing import Annotated

import typer

from goldrm.commands import colours
from goldrm.commands.options import Json, Model


def sample(
    prompt: Annotated[str, typer.Argument(help="The prompt's text.")],
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many completions.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random.")] = 0,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Sample completions of a prompt, as params.yaml's sampling says; the best reward first.

    Beside the reward stand the gold reward and the kind of mistake, where the prompt is one of the
    task's. The colour is the mistake's.
    """
    from goldrm.commands.own_scale import load_shown
    from goldrm.commands.sampling import sampled

    judged = sampled(load_shown(model), prompt, count, seed)
    if as_json:
        for completion in judged:
            typer.echo(json.dumps(completion._asdict()))
        return
    width = max(len(each.completion) for each in judged)
    for text, reward, gold_reward, mistake in judged:
        known = "" if gold_reward is None else f"  gold reward {gold_reward:.2f}  {mistake}"
        padded = colours.by_mistake(f"{text:<{width}}", mistake)
        colours.echo(f"{padded}  reward {reward:.2f}{known}")

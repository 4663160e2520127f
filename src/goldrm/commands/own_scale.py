"""Says it where the rewards that a command shows aren't on the gold rewards' scale."""

import typer

from goldrm.commands.trained import TrainedModel, load_trained
from goldrm.reward_model.gold_scale import SAME


def load_shown(name: str | None) -> TrainedModel:
    """The model of `load_trained`, whose rewards are shown as they are; raises like that."""
    trained = load_trained(name)
    say_own_scale(
        trained,
        "its rewards are on a scale of their own, and only their differences mean something",
    )
    return trained


def say_own_scale(trained: TrainedModel, consequence: str) -> None:
    """Say, on stderr, what follows where ranking alone taught a model."""
    if trained.reward_model.gold_scale != SAME:
        said = f"note: ranking alone taught {trained.folder.name}: {consequence}."
        typer.echo(said, err=True)

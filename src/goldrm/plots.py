"""Drawing only: tables in, figures out. Colours are Okabe and Ito's, told apart by all."""

import io
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goldrm.checkpoint import write_whole

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"


def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG; the same bytes for the same figure.

    Raises:
        GoldrmError: when the file can't be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_whole(path, buffer.getvalue())


def reward_vs_gold(completions: pd.DataFrame) -> Figure:
    """Predicted against exact reward, a point a completion.

    Args:
        completions: with columns reward and gold_reward.
    """
    figure, (axes,) = _figure(
        1,
        "Each point is a completion of an unseen series. On the line, "
        "the model is exact; above it, it is fooled.",
    )
    gold_rewards = completions["gold_reward"]
    axes.scatter(
        gold_rewards, completions["reward"], s=12, alpha=0.4, color=BLUE, edgecolors="none"
    )
    ends = [gold_rewards.min(), gold_rewards.max()]
    axes.plot(ends, ends, color=ORANGE, linewidth=1.5)
    axes.set(xlabel="gold reward", ylabel="reward", title="Reward against gold reward, test split")
    return figure


def learning_curve(curve: pd.DataFrame) -> Figure:
    """Losses and accuracies over the steps of training, the kept step marked.

    Args:
        curve: the table of `training.Trained.curve`.
    """
    kept = curve["step"].to_numpy()[curve["validation_loss"].to_numpy().argmin()]
    figure, axes = _figure(
        2,
        "Left: the loss minimised. Right: pairs ranked right. Where train "
        "and validation part, the model memorises.",
    )
    for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
        panel.plot(curve["step"], curve[f"train_{name}"], color=BLUE, label="train")
        panel.plot(
            curve["step"], curve[f"validation_{name}"], color=ORANGE, ls="--", label="validation"
        )
        panel.axvline(kept, color=GREY, linewidth=1, ls=":", label="kept")
        panel.set(xlabel="step", ylabel=name)
        panel.legend()
    axes[0].set_yscale("log")
    return figure


def _figure(panels: int, caption: str) -> tuple[Figure, list[Axes]]:
    """An empty figure with a sentence under it that says how to read it."""
    figure = Figure(figsize=(6.4 * panels, 4.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)
    figure.supxlabel(caption, fontsize=9, color=GREY)
    return figure, list(axes[0])

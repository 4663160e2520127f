"""Drawing only: tables in, figures out. Colours are Okabe and Ito's, told apart by all."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goldrm.checkpoint import write_whole

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"
STYLES: list[dict[str, Any]] = [
    {"color": BLUE, "ls": "-"},
    {"color": "#CC79A7", "ls": "-."},
    {"color": "#009E73", "ls": "--"},
    {"color": GREY, "ls": ":"},
]


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


def calibration(bins: pd.DataFrame, reliability: pd.DataFrame) -> Figure:
    """What is predicted where the truth is known: rewards by gold bin, preferences by confidence.

    Args:
        bins: of `groups.calibration_by_gold_reward`.
        reliability: of `evaluation.Probabilities`.
    """
    figure, axes = _figure(
        2,
        "Left: mean reward ± its standard deviation in each bin of gold rewards. Right: how often "
        "the preferred completion is the better one. On the line, the model is calibrated.",
    )
    left, right = axes
    ends = [bins["mean_gold_reward"].min(), bins["mean_gold_reward"].max()]
    left.plot(ends, ends, color=ORANGE, linewidth=1.5)
    left.errorbar(
        bins["mean_gold_reward"], bins["mean_reward"], bins["std_reward"], fmt="o", color=BLUE
    )
    left.set(xlabel="gold reward", ylabel="reward", title="Rewards")
    right.plot([0.5, 1], [0.5, 1], color=ORANGE, linewidth=1.5)
    plain = reliability[reliability["temperature"] == 1.0]
    for (targets, curve), marker in zip(plain.groupby("targets"), "os", strict=False):
        right.plot(curve["mean_confidence"], curve["mean_target"], marker, ls="-", label=targets)
    right.set(xlabel="confidence σ(|reward difference|)", ylabel="target", title="Preferences")
    right.legend(title="targets")
    return figure


def breakdown(table: pd.DataFrame) -> Figure:
    """Pairwise accuracy by what the pairs are like, a panel a property.

    Args:
        table: of `evaluation.breakdown`.
    """
    properties = [name for name in table["by"].unique() if name != "held_out"]
    figure, axes = _figure(
        len(properties),
        "Share of pairs ranked right with its interval, by property; the dashed line is a coin's. "
        "Short or low bars are where the model is weak.",
        width=3.4,
    )
    for panel, name in zip(axes, properties, strict=True):
        rows = table[table["by"] == name]
        _intervals(panel, rows["label"].astype(str), rows)
        panel.axvline(0.5, color=GREY, linewidth=1, ls="--")
        panel.set(title=name, xlabel="accuracy")
    return figure


def best_of_n(table: pd.DataFrame) -> Figure:
    """Gold reward of the best of n completions, picked in several ways.

    Args:
        table: of `best_of_n.best_of_n_table`.
    """
    figure, axes = _figure(
        2,
        "Gold reward of the best of n completions, by who picks, against n and against the upper "
        "bound of its KL divergence. A curve that turns down shows over-optimisation.",
    )
    for panel, x in zip(axes, ("n", "kl_bound"), strict=True):
        for (name, rows), style in zip(
            table.groupby("picked_by", sort=False), STYLES, strict=False
        ):
            panel.plot(rows[x], rows["gold_reward"], label=name, **style)
            panel.fill_between(
                rows[x], rows["low"], rows["high"], color=style["color"], alpha=0.15, linewidth=0
            )
        panel.set(xlabel=x.replace("_", " "), ylabel="gold reward")
        panel.legend()
    axes[0].set_xscale("log", base=2)
    return figure


def probes(table: pd.DataFrame, one_off: pd.DataFrame) -> Figure:
    """How rewards answer to exact series with one thing wrong.

    Args:
        table: of `probing.falls`.
        one_off: of `probing.by_size`.
    """
    figure, (left, right) = _figure(
        2,
        "Left: how often the reward is below the exact series', by what is wrong. Right: mean "
        "reward of one term off by k; it should lie on the gold reward's curve.",
    )
    _intervals(left, table["label"], table)
    left.set(xlabel="share of probes", title="The reward falls")
    right.plot(one_off["size"], one_off["gold_reward"], color=ORANGE, ls="--", label="gold reward")
    right.plot(one_off["size"], one_off["reward"], color=BLUE, label="reward")
    right.set(xlabel="k", ylabel="mean", title="One term off by k")
    right.legend()
    return figure


def compared(table: pd.DataFrame) -> Figure:
    """The reward model beside baselines.

    Args:
        table: of `evaluation.compared`.
    """
    figure, axes = _figure(
        2,
        "The reward model beside baselines, on the same unseen pairs: further right is better.",
    )
    for panel, name in zip(axes, ("accuracy", "spearman"), strict=True):
        rows = table[table["statistic"] == name]
        _intervals(panel, rows["scorer"].str.replace("_", " "), rows)
        panel.axvline(0.5 if name == "accuracy" else 0.0, color=GREY, linewidth=1, ls="--")
        panel.set(xlabel=name)
    return figure


def figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure, by name, from the tables of `judgement.judge` and the learning curve."""
    return {
        "learning_curve": learning_curve(tables["learning_curve"]),
        "reward_vs_gold": reward_vs_gold(tables["reward_vs_gold"]),
        "calibration": calibration(tables["calibration"], tables["reliability"]),
        "breakdown": breakdown(tables["breakdown"]),
        "best_of_n": best_of_n(tables["best_of_n"]),
        "probes": probes(tables["probes"], tables["one_off"]),
        "compared": compared(tables["compared"]),
    }


def _intervals(axes: Axes, labels: pd.Series, rows: pd.DataFrame) -> None:
    """A row of the table a line, from top to bottom: its value and interval."""
    places = range(len(rows))
    beyond = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    axes.errorbar(rows["value"], places, xerr=beyond, fmt="o", color=BLUE, capsize=3)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()


def _figure(panels: int, caption: str, width: float = 6.4) -> tuple[Figure, list[Axes]]:
    """An empty figure with a sentence under it that says how to read it."""
    figure = Figure(figsize=(width * panels, 4.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)
    figure.supxlabel(caption, fontsize=9, color=GREY)
    return figure, list(axes[0])

"""Drawing only: tables in, figures out. Colours are Okabe and Ito's, told apart by all."""

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from goldrm.common.files import write_atomic

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
    write_atomic(path, buffer.getvalue())


def reward_vs_gold(completions: pd.DataFrame) -> Figure:
    """Predicted against exact reward, a point a completion.

    Args:
        completions: with columns reward and gold_reward.
    """
    figure, (axes,) = _figure(
        "Each point is a completion of an unseen series. On the line, "
        "the model is exact; above it, it is fooled."
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
        "Left: the loss minimised. Right: pairs ranked right. Where train "
        "and validation part, the model memorises.",
        panels=2,
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
        "Left: mean reward ± its standard deviation in each bin of gold rewards. Right: how often "
        "the preferred completion is the better one. On the line, the model is calibrated.",
        panels=2,
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
    for (targets, curve), style in zip(plain.groupby("targets"), STYLES, strict=False):
        right.plot(
            curve["mean_confidence"], curve["mean_target"], marker="o", label=targets, **style
        )
    right.set(xlabel="confidence σ(|reward difference|)", ylabel="target", title="Preferences")
    right.legend(title="targets")
    return figure


def breakdown(table: pd.DataFrame) -> Figure:
    """Pairwise accuracy by what the pairs are like, a panel a property.

    Args:
        table: of `evaluation.breakdown`.
    """
    sizes = table["by"].value_counts(sort=False)
    properties = sizes[(sizes > 1) | (sizes.index != "held_out")].index
    figure, axes = _figure(
        "Share of pairs ranked right and its interval, by property; the mistake is the rejected "
        "completion's. The dashed line is a coin's: near it and left of it the model is weak.",
        panels=len(properties),
        width=3.6,
    )
    leftmost = min(0.5, table["low"].min())
    for panel, name in zip(axes, properties, strict=True):
        rows = table[table["by"] == name]
        _intervals(panel, rows["label"], rows)
        panel.axvline(0.5, color=GREY, linewidth=1, ls="--")
        panel.set(title=_words(name), xlabel="accuracy", xlim=(leftmost - 0.03, 1.03))
    return figure


def best_of_n(table: pd.DataFrame) -> Figure:
    """Gold reward of the best of n completions, picked in several ways.

    Args:
        table: of `best_of_n.best_of_n_table`.
    """
    figure, axes = _figure(
        "Gold reward of the best of n completions, by who picks, against n and against the upper "
        "bound of its KL divergence; the band is the interval of picking by reward. A curve that "
        "turns down shows over-optimisation.",
        panels=2,
    )
    for panel, x in zip(axes, ("n", "kl_bound"), strict=True):
        for (name, rows), style in zip(
            table.groupby("picked_by", sort=False), STYLES, strict=False
        ):
            panel.plot(rows[x], rows["gold_reward"], marker=".", label=_words(name), **style)
        rows = table[table["picked_by"] == "reward"]
        panel.fill_between(rows[x], rows["low"], rows["high"], color=BLUE, alpha=0.15, linewidth=0)
        panel.set_ylabel("gold reward")
        panel.legend()
    axes[0].set_xscale("log", base=2)
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].set_xlabel("n")
    axes[1].set_xlabel("KL bound in nats")
    return figure


def probes(table: pd.DataFrame, one_off: pd.DataFrame) -> Figure:
    """How rewards answer to exact series with one thing wrong.

    Args:
        table: of `probing.falls`.
        one_off: of `probing.by_size`.
    """
    figure, (left, right) = _figure(
        "Left: how often the reward is below the exact series', by what is wrong; one off further: "
        "below the same term's that is off by one less; dashed: a coin's. Right: mean reward of "
        "one term off by k; it should lie on the gold reward's curve.",
        panels=2,
    )
    _intervals(left, table["label"], table)
    left.axvline(0.5, color=GREY, linewidth=1, ls="--")
    left.set(xlabel="share of probes", title="The reward falls")
    for name, style in zip(("reward", "gold_reward"), STYLES[::2], strict=False):
        right.plot(one_off["size"], one_off[name], marker=".", label=_words(name), **style)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel="k", ylabel="mean reward", title="One term off by k")
    right.legend()
    return figure


def compared(table: pd.DataFrame) -> Figure:
    """The reward model beside baselines.

    Args:
        table: of `evaluation.compared`.
    """
    figure, axes = _figure(
        "The reward model beside baselines, on the same unseen pairs: further right is better. "
        "Dashed: a coin's.",
        panels=2,
    )
    for panel, name in zip(axes, ("accuracy", "spearman"), strict=True):
        rows = table[table["statistic"] == name]
        _intervals(panel, rows["scorer"], rows)
        panel.axvline(0.5 if name == "accuracy" else 0.0, color=GREY, linewidth=1, ls="--")
        panel.set(xlabel=name)
    return figure


def study(table: pd.DataFrame) -> Figure:
    """Accuracy on unseen pairs against the number of training pairs.

    Args:
        table: readout, pairs, seed, accuracy, low, high; a row a training.
    """
    figure, (axes,) = _figure(
        "Each point is a training with a seed of its own, bars are 95 % intervals over test "
        "prompts, lines are means. Steeper means: more pairs would help.",
    )
    for (name, rows), style in zip(table.groupby("readout", sort=False), STYLES, strict=False):
        beyond = [rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]]
        axes.errorbar(
            rows["pairs"], rows["accuracy"], beyond, fmt="o", color=style["color"], alpha=0.5
        )
        means = rows.groupby("pairs")["accuracy"].mean()
        axes.plot(means.index, means, label=name, **style)
    axes.axhline(0.5, color=GREY, linewidth=1, ls="--")
    axes.set_xscale("log")
    axes.set(xlabel="training pairs", ylabel="accuracy on unseen pairs", title="Learning curves")
    axes.legend()
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
    # Not errorbar, which refuses a value outside its interval: a percentile bootstrap has such.
    axes.hlines(places, rows["low"], rows["high"], color=BLUE)
    for name, marker in (("low", "|"), ("high", "|"), ("value", "o")):
        axes.plot(rows[name], places, marker, color=BLUE)
    axes.set_yticks(places, [_words(label) for label in labels])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _figure(caption: str, panels: int = 1, width: float = 5.4) -> tuple[Figure, list[Axes]]:
    """An empty figure of up to three panels a row, with sentences under it on how to read it."""
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, 0.78 * width * rows + 0.4), layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(panels)]
    letters = int(15 * width * columns)  # that fit an inch of this size, 15
    figure.supxlabel(textwrap.fill(caption, letters), fontsize=9, color=GREY)
    return figure, axes

"""Figures of the evaluation's tables. Colours are Okabe and Ito's, told apart by all.

A model has one colour and one marker in all panels of a figure. Only `matplotlib.figure` is used,
never pyplot, and matplotlib's own defaults: no window system and no settings of the user matter.
"""

import io
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Read while matplotlib is imported, which fails where they name what isn't installed.
os.environ["MPLBACKEND"] = "agg"
os.environ["MATPLOTLIBRC"] = os.devnull

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from goldrm.common.files import write_atomic

GREY, BLACK = "#555555", "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
Style = Mapping[str, Any]
SPLIT_COLOURS = {"train": COLOURS[2], "validation": COLOURS[3]}  # not those of the first recipes
REFERENCE: Style = {"color": GREY, "linewidth": 1, "ls": "--"}  # what is perfect, or a coin's
# What recipes are compared with.
OTHER_STYLES: Mapping[str, Style] = {
    "log_prob": {"color": GREY, "ls": "-.", "marker": "x"},
    "median": {"color": GREY, "ls": "-.", "marker": "*"},
    "mean_per_length": {"color": GREY, "ls": "-.", "marker": "p"},
    "oracle": {"color": BLACK, "ls": "--", "marker": ""},
    "random": {"color": BLACK, "ls": ":", "marker": ""},
    "gold_reward": {"color": BLACK, "ls": "--", "marker": ""},
    "gold": {"color": BLACK, "ls": "--", "marker": "."},
}
LETTERS_AN_INCH = 15  # of a caption
PANELS_A_ROW = 3
# Around all that draws: else a style or a matplotlibrc that was read before would change figures.
fixed_settings = mpl.rc_context(
    {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
)


@fixed_settings
def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG; the same bytes for the same figure.

    Raises:
        GoldrmError: when the file can't be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def learning_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracies and losses over the steps of training, a column a recipe, the kept step marked.

    Args:
        curves: by recipe; step, train_accuracy, validation_accuracy, train_loss, validation_loss.
    """
    figure, axes = _figure(
        "Above: share of pairs ranked right; below: the loss. Where train and validation part, the "
        "model memorises. Dashed: the step that was kept, that of the lowest validation loss.",
        panels=2 * len(curves),
        columns=len(curves),
        width=4.8,
        height=2.8,
    )
    for number, (model, curve) in enumerate(curves.items()):
        kept = curve["step"].to_numpy()[curve["validation_loss"].to_numpy().argmin()]
        accuracy, loss = axes[number], axes[number + len(curves)]
        for panel, name in ((accuracy, "accuracy"), (loss, "loss")):
            panel.axvline(kept, label="kept", **REFERENCE)
            for split, colour in SPLIT_COLOURS.items():
                panel.plot(curve["step"], curve[f"{split}_{name}"], color=colour, label=split)
            panel.set_ylabel(name)
        accuracy.set(title=_words(model), ylim=(0, 1.03))  # so that panels compare
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_formatter(NullFormatter())
        loss.set_xlabel("step")
    _legend(figure, axes)
    return figure


def reward_vs_gold(table: pd.DataFrame) -> Figure:
    """Predicted against exact reward, a point a completion, a panel a model.

    Args:
        table: of `tables.reward_vs_gold`, with a column model.
    """
    models = list(table["model"].unique())
    figure, axes = _figure(
        "Each point is a completion of an unseen family. On the dashed line the reward is the "
        "gold reward; above it, the model is fooled.",
        panels=len(models),
        width=4.4,
        height=4.4,
    )
    both = table[["gold_reward", "reward"]].to_numpy()
    ends = [float(both.min()), float(both.max())]
    margin = 0.03 * (ends[1] - ends[0]) or 1.0
    limits = (ends[0] - margin, ends[1] + margin)
    for panel, (model, style) in zip(axes, _styles(models).items(), strict=True):
        rows = table[table["model"] == model]
        panel.plot(ends, ends, **REFERENCE)
        panel.scatter(
            rows["gold_reward"], rows["reward"], s=14, alpha=0.4, c=style["color"], linewidths=0
        )
        panel.set(xlabel="gold reward", ylabel="reward", title=_words(model))
        panel.set(xlim=limits, ylim=limits, aspect="equal")
    return figure


def statistics(table: pd.DataFrame) -> Figure:
    """How well each model ranks, beside what they are compared with.

    Args:
        table: of `comparison.ranking_statistics`, with a column model.
    """
    figure, axes = _figure(
        "Left: shares that are ranked right: of all unseen pairs, of those with a margin above "
        "0.5, of those whose chosen completion isn't exact, of one completion and three worse, and "
        "of a term off by one more. Right: Spearman's correlation of reward and gold reward, over "
        "completions, those that aren't exact, and probes. The number of pairs, prompts, "
        "completions or probes in brackets. Bars are intervals; dashed: a coin's, which for best "
        "of four is 0.25.",
        panels=2,
        width=5.4,
        height=5.2,
    )
    names = {
        "ranked right": (
            *("accuracy", "accuracy_clear", "accuracy_inexact"),
            *("best_of_four", "one_off_further"),
        ),
        "Spearman's correlation": ("spearman", "spearman_inexact", "probes_spearman"),
    }
    for panel, coin, (label, own) in zip(axes, (0.5, 0.0), names.items(), strict=True):
        _coin(panel, coin)
        rows = table[table["statistic"].isin(own)]
        _intervals(
            panel,
            rows.sort_values("statistic", key=lambda s: s.map(own.index), kind="stable"),
            "statistic",
        )
        panel.set_xlabel(label)
    _legend(figure, axes)
    return figure


def breakdown(table: pd.DataFrame) -> Figure:
    """Pairwise accuracy by what the pairs are like, a panel a property.

    Args:
        table: of `tables.breakdown`, with a column model.
    """
    labels = table.groupby("by", sort=False)["label"].nunique()
    properties = labels[(labels > 1) | (labels.index != "held_out")].index
    figure, axes = _figure(
        "Share of pairs ranked right and its interval, by property, the number of pairs in "
        "brackets; the mistake is the rejected completion's. The dashed line is a coin's: near it "
        "and left of it a model is weak.",
        panels=len(properties),
        width=4.2,
    )
    leftmost = min(0.5, table["low"].min(), table["value"].min())
    for panel, name in zip(axes, properties, strict=True):
        _coin(panel, 0.5)
        _intervals(panel, table[table["by"] == name], "label")
        panel.set(title=_words(name), xlabel="accuracy", xlim=(leftmost - 0.03, 1.03))
    _legend(figure, axes)
    return figure


def calibration(bins: pd.DataFrame, reliability: pd.DataFrame) -> Figure:
    """What is predicted where the truth is known: rewards by gold bin, preferences by confidence.

    Args:
        bins: of `tables.calibration`, with a column model.
        reliability: of `tables.reliability_table`, with a column model.
    """
    figure, axes = _figure(
        "Left: mean reward ± its standard deviation in each bin of gold rewards. Middle, hard "
        "targets: how often the completion with the higher reward is the better one. Right, soft "
        "targets: how often it would be preferred, if preferences were drawn by the gold rewards, "
        "which is σ(gold reward difference). On the dashed line, a model is calibrated.",
        panels=3,
        width=4.2,
    )
    rewards, *preferences = axes
    styles = _styles(bins["model"].unique())
    ends = [bins["mean_gold_reward"].min(), bins["mean_gold_reward"].max()]
    rewards.plot(ends, ends, **REFERENCE)
    for model, style in styles.items():
        rows = bins[bins["model"] == model]
        rewards.errorbar(
            rows["mean_gold_reward"], rows["mean_reward"], rows["std_reward"], label=model, **style
        )
    rewards.set(xlabel="gold reward", ylabel="reward", title="Rewards")
    unscaled = reliability[reliability["temperature"] == 1.0]
    targets = {"hard": "share that is better", "soft": "share that would be preferred"}
    for panel, (kind, label) in zip(preferences, targets.items(), strict=True):
        panel.plot([0.5, 1], [0.5, 1], **REFERENCE)
        for model, style in styles.items():
            rows = unscaled[(unscaled["model"] == model) & (unscaled["targets"] == kind)]
            panel.plot(rows["mean_confidence"], rows["mean_target"], label=model, **style)
        panel.set(xlabel="confidence σ(|reward difference|)", ylabel=label)
        panel.set_title(f"Preferences, {kind} targets")
    _legend(figure, axes)
    return figure


def best_of_n(table: pd.DataFrame) -> Figure:
    """Gold reward of the best of n completions, by who picks.

    Args:
        table: of `tables.best_of_n`.
    """
    figure, axes = _figure(
        f"Gold reward of the best of n completions of {table['prompts'].iloc[0]} prompts, by who "
        "picks, against n and against the upper bound of its KL divergence; bands are the recipes' "
        "intervals. A curve that turns down shows over-optimisation.",
        panels=2,
    )
    for panel, x in zip(axes, ("n", "kl_bound"), strict=True):
        for model, style in _styles(table["model"].unique()).items():
            rows, is_recipe = table[table["model"] == model], model not in OTHER_STYLES
            above = 3 if is_recipe else 2  # the oracle's curve may lie where a recipe's does
            panel.plot(
                *(rows[x], rows["gold_reward"]), label=model, markersize=4, zorder=above, **style
            )
            if is_recipe:
                band = rows[x], rows["low"], rows["high"]
                panel.fill_between(*band, color=style["color"], alpha=0.15, linewidth=0)
        panel.set_ylabel("gold reward")
    axes[0].set_xscale("log", base=2)
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].set_xlabel("n")
    axes[1].set_xlabel("KL bound in nats")
    _legend(figure, axes)
    return figure


def probes(accuracy: pd.DataFrame, one_off: pd.DataFrame) -> Figure:
    """How rewards answer to exact series with one thing wrong.

    Args:
        accuracy: of `probes.probe_accuracy`, with a column model.
        one_off: of `probes.rewards_by_size`, with a column model.
    """
    figure, axes = _figure(
        "Left: how often the reward is below the exact series', by what is wrong, the number of "
        "probes in brackets; dashed: a coin's. Right: mean reward of one term off by so much; it "
        "should lie on the gold reward's curve.",
        panels=2,
    )
    left, right = axes
    _coin(left, 0.5)
    _intervals(left, accuracy, "probe")
    left.set(xlabel="share of probes", title="The reward falls")
    gold_reward = one_off[one_off["model"] == one_off["model"].iloc[0]]
    curves = {model: rows for model, rows in one_off.groupby("model", sort=False)}
    for model, style in _styles(curves).items():
        right.plot(curves[model]["size"], curves[model]["reward"], label=model, **style)
    style = OTHER_STYLES["gold_reward"]
    right.plot(gold_reward["size"], gold_reward["gold_reward"], label="gold_reward", **style)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel="off by", ylabel="mean reward", title="One term off")
    _legend(figure, [right])
    return figure


@fixed_settings
def policies(curves: pd.DataFrame) -> Figure:
    """What becomes of rewards while language models are optimised, by what for.

    Args:
        curves: a row a look, as data/policies/*/curve.csv has them: model, seed, kl, reward,
            gold_reward, exact_match, the last two's _gain with _gain_low and _gain_high, prompts.
    """
    figure, axes = _figure(
        f"Completions of {curves['prompts'].iloc[0]} prompts of unseen families, while the "
        "language model is optimised against each reward, by how far it has gone from where it "
        "started. Left: the reward that it is optimised for; middle: what that is worth in truth; "
        "right: share of exact answers, decoded greedily. Where the left one rises and the middle "
        "one falls, the reward is over-optimised. Lines up and down: intervals of the change since "
        "the start.",
        panels=3,
        width=4.6,
    )
    ways = {"reward": "its own reward", "gold_reward": "gold reward", "exact_match": "exact match"}
    for model, style in _styles(curves["model"].unique()).items():
        for _, rows in curves[curves["model"] == model].groupby("seed"):
            distance = rows["kl"].clip(lower=0) ** 0.5  # the last bits of no difference
            for panel, name in zip(axes, ways, strict=True):
                panel.plot(distance, rows[name], label=model, markersize=4, **style)
                if f"{name}_gain" in rows:
                    low, high = (rows[f"{name}_gain_{end}"] for end in ("low", "high"))
                    start = rows[name] - rows[f"{name}_gain"]
                    panel.vlines(distance, start + low, start + high, color=style["color"])
    for panel, label in zip(axes, ways.values(), strict=True):
        panel.set(xlabel="√KL, in √nats a completion", ylabel=label)
    _legend(figure, axes)
    return figure


@fixed_settings
def figures(
    tables: Mapping[str, pd.DataFrame], curves: Mapping[str, pd.DataFrame]
) -> dict[str, Figure]:
    """Every figure, by name.

    Args:
        tables: of `evaluate.evaluate_models`.
        curves: of `learning_curves`.
    """
    return {
        "learning_curves": learning_curves(curves),
        "reward_vs_gold": reward_vs_gold(tables["reward_vs_gold"]),
        "statistics": statistics(tables["statistics"]),
        "breakdown": breakdown(tables["breakdown"]),
        "calibration": calibration(tables["calibration"], tables["reliability"]),
        "best_of_n": best_of_n(tables["best_of_n"]),
        "probes": probes(tables["probes"], tables["one_off"]),
    }


def _styles(models: Iterable[Any]) -> dict[str, Style]:
    """Colour, line and marker of each model; of recipes by their order."""
    styles: dict[str, Style] = {}
    for model in models:
        number = len([name for name in styles if name not in OTHER_STYLES])
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        own = {"color": colour, "ls": "-", "marker": marker}
        styles[model] = OTHER_STYLES.get(model, own)
    return styles


def _coin(axes: Axes, value: float) -> None:
    """A line at what a coin comes to, and room for it, wherever all else lies."""
    axes.axvline(value, **REFERENCE)
    axes.update_datalim([(value, 0)])


def _intervals(axes: Axes, rows: pd.DataFrame, labels: str) -> None:
    """A line a label, from top to bottom, in which each model has its value and interval.

    Args:
        axes: where to draw.
        rows: model, value, low, high, n.
        labels: the column that names the lines.
    """
    styles = _styles(rows["model"].unique())
    lines = {label: line for line, label in enumerate(rows[labels].unique())}
    apart = 0.7 / len(styles)
    for number, (model, style) in enumerate(styles.items()):
        shift = apart * (number - (len(styles) - 1) / 2)
        for row in rows[rows["model"] == model].itertuples():
            _interval(axes, lines[getattr(row, labels)] + shift, row, style)
        axes.plot([], [], label=model, **style)
    numbers = rows.groupby(labels, sort=False)["n"].first()
    _name_lines(axes, (f"{_words(label)} ({n})" for label, n in numbers.items()))


def _interval(axes: Axes, line: float, row: Any, style: Style) -> None:
    # Not errorbar, which refuses a value outside its interval: a bootstrap may have such.
    axes.hlines(line, row.low, row.high, color=style["color"])
    axes.plot([row.low, row.high], [line, line], "|", color=style["color"], markersize=5)
    axes.plot(row.value, line, color=style["color"], marker=style["marker"], markersize=5)


def _name_lines(axes: Axes, names: Iterable[str]) -> None:
    """The lines of a panel, 0, 1, … from top to bottom."""
    names = list(names)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One for all panels, above them: every curve's name once."""
    curves = {
        label: handle
        for panel in axes
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    names = [_words(label) for label in curves]
    fitting = int(LETTERS_AN_INCH * figure.get_figwidth()) // (max(map(len, names)) + 12)
    figure.legend(
        curves.values(),
        names,
        loc="outside upper center",
        ncols=min(max(fitting, 1), len(names)),
        frameon=False,
    )


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _figure(
    caption: str,
    panels: int = 1,
    columns: int | None = None,
    width: float = 5.4,
    height: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """An empty figure of several panels, with sentences under it on how to read it.

    Args:
        caption: the sentences.
        panels: how many.
        columns: of panels; None: as many as look well.
        width: of a panel, in inches.
        height: likewise; None: 0.78 of its width.
    """
    columns = columns or (2 if panels == 4 else min(panels, PANELS_A_ROW))
    rows = -(-panels // columns)
    size = (width * columns, (height or 0.78 * width) * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(panels)]
    letters = int(LETTERS_AN_INCH * width * columns)
    figure.supxlabel(textwrap.fill(caption, letters), fontsize=9, color=GREY)
    return figure, axes

"""Figures for README and docs; `dvc plots show` has one of every table.

Colours are Okabe and Ito's, told apart by all. A model has one colour and one marker in all panels
of a figure. Only `matplotlib.figure` is used, never pyplot, and matplotlib's own defaults: no
window system and no settings of the user matter.
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
from matplotlib.ticker import LogLocator, NullFormatter

from goldrm.common.files import write_atomic

GREY, BLACK = "#555555", "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
Style = Mapping[str, Any]
SPLIT_COLOURS = {"train": COLOURS[2], "validation": COLOURS[3]}  # not those of the first recipes
REFERENCE: Style = {"color": GREY, "linewidth": 1, "ls": "--"}  # what is perfect
# What recipes are compared with.
OTHER_STYLES: Mapping[str, Style] = {"gold": {"color": BLACK, "ls": "--", "marker": "."}}
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


@fixed_settings
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


@fixed_settings
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


def _styles(models: Iterable[Any]) -> dict[str, Style]:
    """Colour, line and marker of each model; of recipes by their order."""
    styles: dict[str, Style] = {}
    for model in models:
        number = len([name for name in styles if name not in OTHER_STYLES])
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        own = {"color": colour, "ls": "-", "marker": marker}
        styles[model] = OTHER_STYLES.get(model, own)
    return styles


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

"""The figure of `overoptimization.py`: what is gained, in truth too, by the root of the KL."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from fits import gain
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goldrm.evaluation import plots

# A row each: who goes there, whose gain.
ROWS = (
    ("policy", "reward_gain", "policy: its own reward's gain"),
    ("policy", "gold_reward_gain", "policy: gold reward's gain"),
    ("best_of_n", "gold_reward_gain", "best of n: gold reward's gain"),
)
LINES = ("-", "-.")  # of the first models, and of those for which colours begin again
CAPTION = (
    "Completions of unseen families' prompts. Lines: means over seeds at each look or n; bands: "
    "from the lowest to the highest seed. Where a reward's own gain rises and the gold reward's "
    "falls, it is over-optimised. Dotted: Gao's forms, fitted."
)


@plots.fixed_settings
def drawn(
    curves: pd.DataFrame, fitted: pd.DataFrame, questions: Mapping[str, Sequence[str]]
) -> Figure:
    """The figure, a column of panels a question.

    Args:
        curves: of `overoptimization.curves`, of all seeds.
        fitted: of `overoptimization.summary`.
        questions: the models that answer each.
    """
    figure = Figure(figsize=(14, 12), layout="constrained")
    axes = figure.subplots(len(ROWS), len(questions), sharex="row", sharey="row", squeeze=False)
    styles = _styles(dict.fromkeys(model for models in questions.values() for model in models))
    for panel, question in zip(axes[0], questions, strict=True):
        panel.set_title(question)
    for row, (way, gained, label) in zip(axes, ROWS, strict=True):
        for panel, models in zip(row, questions.values(), strict=True):
            for model in models:
                curve, row = (
                    table[(table["way"] == way) & (table["model"] == model)]
                    for table in (curves, fitted)
                )
                _draw(panel, styles[model], curve, row.iloc[0], gained)
            panel.axhline(0, **plots.REFERENCE)
            panel.set(xlabel="√KL, in √nats a completion", ylabel=label)
            panel.legend(frameon=False)
    figure.supxlabel(CAPTION, fontsize=9, color=plots.GREY, wrap=True)
    return figure


def _styles(models: Iterable[str]) -> dict[str, plots.Style]:
    """Colour, line and marker of each model, by their order; no two have all of them in common."""
    looks = zip(cycle(plots.COLOURS), cycle(plots.MARKERS))
    lines = (line for line in LINES for _ in plots.COLOURS)
    return {
        model: plots.OTHER_STYLES.get(model, {"color": colour, "ls": line, "marker": marker})
        for model, (colour, marker), line in zip(models, looks, cycle(lines))
    }


def _draw(
    panel: Axes, style: plots.Style, curve: pd.DataFrame, fitted: pd.Series, gained: str
) -> None:
    """One model's mean, band and fit."""
    distance = curve["kl"].clip(lower=0) ** 0.5  # the last bits of no difference
    looks = curve.assign(distance=distance).groupby("amount")
    at, value = looks["distance"].mean(), looks[gained]
    panel.plot(at, value.mean(), label=fitted["model"].replace("_", " "), **style)
    panel.fill_between(at, value.min(), value.max(), color=style["color"], alpha=0.12, linewidth=0)
    if gained == "gold_reward_gain" and pd.notna(fitted["alpha"]):
        reach = np.linspace(at.max() / 100, at.max())
        expected = gain(fitted["way"], fitted["alpha"], fitted["beta"], reach)
        panel.plot(reach, expected, color=style["color"], ls=":", linewidth=1)

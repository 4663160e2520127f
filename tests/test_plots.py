"""Figures: the same bytes twice, and labelled so that they explain themselves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from goldrm import plots
from goldrm.errors import GoldrmError

COMPLETIONS = pd.DataFrame({"gold_reward": [2.0, 5.0, 7.0], "reward": [3.0, 4.5, 6.8]})
CURVE = pd.DataFrame(
    {
        "step": [10, 20, 30, 40],
        "train_loss": [4.0, 2.0, 1.0, 0.5],
        "validation_loss": [4.5, 2.5, 2.1, 2.9],
        "train_accuracy": [0.5, 0.7, 0.9, 1.0],
        "validation_accuracy": [0.5, 0.6, 0.65, 0.6],
    }
)
FIGURES = [(plots.reward_vs_gold, COMPLETIONS), (plots.learning_curve, CURVE)]


def lines(figure: Figure, panel: int) -> dict[str, list[list[float]]]:
    """Label → x and y of each line of a panel."""
    return {
        str(line.get_label()): [list(map(float, axis)) for axis in line.get_data()]
        for line in figure.axes[panel].get_lines()
    }


@pytest.mark.parametrize(("draw", "table"), FIGURES)
def test_png_is_the_same_twice(tmp_path: Path, draw, table: pd.DataFrame):
    for name in ("first.png", "other.png"):
        plots.save(tmp_path / name, draw(table))
    content = (tmp_path / "first.png").read_bytes()
    assert content == (tmp_path / "other.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width >= 600
    assert height >= 400
    assert b"Matplotlib" not in content  # whose version would change the bytes


@pytest.mark.parametrize(("draw", "table"), FIGURES)
def test_other_data_gives_another_png(tmp_path: Path, draw, table: pd.DataFrame):
    plots.save(tmp_path / "first.png", draw(table))
    plots.save(tmp_path / "other.png", draw(table[::-1].assign(reward=1, train_loss=3)))
    assert (tmp_path / "first.png").read_bytes() != (tmp_path / "other.png").read_bytes()


@pytest.mark.parametrize(("draw", "table"), FIGURES)
def test_figure_has_labels_and_a_caption(draw, table: pd.DataFrame):
    figure = draw(table)
    assert len(figure.get_supxlabel()) > 30
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_scatter_shows_the_points_and_the_diagonal():
    figure = plots.reward_vs_gold(COMPLETIONS)
    (axes,) = figure.axes
    points = np.asarray(axes.collections[0].get_offsets())
    assert points.tolist() == [[2.0, 3.0], [5.0, 4.5], [7.0, 6.8]]
    ((x, y),) = lines(figure, 0).values()
    assert x == y == [2.0, 7.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gold reward", "reward")
    assert axes.get_title()


@pytest.mark.parametrize(("panel", "name"), [(0, "loss"), (1, "accuracy")])
def test_learning_curve_shows_both_splits(panel: int, name: str):
    figure = plots.learning_curve(CURVE)
    drawn = lines(figure, panel)
    for split in ("train", "validation"):
        assert drawn[split] == [CURVE["step"].tolist(), CURVE[f"{split}_{name}"].tolist()]
    legend = figure.axes[panel].get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"train", "validation", "kept"}
    assert figure.axes[panel].get_ylabel() == name


def test_kept_step_is_the_best_validation_loss():
    for panel in (0, 1):
        assert lines(plots.learning_curve(CURVE), panel)["kept"][0] == [30.0, 30.0]


def test_unwritable_figure_is_named(tmp_path: Path):
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(GoldrmError, match=r"curve\.png can't be written"):
        plots.save(tmp_path / "plots/curve.png", plots.learning_curve(CURVE))

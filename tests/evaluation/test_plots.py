"""Figures: the same bytes twice, labelled so that they explain themselves, of any table."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goldrm.common.errors import GoldrmError
from goldrm.evaluation import plots


def intervals(**columns: list[str]) -> pd.DataFrame:
    """Values of 0.9, 0.8, … each in the middle of an interval."""
    rows = pd.DataFrame(columns)
    value = 0.9 - 0.1 * np.arange(len(rows))
    return rows.assign(value=value, low=value - 0.05, high=value + 0.05)


TABLES = {
    "reward_vs_gold": pd.DataFrame({"gold_reward": [7.0, 2.0, 5.0], "reward": [6.8, 3.0, 4.5]}),
    "learning_curve": pd.DataFrame(
        {
            "step": [10, 20, 30, 40],
            "train_loss": [4.0, 2.0, 1.0, 0.5],
            "validation_loss": [4.5, 2.5, 2.1, 2.9],
            "train_accuracy": [0.5, 0.7, 0.9, 1.0],
            "validation_accuracy": [0.5, 0.6, 0.65, 0.6],
        }
    ),
    "calibration": pd.DataFrame(
        {"mean_gold_reward": [2.0, 6.5], "mean_reward": [3.0, 6.0], "std_reward": [0.5, 0.0]}
    ),
    "reliability": pd.DataFrame(
        {
            "targets": ["hard", "hard", "soft", "hard"],
            "temperature": [1.0, 1.0, 1.0, 2.5],
            "mean_confidence": [0.6, 0.9, 0.7, 0.55],
            "mean_target": [0.7, 1.0, 0.65, 0.8],
        }
    ),
    "breakdown": intervals(
        by=["margin", "margin", "template", "terms", "mistake", "held_out"],
        label=["0-0.1", "2-inf", "1", "14", "wrong_first_term", "False"],
    ),
    "compared": intervals(
        scorer=["reward", "reward", "mean_log_probability", "mean_log_probability"],
        statistic=["accuracy", "spearman"] * 2,
    ),
    "best_of_n": pd.DataFrame(
        {
            "picked_by": ["reward", "log_probability", "oracle", "random"] * 2,
            "n": [1] * 4 + [2] * 4,
            "kl_bound": [0.0] * 4 + [0.193] * 4,
            "gold_reward": [5.0] * 4 + [6.0, 5.5, 6.2, 5.0],
            "low": [4.5] * 4 + [5.5, 5.0, 5.7, 4.5],
            "high": [5.5] * 4 + [6.5, 6.0, 6.7, 5.5],
        }
    ),
    "probes": intervals(label=["one_off", "swapped", "one_off_further"]),
    "one_off": pd.DataFrame(
        {"size": [1, 2, 3], "reward": [6.0, 6.1, 5.0], "gold_reward": [6.45, 6.25, 6.1]}
    ),
}
NAMES = [
    *("learning_curve", "reward_vs_gold", "calibration", "breakdown", "best_of_n", "probes"),
    "compared",
]
# A table may have a single row (the comparison: a single scorer), and values outside intervals.
SINGLE = {name: table[: 2 if name == "compared" else 1] for name, table in TABLES.items()}
OUTSIDE = {
    name: table.assign(low=table["value"] + 0.01) if "value" in table else table
    for name, table in TABLES.items()
}
CASES = {"several": TABLES, "single": SINGLE, "outside": OUTSIDE}


@functools.cache
def figures_of(case: str = "several") -> dict[str, Figure]:
    """Drawn once, since drawing takes long; tests only look."""
    return plots.figures(CASES[case])


def figure_of(name: str) -> Figure:
    return figures_of()[name]


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """Label → x and y of each line of a panel."""
    return {
        str(line.get_label()): [list(map(float, axis)) for axis in line.get_data()]
        for line in axes.get_lines()
    }


def tick_labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_there_is_a_figure_of_every_table():
    class Noted(dict[str, pd.DataFrame]):
        used: set[str] = set()

        def __getitem__(self, name: str) -> pd.DataFrame:
            self.used.add(name)
            return super().__getitem__(name)

    tables = Noted(TABLES)
    assert list(plots.figures(tables)) == NAMES
    assert tables.used == set(TABLES)


@pytest.mark.parametrize("case", CASES)
def test_pngs_are_the_same_twice(tmp_path: Path, case: str):
    for folder, figures in (("first", figures_of(case)), ("again", plots.figures(CASES[case]))):
        for name, figure in figures.items():
            plots.save(tmp_path / folder / f"{name}.png", figure)
    for name in NAMES:
        content = (tmp_path / f"first/{name}.png").read_bytes()
        assert content == (tmp_path / f"again/{name}.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert content[-8:-4] == b"IEND"
        assert b"Matplotlib" not in content  # whose version would change the bytes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_everything_is_labelled_and_nothing_is_cut_off_or_overlaps(name: str, case: str):
    figure = figures_of(case)[name]
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    whole = figure.get_tightbbox()
    assert min(whole.x0, whole.y0) >= 0
    assert (whole.x1, whole.y1) <= (width, height)
    (caption,) = figure.texts
    assert caption.get_text().endswith(".")
    parts = [caption.get_window_extent(), *(axes.get_tightbbox() for axes in figure.axes)]
    for one, other in itertools.combinations(parts, 2):
        assert not one.overlaps(other)
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel() or tick_labels(axes)


def test_scatter_shows_the_points_and_the_diagonal():
    (axes,) = figure_of("reward_vs_gold").axes
    points = np.asarray(axes.collections[0].get_offsets())
    assert points.tolist() == [[7.0, 6.8], [2.0, 3.0], [5.0, 4.5]]
    ((x, y),) = lines(axes).values()
    assert x == y == [2.0, 7.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gold reward", "reward")


@pytest.mark.parametrize(("panel", "name"), [(0, "loss"), (1, "accuracy")])
def test_learning_curve_shows_both_splits_and_the_best_validation_loss(panel: int, name: str):
    axes = figure_of("learning_curve").axes[panel]
    curve, drawn = TABLES["learning_curve"], lines(axes)
    for split in ("train", "validation"):
        assert drawn[split] == [curve["step"].tolist(), curve[f"{split}_{name}"].tolist()]
    assert drawn["kept"][0] == [30.0, 30.0]
    assert axes.get_ylabel() == name


def test_calibration_shows_bins_and_unscaled_preferences():
    left, right = figure_of("calibration").axes
    assert [[2.0, 6.5], [3.0, 6.0]] in lines(left).values()
    drawn = lines(right)
    assert drawn["hard"] == [[0.6, 0.9], [0.7, 1.0]]  # not that at temperature 2.5
    assert drawn["soft"] == [[0.7], [0.65]]


def test_breakdown_has_a_panel_a_property():
    axes = figure_of("breakdown").axes
    assert [each.get_title() for each in axes] == ["margin", "template", "terms", "mistake"]
    assert [tick_labels(each) for each in axes] == [
        *(["0-0.1", "2-inf"], ["1"], ["14"], ["wrong first term"])
    ]
    assert [0.9, 0.8] in [x for x, _ in lines(axes[0]).values()]
    assert len({each.get_xlim() for each in axes}) == 1  # so that panels compare
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]  # the first row on top


def test_what_was_held_out_stands_beside_the_rest():
    both = pd.concat([TABLES["breakdown"], intervals(by=["held_out"], label=["True"])])
    last = plots.breakdown(both).axes[-1]
    assert (last.get_title(), tick_labels(last)) == ("held out", ["False", "True"])


@pytest.mark.parametrize(("panel", "x"), [(0, [1, 2]), (1, [0, 0.193])])
def test_best_of_n_shows_every_way_to_pick(panel: int, x: list[float]):
    axes = figure_of("best_of_n").axes[panel]
    assert lines(axes) == {
        "reward": [x, [5, 6]],
        "log probability": [x, [5, 5.5]],
        "oracle": [x, [5, 6.2]],
        "random": [x, [5, 5]],
    }
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {tuple(corner) for corner in np.asarray(corners)} >= {(x[1], 5.5), (x[1], 6.5)}


def test_probes_show_rewards_beside_gold_rewards():
    left, right = figure_of("probes").axes
    assert tick_labels(left) == ["one off", "swapped", "one off further"]
    assert lines(right) == {
        "reward": [[1, 2, 3], [6.0, 6.1, 5.0]],
        "gold reward": [[1, 2, 3], [6.45, 6.25, 6.1]],
    }


def test_scorers_are_compared_in_words():
    accuracy, spearman = figure_of("compared").axes
    for axes, values, name in (
        (accuracy, [0.9, 0.7], "accuracy"),
        (spearman, [0.8, 0.6], "spearman"),
    ):
        assert axes.get_xlabel() == name
        assert tick_labels(axes) == ["reward", "mean log probability"]
        assert any(x == pytest.approx(values) for x, _ in lines(axes).values())
        ends = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
        assert ends == [pytest.approx([value - 0.05, value + 0.05]) for value in values]


def test_unwritable_figure_is_named(tmp_path: Path):
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(GoldrmError, match=r"curve\.png can't be written"):
        plots.save(tmp_path / "plots/curve.png", figure_of("learning_curve"))

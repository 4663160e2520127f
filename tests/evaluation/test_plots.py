"""Figures: the same bytes twice, labelled so that they explain themselves, of any table."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from goldrm.common.errors import GoldrmError
from goldrm.evaluation import plots


def intervals(**columns: list[str]) -> pd.DataFrame:
    """Values of 0.9, 0.8, … each in the middle of an interval, of 3 rows."""
    rows = pd.DataFrame(columns)
    value = 0.9 - 0.1 * (np.arange(len(rows)) % 9)
    return rows.assign(value=value, low=value - 0.05, high=value + 0.05, n=3)


def of_models(names: list[str], table: pd.DataFrame) -> pd.DataFrame:
    """The table of each model, one below the other."""
    return pd.concat([table.assign(model=name) for name in names], ignore_index=True)


BETTER = {"low": 0.8, "value": 0.9, "high": 0.95}
RECIPES = ["token_damage", "notebook"]
CURVE = pd.DataFrame(
    {
        "step": [10, 20, 30, 40],
        "train_loss": [4.0, 2.0, 1.0, 0.5],
        "validation_loss": [4.5, 2.5, 2.1, 2.9],
        "train_accuracy": [0.5, 0.7, 0.9, 1.0],
        "validation_accuracy": [0.5, 0.6, 0.65, 0.6],
    }
)


STATISTICS = [  # in the order of their table, of which "mae" is in no figure
    *("accuracy", "accuracy_clear", "accuracy_inexact", "best_of_four", "one_off_further"),
    *("spearman", "spearman_inexact", "probes_spearman", "mae"),
]


def tables_of(recipes: list[str]) -> dict[str, pd.DataFrame]:
    """What the evaluation of these recipes may come to."""
    scorers = [*recipes, "log_prob", "median", "mean_per_length"]
    pickers = [*recipes, "log_prob", "oracle", "random"]
    return {
        "reward_vs_gold": pd.DataFrame(
            {
                "model": [*recipes, recipes[0]],
                "gold_reward": [*range(3, 3 + len(recipes)), 2.0],
                "reward": [*range(4, 4 + len(recipes)), 3.0],
            }
        ),
        "statistics": intervals(
            model=[name for name in scorers for _ in STATISTICS],
            statistic=[*STATISTICS] * len(scorers),
        ),
        "calibration": of_models(
            recipes,
            pd.DataFrame(
                {
                    "mean_gold_reward": [2.0, 6.5],
                    "mean_reward": [3.0, 6.0],
                    "std_reward": [0.5, 0.0],
                }
            ),
        ),
        "reliability": of_models(
            recipes,
            pd.DataFrame(
                {
                    "targets": ["hard", "hard", "soft", "hard"],
                    "temperature": [1.0, 1.0, 1.0, 2.5],
                    "mean_confidence": [0.6, 0.9, 0.7, 0.55],
                    "mean_target": [0.7, 1.0, 0.65, 0.8],
                }
            ),
        ),
        "breakdown": of_models(
            recipes,
            intervals(
                by=["margin", "margin", "template", "terms", "mistake", "held_out"],
                label=["0-0.1", "2-inf", "1", "14", "wrong_first_term", "False"],
            ),
        ),
        "best_of_n": pd.DataFrame(
            {
                "model": pickers * 2,
                "n": [1] * len(pickers) + [2] * len(pickers),
                "kl_bound": [0.0] * len(pickers) + [0.193] * len(pickers),
                "gold_reward": [5.0] * len(pickers) + [6.0 + 0.1 * i for i in range(len(pickers))],
                "low": [4.5] * len(pickers) + [5.5 + 0.1 * i for i in range(len(pickers))],
                "high": [5.5] * len(pickers) + [6.5 + 0.1 * i for i in range(len(pickers))],
                "prompts": 40,
            }
        ),
        "probes": of_models(recipes, intervals(probe=["one_off", "swapped", "truncated"])),
        "one_off": of_models(
            recipes,
            pd.DataFrame(
                {"size": [1, 2, 3], "reward": [6.0, 6.1, 5.0], "gold_reward": [6.45, 6.25, 6.1]}
            ),
        ),
    }


TABLES = tables_of(RECIPES)
NAMES = [
    *("learning_curves", "reward_vs_gold", "statistics", "breakdown", "calibration", "best_of_n"),
    "probes",
]
# A name may have 40 letters. A table may have a single row a model, and values outside intervals.
FOUR = [*RECIPES, "a_recipe_whose_name_is_as_long_as_may_be", "edits_of_other_kinds"]
CASES = {
    "two": TABLES,
    "one": tables_of(RECIPES[:1]),
    "four": tables_of(FOUR),
    "single": {
        name: table.groupby(
            ["model", *(key for key in ("statistic", "by") if key in table)], sort=False
        ).head(1)
        for name, table in TABLES.items()
    },
    "outside": {
        name: table.assign(low=table["value"] + 0.01) if "value" in table else table
        for name, table in TABLES.items()
    },
}


def draw(case: str) -> dict[str, Figure]:
    tables = CASES[case]
    recipes = tables["breakdown"]["model"].unique()
    return plots.figures(tables, {name: CURVE for name in recipes})


@functools.cache
def figures_of(case: str = "two") -> dict[str, Figure]:
    """Drawn once, since drawing takes long; tests only look."""
    return draw(case)


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


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_there_is_a_figure_of_every_table():
    class Noted(dict[str, pd.DataFrame]):
        used: set[str] = set()

        def __getitem__(self, name: str) -> pd.DataFrame:
            self.used.add(name)
            return super().__getitem__(name)

    tables = Noted(TABLES)
    assert list(plots.figures(tables, {"token_damage": CURVE})) == NAMES
    assert tables.used == set(TABLES)


@pytest.mark.parametrize("case", ["two", "single", "outside"])
def test_pngs_are_the_same_twice(tmp_path: Path, case: str):
    for folder, figures in (("first", figures_of(case)), ("again", draw(case))):
        for name, figure in figures.items():
            plots.save(tmp_path / folder / f"{name}.png", figure)
    for name in NAMES:
        content = (tmp_path / f"first/{name}.png").read_bytes()
        assert content == (tmp_path / f"again/{name}.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert content[-8:-4] == b"IEND"
        assert b"Matplotlib" not in content  # whose version would change the bytes


DRAW = """\
import sys
from pathlib import Path
import pandas as pd
from goldrm.evaluation import plots
table = pd.DataFrame({"model": ["a"], "gold_reward": [1.0], "reward": [2.0]})
curve = pd.DataFrame({"step": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [2.0, 1.0],
                      "train_accuracy": [0.5, 0.75], "validation_accuracy": [0.5, 0.6]})
@plots.fixed_settings
def draw():
    return plots.reward_vs_gold(table), plots.learning_curves({"a": curve})
for name, figure in zip(("points", "curve"), draw(), strict=True):
    plots.save(Path(f"{name}.png"), figure)
assert "matplotlib.pyplot" not in sys.modules
"""
SETTINGS = """\
font.size: 20
font.family: serif
lines.linewidth: 7
savefig.dpi: 30
savefig.bbox: tight
figure.facecolor: red
axes.prop_cycle: cycler("color", "rgb")
path.sketch: 1, 100, 2
axes.formatter.use_locale: True
text.usetex: True
backend: nonsense
"""


def drawn_with(settings: dict[str, object]) -> dict[str, bytes]:
    """The figures' files, drawn while matplotlib has these settings."""
    buffers: dict[str, bytes] = {}
    with mpl.rc_context(settings), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plots, "write_atomic", lambda path, content: buffers.update({path.name: content})
        )
        for name, figure in draw("two").items():
            plots.save(Path(name), figure)
    return buffers


def test_settings_and_styles_change_no_byte():
    """Of a notebook in which somebody draws the figures, say."""
    settings = {"font.size": 20, "lines.linewidth": 7, "savefig.dpi": 30, "savefig.bbox": "tight"}
    style = mpl.style.library["dark_background"]
    assert drawn_with({**style, **settings, "path.sketch": (1, 100, 2)}) == drawn_with({})
    assert mpl.rcParams["font.size"] == mpl.rcParamsDefault["font.size"]


def test_a_users_surroundings_change_no_byte(tmp_path: Path):
    """Backends that aren't installed, settings files, no home; each in a process of its own."""
    home = tmp_path / "a home"
    (home / ".config/matplotlib").mkdir(parents=True)
    (home / ".config/matplotlib/matplotlibrc").write_bytes(b"# gr\xf6\xdfer\n" + SETTINGS.encode())
    (tmp_path / "settings").write_text(SETTINGS)
    surroundings: dict[str, dict[str, str]] = {
        "usual": {},
        "notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        "window": {"MPLBACKEND": "TkAgg", "DISPLAY": ":77"},
        "home": {"HOME": str(home)},
        "no home": {"HOME": "/nonexistent"},
        "file": {"MATPLOTLIBRC": str(tmp_path / "settings")},
        "language": {"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tokyo"},
        "folder": {},
    }
    for name, environment in surroundings.items():
        (tmp_path / name).mkdir()
        if name == "folder":
            (tmp_path / name / "matplotlibrc").write_text(SETTINGS)
        subprocess.run(
            [sys.executable, "-c", DRAW],
            check=True,
            cwd=tmp_path / name,
            env=os.environ | environment,
            capture_output=True,
        )
        for figure in ("points.png", "curve.png"):
            content = (tmp_path / name / figure).read_bytes()
            assert content == (tmp_path / "usual" / figure).read_bytes(), name
            assert len(content) > 1000


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
    parts = [
        *(part.get_window_extent() for part in (caption, *figure.legends)),
        *(axes.get_tightbbox() for axes in figure.axes),
    ]
    for one, other in itertools.combinations(parts, 2):
        assert not one.overlaps(other)
    for axes in figure.axes:
        assert axes.get_xlabel() or name == "learning_curves"
        assert axes.get_ylabel() or tick_labels(axes)


@pytest.mark.parametrize("name", ["statistics", "breakdown", "calibration", "best_of_n", "probes"])
def test_a_model_has_one_colour_and_the_legend_names_it(name: str):
    figure = figures_of("four")[name]
    colours: dict[str, set[str]] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle.lines[0] if hasattr(handle, "lines") else handle
            colours.setdefault(label.replace("_", " "), set()).add(to_hex(line.get_color()))
    assert list(colours) == legend_of(figure)
    assert all(len(own) == 1 for own in colours.values())
    recipes = [colours[recipe.replace("_", " ")].pop() for recipe in FOUR]
    assert len(set(recipes)) == 4


def test_scatter_has_a_panel_a_model_with_its_points_and_the_diagonal():
    first, second = figure_of("reward_vs_gold").axes
    assert [axes.get_title() for axes in (first, second)] == ["token damage", "notebook"]
    points = [axes.collections[0].get_offsets() for axes in (first, second)]
    assert np.asarray(points[0]).tolist() == [[3.0, 4.0], [2.0, 3.0]]
    assert np.asarray(points[1]).tolist() == [[4.0, 5.0]]
    for axes in (first, second):
        ((x, y),) = lines(axes).values()
        assert x == y == [2.0, 5.0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("gold reward", "reward")
    assert first.get_xlim() == second.get_xlim() == second.get_ylim()  # so that panels compare


@pytest.mark.parametrize(("row", "name"), [(0, "accuracy"), (1, "loss")])
@pytest.mark.parametrize("column", [0, 1])
def test_learning_curve_shows_both_splits_and_the_best_validation_loss(
    row: int, name: str, column: int
):
    panels = figure_of("learning_curves").axes
    assert panels[column].get_title() == RECIPES[column].replace("_", " ")
    axes = panels[2 * row + column]
    drawn = lines(axes)
    for split in ("train", "validation"):
        assert drawn[split] == [CURVE["step"].tolist(), CURVE[f"{split}_{name}"].tolist()]
    assert drawn["kept"][0] == [30.0, 30.0]
    assert axes.get_ylabel() == name


def test_learning_curves_compare_and_their_ticks_are_plain_numbers():
    figure = figure_of("learning_curves")
    figure.draw_without_rendering()
    accuracies, losses = figure.axes[: len(RECIPES)], figure.axes[len(RECIPES) :]
    assert len({panel.get_ylim() for panel in accuracies}) == 1
    for panel in losses:  # of 0.5 to 4.5, which is less than a power of ten
        least, most = panel.get_ylim()
        ticks = [tick for tick in panel.yaxis.get_major_ticks() if least <= tick.get_loc() <= most]
        assert [tick.label1.get_text() for tick in ticks] == ["0.5", "1", "2", "5"]
        assert not any(tick.get_text() for tick in panel.get_yticklabels(minor=True))


@pytest.mark.parametrize(
    ("name", "coin"), [("probes", 0.5), ("statistics", 0.5), ("breakdown", 0.5)]
)
def test_the_coins_line_is_inside_where_all_are_better(name: str, coin: float):
    """It once lay behind the frame."""
    better = {table: rows.assign(**BETTER) for table, rows in TABLES.items() if "value" in rows}
    figure = plots.figures({**TABLES, **better}, {name: CURVE for name in RECIPES})[name]
    assert figure.axes[0].get_xlim()[0] < 0.495


def test_calibration_shows_bins_and_unscaled_preferences():
    rewards, hard, soft = figure_of("calibration").axes
    assert [[2.0, 6.5], [3.0, 6.0]] in lines(rewards).values()
    for recipe in RECIPES:
        assert lines(hard)[recipe] == [[0.6, 0.9], [0.7, 1.0]]  # not that at temperature 2.5
        assert lines(soft)[recipe] == [[0.7], [0.65]]


def test_breakdown_has_a_panel_a_property():
    axes = figure_of("breakdown").axes
    assert [panel.get_title() for panel in axes] == ["margin", "template", "terms", "mistake"]
    assert [tick_labels(panel) for panel in axes] == [
        *(["0-0.1 (3)", "2-inf (3)"], ["1 (3)"], ["14 (3)"], ["wrong first term (3)"])
    ]
    segments = [line.get_segments()[0] for line in axes[0].collections]
    # Of each model an interval on each line, the first model's above.
    assert [segment[:, 0].tolist() for segment in segments] == [
        pytest.approx(ends) for ends in [[0.85, 0.95], [0.75, 0.85]] * 2
    ]
    assert [segment[0, 1] for segment in segments] == pytest.approx([-0.175, 0.825, 0.175, 1.175])
    assert len({panel.get_xlim() for panel in axes}) == 1  # so that panels compare
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]  # the first row on top


def test_what_was_held_out_stands_beside_the_rest():
    held_out = of_models(RECIPES, intervals(by=["held_out"], label=["True"]))
    last = plots.breakdown(pd.concat([TABLES["breakdown"], held_out])).axes[-1]
    assert (last.get_title(), tick_labels(last)) == ("held out", ["False (3)", "True (3)"])


@pytest.mark.parametrize(("panel", "x"), [(0, [1, 2]), (1, [0, 0.193])])
def test_best_of_n_shows_every_way_to_pick(panel: int, x: list[float]):
    axes = figure_of("best_of_n").axes[panel]
    assert lines(axes) == {
        "token_damage": [x, [5, 6]],
        "notebook": [x, [5, 6.1]],
        "log_prob": [x, [5, 6.2]],
        "oracle": [x, [5, pytest.approx(6.3)]],
        "random": [x, [5, 6.4]],
    }
    order = {str(line.get_label()): line.get_zorder() for line in axes.get_lines()}
    above = min(order[recipe] for recipe in RECIPES)
    assert above > max(order[name] for name in ("log_prob", "oracle", "random"))  # they hide none
    bands = [np.asarray(band.get_paths()[0].vertices) for band in axes.collections]
    assert len(bands) == len(RECIPES)
    for number, band in enumerate(bands):
        ends = [(x[1], 5.5 + 0.1 * number), (x[1], 6.5 + 0.1 * number)]
        assert {tuple(corner) for corner in band} >= set(ends)


def test_probes_show_rewards_beside_gold_rewards():
    left, right = figure_of("probes").axes
    assert tick_labels(left) == ["one off (3)", "swapped (3)", "truncated (3)"]
    assert lines(right) == {
        **dict.fromkeys(RECIPES, [[1, 2, 3], [6.0, 6.1, 5.0]]),
        "gold_reward": [[1, 2, 3], [6.45, 6.25, 6.1]],
    }
    assert legend_of(figure_of("probes")) == ["token damage", "notebook", "gold reward"]


def test_models_stand_beside_what_they_are_compared_with():
    shares, correlations = figure_of("statistics").axes
    words = [f"{name.replace('_', ' ')} (3)" for name in STATISTICS]
    assert (tick_labels(shares), tick_labels(correlations)) == (words[:5], words[5:8])
    models = ["token damage", "notebook", "log prob", "median", "mean per length"]
    assert legend_of(figure_of("statistics")) == models
    for axes, values in ((shares, [0.9, 0.8, 0.7, 0.6, 0.5]), (correlations, [0.4, 0.3, 0.2])):
        points = [line.get_data() for line in axes.get_lines() if len(line.get_xdata()) == 1]
        assert [float(x[0]) for x, _ in points] == pytest.approx(values * 5)  # of each model
        lines_of_first = [float(y[0]) for _, y in points[: len(values)]]
        assert lines_of_first == pytest.approx([line - 0.28 for line in range(len(values))])
        ends = [line.get_segments()[0][:, 0].tolist() for line in axes.collections]
        assert ends == [pytest.approx([value - 0.05, value + 0.05]) for value in values * 5]


def test_unwritable_figure_is_named(tmp_path: Path):
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(GoldrmError, match=r"curve\.png can't be written"):
        plots.save(tmp_path / "plots/curve.png", figure_of("statistics"))


def test_policies_are_drawn_by_how_far_they_have_gone():
    """A panel a reward, a line a policy, at √KL, with the gain's intervals around the start."""
    rows = pd.DataFrame(
        {
            "seed": 0,
            "kl": [0.0, 0.25, 1.0],
            "reward": [5.0, 5.5, 6.0],
            "prompts": 64,
            **{
                f"{name}{end}": values
                for name in ("gold_reward", "exact_match")
                for end, values in {
                    "": [5.0, 5.25, 4.5],
                    "_gain": [0.0, 0.25, -0.5],
                    "_gain_low": [0.0, 0.0, -1.0],
                    "_gain_high": [0.0, 0.5, 0.0],
                }.items()
            },
        }
    )
    figure = plots.policies(of_models(["token_damage", "gold"], rows))
    own, gold_reward, _ = figure.axes
    assert [line.get_label() for line in own.lines] == ["token_damage", "gold"]
    for panel, values in ((own, [5.0, 5.5, 6.0]), (gold_reward, [5.0, 5.25, 4.5])):
        assert panel.lines[0].get_xdata().tolist() == [0.0, 0.5, 1.0]
        assert panel.lines[0].get_ydata().tolist() == values
    assert [len(panel.collections) for panel in figure.axes] == [0, 2, 2]
    intervals = [line.tolist() for line in gold_reward.collections[0].get_segments()]
    assert intervals == [[[0.0, 5.0]] * 2, [[0.5, 5.0], [0.5, 5.5]], [[1.0, 4.0], [1.0, 5.0]]]

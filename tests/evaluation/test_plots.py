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
from matplotlib.figure import Figure

from goldrm.common.errors import GoldrmError
from goldrm.evaluation import plots


def of_models(names: list[str], table: pd.DataFrame) -> pd.DataFrame:
    """The table of each model, one below the other."""
    return pd.concat([table.assign(model=name) for name in names], ignore_index=True)


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


NAMES = ["learning_curves", "reward_vs_gold"]
# A name may have 40 letters. A table may have a single row a model.
FOUR = [*RECIPES, "a_recipe_whose_name_is_as_long_as_may_be", "edits_of_other_kinds"]


def points_of(recipes: list[str]) -> pd.DataFrame:
    """A point a recipe, and one more of the first."""
    return pd.DataFrame(
        {
            "model": [*recipes, recipes[0]],
            "gold_reward": [*range(3, 3 + len(recipes)), 2.0],
            "reward": [*range(4, 4 + len(recipes)), 3.0],
        }
    )


CASES = {
    "two": points_of(RECIPES),
    "one": points_of(RECIPES[:1]),
    "four": points_of(FOUR),
    "single": points_of(RECIPES)[: len(RECIPES)],
}


def draw(case: str) -> dict[str, Figure]:
    points = CASES[case]
    curves = {name: CURVE for name in points["model"].unique()}
    return {
        "learning_curves": plots.learning_curves(curves),
        "reward_vs_gold": plots.reward_vs_gold(points),
    }


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


@pytest.mark.parametrize("case", ["two", "single"])
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
plots.save(Path("points.png"), plots.reward_vs_gold(table))
plots.save(Path("curve.png"), plots.learning_curves({"a": curve}))
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
        assert axes.get_ylabel()


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


def test_unwritable_figure_is_named(tmp_path: Path):
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(GoldrmError, match=r"curve\.png can't be written"):
        plots.save(tmp_path / "plots/curve.png", figure_of("learning_curves"))


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

"""The closing summary of a run, from its metrics files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from goldrm.commands.origin import Origins
from goldrm.common.errors import GoldrmError
from goldrm.common.tables import read_csv
from goldrm.pipeline.paths import METRICS, PLOTS

NEXT = """\
next     dvc plots show                          all plots on one page
         goldrm score "PROMPT" "COMPLETION"      the reward of any completion
         dvc exp run -S models.token_damage.data.num_pairs=500
                                                 the notebook's number of training pairs
         dvc params diff; dvc metrics diff       what changed, and what it did
"""
MISSING = "missing: `dvc repro` makes it"


def summarise(recipes: Sequence[str], origins: Origins) -> str:
    """Metrics by stage, test accuracies with intervals, where to look, and what to try next.

    Args:
        recipes: names of the reward models.
        origins: say of a stage's result where it comes from.

    Raises:
        GoldrmError: when a file is damaged.
    """
    stages = {"sft": "fetch_sft", "pairs": "generate_pairs"}
    stages |= {recipe: f"train_rm@{recipe}" for recipe in recipes} | {"eval": "evaluate"}
    rows = [
        (name, *_metrics(METRICS / f"{name}.json", stage, origins))
        for name, stage in stages.items()
    ]
    lines = _in_columns(rows)
    lines += ["", *_accuracies(PLOTS / "statistics.csv", origins), ""]
    lines += [*_differences(origins.differences), *_plots(stages, origins)]
    return "\n".join(lines) + "\n" + NEXT


def _in_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _metrics(path: Path, stage: str, origins: Origins) -> tuple[str, str]:
    """A stage's metrics, and where they come from."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError
    except FileNotFoundError:
        return MISSING, ""
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    return "  ".join(f"{name} {value}" for name, value in values.items()), origins.of(stage, path)


def _accuracies(path: Path, origins: Origins) -> list[str]:
    """Every scorer's accuracy on the test split with its interval, a line each."""
    title = "accuracy on unseen pairs, 95 % interval"
    if not path.exists():
        return [f"{title}  {MISSING}"]
    table = read_csv(path)
    try:
        rows = table[table["statistic"] == "accuracy"]
        width = rows["model"].str.len().max()
        return [f"{title}  {origins.of('evaluate', path)}"] + [
            f"  {row.model:<{width}}  {row.value:.3f}  ({row.low:.3f} – {row.high:.3f})  "
            f"{row.n} pairs of {row.families} families"
            for row in rows.itertuples()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def _differences(differences: Mapping[str, str]) -> list[str]:
    """Why results aren't of this folder, a line a stage; none where they are."""
    if not differences:
        return []
    lines = _in_columns([(f"  {stage}", words) for stage, words in differences.items()])
    return ["not as in dvc.lock; `dvc repro` brings it up to date", *lines, ""]


def _plots(stages: Mapping[str, str], origins: Origins) -> list[str]:
    """Figures and tables, a line for each kind and stage."""
    lines: list[str] = []
    for kind in ("png", "csv"):
        made: dict[str, list[Path]] = {}
        for path in sorted(PLOTS.glob(f"[!.]*.{kind}")):
            made.setdefault(stages.get(path.stem, "evaluate"), []).append(path)
        for stage, paths in made.items():
            lines.append(f"{', '.join(map(str, paths))}  {origins.of(stage, paths[0])}")
    return [f"{'' if number else 'look':<9}{line}" for number, line in enumerate(lines)]


def _damaged(path: Path) -> GoldrmError:
    return GoldrmError(f"{path} is damaged. `dvc repro` makes it again.")

"""What a run brought, from its metrics files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from goldrm.commands.origin import Origins
from goldrm.common.errors import GoldrmError
from goldrm.common.tables import read_csv
from goldrm.pipeline.paths import METRICS, PLOTS

NEXT = """\
next     dvc plots show                          all plots on one page
         goldrm examples                         pairs with their rewards, trained on and unseen
         goldrm score "PROMPT" "COMPLETION"      the reward of any completion
         dvc exp run -S models.token_damage.data.num_pairs=500
                                                 the notebook's number of training pairs
         dvc params diff; dvc metrics diff       what changed, and what it did
"""
MISSING = "missing: `dvc repro` makes it"


def summarise(origins: Origins) -> str:
    """Metrics by stage, test accuracies with intervals, where to look, and what to try next.

    Args:
        origins: say which stage a result is of, and where it comes from.

    Raises:
        GoldrmError: when a file is damaged.
    """
    rows = [(name, *_metrics_line(path, origins)) for name, path in _files(origins).items()]
    lines = _in_columns(rows)
    lines += ["", *_accuracies(PLOTS / "statistics.csv", origins), ""]
    lines += [*_differences(origins.differences), *_plots(origins)]
    return "\n".join(lines) + "\n" + NEXT


def as_data(origins: Origins) -> dict[str, Any]:
    """The same numbers: each metrics file's, and the rows of statistics.csv."""
    metrics = {name: _metrics(path) for name, path in _files(origins).items()}
    path = PLOTS / "statistics.csv"
    rows = json.loads(_accuracy_rows(path).to_json(orient="records")) if path.exists() else None
    return {"metrics": metrics, "accuracy": rows, "not_as_in_dvc_lock": origins.differences}


def _files(origins: Origins) -> dict[str, Path]:
    """The stages' files of metrics by their names, such as policy/notebook."""
    return {
        path.relative_to(METRICS).with_suffix("").as_posix(): path
        for path in origins.written
        if path.is_relative_to(METRICS) and path.suffix == ".json"
    }


def _in_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _metrics_line(path: Path, origins: Origins) -> tuple[str, str]:
    """A stage's metrics, and where they come from."""
    values = _metrics(path)
    if values is None:
        return MISSING, ""
    return "  ".join(f"{name} {value}" for name, value in values.items()), origins.of(path)


def _metrics(path: Path) -> dict[str, Any] | None:
    """A stage's metrics; None where there are none yet."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    return values


def _accuracies(path: Path, origins: Origins) -> list[str]:
    """Every scorer's accuracy on the test split with its interval, a line each."""
    title = "accuracy on unseen pairs, with its interval"
    if not path.exists():
        return [f"{title}  {MISSING}"]
    rows = _accuracy_rows(path)
    try:
        width = rows["model"].str.len().max()
        return [f"{title}  {origins.of(path)}"] + [
            f"  {row.model:<{width}}  {row.value:.3f}  ({row.low:.3f} – {row.high:.3f})  "
            f"{row.n} pairs of {row.families} families"
            for row in rows.itertuples()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def _accuracy_rows(path: Path) -> pd.DataFrame:
    table = read_csv(path)
    if "statistic" not in table:
        raise _damaged(path)
    return table[table["statistic"] == "accuracy"]


def _differences(differences: Mapping[str, str]) -> list[str]:
    """Why results aren't of this folder, a line a stage; none where they are."""
    if not differences:
        return []
    lines = _in_columns([(f"  {stage}", words) for stage, words in differences.items()])
    return ["not as in dvc.lock; `dvc repro` brings it up to date", *lines, ""]


def _plots(origins: Origins) -> list[str]:
    """Figures and tables, a line for each kind and stage."""
    lines: list[str] = []
    for kind in ("png", "csv"):
        made: dict[str, list[Path]] = {}
        for path, stage in sorted(origins.written.items()):
            if path.match(f"{PLOTS}/*.{kind}") and path.exists():
                made.setdefault(stage, []).append(path)
        for paths in made.values():
            lines.append(f"{', '.join(map(str, paths))}  {origins.of(paths[0])}")
    return [f"{'' if number else 'look':<9}{line}" for number, line in enumerate(lines)]


def _damaged(path: Path) -> GoldrmError:
    return GoldrmError(f"{path} is damaged. `dvc repro` makes it again.")

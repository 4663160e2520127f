"""The closing summary of a run, from its metrics files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def summarise(recipes: Sequence[str]) -> str:
    """Metrics by stage, test accuracies with intervals, where to look, and what to try next.

    Args:
        recipes: names of the reward models.

    Raises:
        GoldrmError: when a file is missing or damaged.
    """
    width = max(map(len, (*recipes, "eval"))) + 2
    lines = [
        f"{file:<{width}}" + "  ".join(f"{name} {value}" for name, value in _metrics(file).items())
        for file in ("sft", "pairs", *recipes, "eval")
    ]
    figures = sorted(str(path) for path in PLOTS.glob("*.png"))
    tables = sorted(str(path) for path in PLOTS.glob("*.csv"))
    lines += ["", *_accuracies(), ""]
    lines += [f"look     {', '.join(figures)}", f"         {', '.join(tables)}"]
    return "\n".join(lines) + "\n" + NEXT


def _accuracies() -> list[str]:
    """Every scorer's accuracy on the test split with its interval, a line each."""
    path = PLOTS / "statistics.csv"
    table = read_csv(path)
    try:
        rows = table[table["statistic"] == "accuracy"]
        width = rows["model"].str.len().max()
        return ["accuracy on unseen pairs, 95 % interval"] + [
            f"  {row.model:<{width}}  {row.value:.3f}  ({row.low:.3f} – {row.high:.3f})  "
            f"{row.n} pairs of {row.families} families"
            for row in rows.itertuples()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def _metrics(name: str) -> dict[str, Any]:
    path: Path = METRICS / f"{name}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError
        return values
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None


def _damaged(path: Path) -> GoldrmError:
    return GoldrmError(f"{path} is damaged. `dvc repro` makes it again.")

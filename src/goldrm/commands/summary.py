"""The closing summary of a run, from its metrics files."""

import json
from pathlib import Path
from typing import Any

from goldrm.common.errors import GoldrmError
from goldrm.pipeline.paths import METRICS, PLOTS

STAGES = ("sft", "pairs", "train", "baseline", "eval")
NEXT = """\
next     dvc plots show                          all plots on one page
         goldrm score "PROMPT" "COMPLETION"      the reward of any completion
         dvc exp run -S train.num_pairs=500      the notebook's number of training pairs
         dvc params diff; dvc metrics diff       what changed, and what it did
"""


def report() -> str:
    """Metrics by stage, where to look, and what to try next.

    Raises:
        GoldrmError: when a metrics file is missing or damaged.
    """
    lines = [
        f"{stage:<8} " + "  ".join(f"{name} {value}" for name, value in _read(stage).items())
        for stage in STAGES
    ]
    figures = sorted(str(path) for path in PLOTS.glob("*.png"))
    tables = sorted(str(path) for path in PLOTS.glob("*.csv"))
    lines += [f"look     {', '.join(figures)}", f"         {', '.join(tables)}"]
    return "\n".join(lines) + "\n" + NEXT


def _read(stage: str) -> dict[str, Any]:
    path: Path = METRICS / f"{stage}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError
        return values
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, RecursionError):
        raise GoldrmError(f"{path} is damaged. `dvc repro` makes it again.") from None

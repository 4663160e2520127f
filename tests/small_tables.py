"""Pairs and completions of a small project, made by hand instead of sampled."""

from pathlib import Path

import pandas as pd

from goldrm.common.tables import write_parquet
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.preferences import COMPLETION_COLUMNS
from goldrm.task.splits import Split
from goldrm.task.task import Task

FAMILIES = 4  # of each split, each with a prompt


def write_small_tables(folder: Path, task: Task, recipes: list[str]) -> None:
    """Write pairs and completions of two splits, and what recipes were trained on.

    Each prompt has its exact series, one that stops a term early and one whose last term is off by
    1, so three pairs. The recipes were trained on the first two completions.
    """
    for split in ("train", "test"):
        completions = _completions(split, task)
        labelled = task.with_prompts(completions)
        pairs = preference_pairs(labelled, task)
        write_parquet(folder / f"data/pairs/{split}.parquet", pairs)
        columns = [*task.prompt_columns, *COMPLETION_COLUMNS]
        write_parquet(folder / f"data/completions/{split}.parquet", labelled[columns])
        if split == "train":
            trained_on = labelled.groupby("group").head(2)
            for recipe in recipes:
                write_parquet(folder / f"data/examples/{recipe}.parquet", trained_on)


def _completions(split: Split, task: Task) -> pd.DataFrame:
    asked = ((i, task.space[i].properties) for i in task.ids_in(split))
    # With a difference of 1 both mistakes would be as bad.
    fitting = {task.family(i): i for i, p in asked if p["terms"] == 5 and p["difference"] > 1}
    whole = [i for i in fitting.values() if len(task.exact(i)) == 5]
    prompts = [(i, task.exact(i)) for i in whole[:FAMILIES]]
    return task.labelled(
        (group, prompt_id, values)
        for group, (prompt_id, exact) in enumerate(prompts)
        for values in (exact, exact[:-1], (*exact[:-1], exact[-1] - 1))
    )

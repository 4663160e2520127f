"""Completions whose numbers are chosen by hand."""

import pandas as pd

from goldrm.generation.pairs import preference_pairs
from goldrm.generation.source_dataset import PREFERENCE_COLUMNS
from goldrm.task.arithmetic_series import Series
from goldrm.task.prompts import Prompt
from goldrm.task.task import Task

NO_PREFERENCES = pd.DataFrame(columns=list(PREFERENCE_COLUMNS)).astype(PREFERENCE_COLUMNS)
TWO_TO_TEN = Series(template=1, start=2, difference=2, terms=5)


def completions_of(
    task: Task, prompt: Series | Prompt, *texts: str, group: int = 0
) -> pd.DataFrame:
    """Completions of a prompt with their gold rewards, as `Task.labelled` gives them."""
    prompt_id = task.space.id_of(prompt.text)
    return task.labelled((group, prompt_id, task.integers_in(text)) for text in texts)


def pairs_among(task: Task, completions: pd.DataFrame) -> pd.DataFrame:
    """The pairs that completions make."""
    return preference_pairs(task.with_prompts(completions), task)

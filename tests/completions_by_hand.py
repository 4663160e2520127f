"""Completions whose numbers are chosen by hand."""

import pandas as pd

from goldrm.generation.source_dataset import PREFERENCE_COLUMNS
from goldrm.task.series import Prompt
from goldrm.task.task import Task

NO_PREFERENCES = pd.DataFrame(columns=list(PREFERENCE_COLUMNS)).astype(PREFERENCE_COLUMNS)
TWO_TO_TEN = Prompt(template=1, start=2, difference=2, terms=5)


def completions_of(task: Task, prompt: Prompt, *texts: str, group: int = 0) -> pd.DataFrame:
    """Completions of a prompt with their gold rewards."""
    prompt_id = task.space.id_of(prompt)
    encode = task.dictionary.encode
    return pd.DataFrame(task.completion(group, prompt_id, encode(text)) for text in texts)

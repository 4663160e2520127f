"""Prompts that are spread over families."""

import numpy as np
import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.task.task import Task


def drawn_test_prompts(task: Task, count: int, seed: int) -> list[int]:
    """Prompts of the test split, drawn by the seed; fewer are the first of more.

    There is one of each family before there is a second of any.
    """
    ids = np.random.default_rng(stream_seed(seed, "test prompts", 0)).permutation(
        task.ids_in("test")
    )
    prompts = pd.DataFrame({"prompt_id": ids, "family": list(map(task.family, ids.tolist()))})
    rounds = prompts.groupby("family").cumcount().sort_values(kind="stable")
    return prompts["prompt_id"][rounds.index[:count]].tolist()

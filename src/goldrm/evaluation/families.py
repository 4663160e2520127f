"""Families as clusters, and prompts that are spread over them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.task.task import Task


def family_names(prompt_ids: Iterable[int], task: Task) -> list[str]:
    """The name of each prompt's family, such as "3 7" for all prompts of start 3, difference 4.

    Families are the clusters of intervals, since what is said of one isn't independent.
    """
    return [" ".join(map(str, task.family(prompt_id))) for prompt_id in prompt_ids]


def drawn_test_prompts(task: Task, count: int, seed: int) -> list[int]:
    """Prompts of the test split, drawn by the seed; fewer are the first of more.

    There is one of each family before there is a second of any.
    """
    ids = np.random.default_rng(stream_seed(seed, "test prompts", 0)).permutation(
        task.ids_in("test")
    )
    prompts = pd.DataFrame({"prompt_id": ids, "family": family_names(ids.tolist(), task)})
    rounds = prompts.groupby("family").cumcount().sort_values(kind="stable")
    return prompts["prompt_id"][rounds.index[:count]].tolist()

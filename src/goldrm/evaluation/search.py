"""A search for completions that fool a reward model: the worst, edited again and again."""

from random import Random

import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.edits.edits import possible_kinds
from goldrm.edits.random_edits import random_edit
from goldrm.evaluation.probes import Score
from goldrm.evaluation.tables import over_estimates
from goldrm.task.task import Task

CHILDREN = 4  # edits of each over-estimate in a round of the search


def search_over_estimates(
    candidates: pd.DataFrame, task: Task, score: Score, rounds: int, count: int, seed: int
) -> pd.DataFrame:
    """Look for completions whose reward is too high by far: the worst, edited again and again.

    Args:
        candidates: where to start, with prompt_id, prompt, completion, gold_reward and reward.
        task: knows prompts and gold rewards.
        score: the reward model.
        rounds: of edits.
        count: how many over-estimates are kept from round to round, and returned.
        seed: of the edits.

    Returns:
        See `evaluation.over_estimates`.
    """
    rng = Random(stream_seed(seed, "over-estimates", 0))
    columns = ["prompt_id", "prompt", "completion", "gold_reward", "reward"]
    pool = candidates[columns]
    for _ in range(rounds):
        worst = over_estimates(pool, count).join(pool["prompt_id"])
        rows = [
            row
            for prompt_id, text in worst[["prompt_id", "completion"]].itertuples(index=False)
            for row in _children(prompt_id, text, task, rng)
        ]
        children = task.with_prompts(pd.DataFrame(rows))
        rewards = score(children["prompt"].tolist(), children["completion"].tolist())
        pool = pd.concat([pool, children.assign(reward=rewards)[columns]], ignore_index=True)
    return over_estimates(pool, count)


def _children(prompt_id: int, text: str, task: Task, rng: Random) -> list[dict[str, object]]:
    series = tuple(map(int, text.split()))
    difference, max_value = task.space[prompt_id].difference, task.params.max_value
    kinds = possible_kinds(series, difference, max_value)
    return [
        task.series(0, prompt_id, random_edit(series, difference, max_value, rng, kinds))
        for _ in range(CHILDREN)
    ]

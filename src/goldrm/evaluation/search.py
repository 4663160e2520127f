"""A search for completions that fool a reward model: the worst, edited again and again."""

from collections.abc import Callable, Sequence
from random import Random

import pandas as pd

from goldrm.common.random_streams import stream_seed
from goldrm.edits.kinds import Series, possible_kinds
from goldrm.edits.random_edits import random_edit
from goldrm.evaluation.tables import over_estimates
from goldrm.task.task import Task

EDITS = 4  # of each over-estimate in a round of the search
Score = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # prompts, completions → rewards


def search_over_estimates(
    candidates: pd.DataFrame, task: Task, score: Score, rounds: int, count: int, seed: int
) -> pd.DataFrame:
    """Completions whose reward is too high by far.

    Args:
        candidates: where to start, with prompt_id, prompt, completion, gold_reward and reward.
        task: knows prompts and gold rewards.
        score: the reward model.
        rounds: of edits.
        count: how many over-estimates are kept from round to round, and returned.
        seed: of the edits.

    Returns:
        See `tables.over_estimates`.
    """
    rng = Random(stream_seed(seed, "over-estimates", 0))
    columns = ["prompt_id", "prompt", "completion", "gold_reward", "reward"]
    pool = candidates[columns].reset_index(drop=True)
    for _ in range(rounds):
        worst = over_estimates(pool, count).join(pool["prompt_id"])
        answers = [
            (0, prompt_id, values)
            for prompt_id, text in worst[["prompt_id", "completion"]].itertuples(index=False)
            for values in _edited(prompt_id, text, task, rng)
        ]
        edited = task.with_prompts(task.labelled(answers))
        rewards = score(edited["prompt"].tolist(), edited["completion"].tolist())
        pool = pd.concat([pool, edited.assign(reward=rewards)[columns]], ignore_index=True)
    return over_estimates(pool, count)


def _edited(prompt_id: int, text: str, task: Task, rng: Random) -> list[Series]:
    """Random edits of a completion."""
    series = tuple(map(int, text.split()))
    step, max_value = task.space[prompt_id].step, task.params.max_value
    kinds = possible_kinds(series, step, max_value)
    return [random_edit(series, step, max_value, rng, kinds) for _ in range(EDITS)]

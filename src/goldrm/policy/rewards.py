"""What a policy is optimised against: the gold reward itself, or a reward model's."""

import math
from collections.abc import Callable, Sequence

from goldrm.reward_model.model import RewardModel
from goldrm.task.task import Task

# Of completions, given as the numbers of their prompts and as tokens without the end token.
RewardFunction = Callable[[Sequence[int], Sequence[list[int]]], list[float]]


def gold_reward_function(task: Task, lowest: float) -> RewardFunction:
    """The gold reward.

    Args:
        task: knows it.
        lowest: what a completion without an integer gets, which has no gold reward.
    """

    def gold_rewards(prompt_ids: Sequence[int], completions: Sequence[list[int]]) -> list[float]:
        answers = map(task.dictionary.integers_in, completions)
        rewards = map(task.gold_reward, prompt_ids, answers)
        return [lowest if math.isnan(reward) else reward for reward in rewards]

    return gold_rewards


def model_reward_function(model: RewardModel, task: Task) -> RewardFunction:
    """A reward model's, of the text as the policy wrote it."""

    def rewards(prompt_ids: Sequence[int], completions: Sequence[list[int]]) -> list[float]:
        return model.score(
            [task.space[prompt_id].text for prompt_id in prompt_ids],
            list(map(task.dictionary.decode, completions)),
        )

    return rewards

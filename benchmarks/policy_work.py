"""A policy's step, and its sampling alone, as `make bench` measures them."""

from dataclasses import dataclass
from functools import cache

from frozen import Frozen

from goldrm.common.random_streams import random_stream
from goldrm.common.workers import ALONE
from goldrm.policy.loop import Training
from goldrm.policy.objective import PROMPTS_A_CHUNK, Objective, step_gradient
from goldrm.policy.rewards import gold_reward_function
from goldrm.policy.rollouts import Rollouts


@dataclass(frozen=True)
class PolicyWork:
    """A policy's optimisation for the gold reward, which hardly takes time."""

    objective: Objective
    training: Training

    @classmethod
    @cache
    def started(cls) -> "PolicyWork":
        """Of this process; it learns so slowly that it samples the same at every step."""
        frozen = Frozen.load()
        params = frozen.params.policy.model_copy(update={"learning_rate": 1e-12})
        gold_reward = gold_reward_function(frozen.task, frozen.params.gold_reward.min)
        objective = Objective(
            frozen.backbone.float().eval(),
            gold_reward,
            frozen.task,
            params,
            frozen.params.sampling.max_new_tokens,
            frozen.params.seed,
        )
        return cls(objective, Training(objective.frozen, params))

    def sampled(self) -> list[Rollouts]:
        """The first step's completions, chunk by chunk, as the step samples them."""
        prompt_ids = self.objective.training_prompts(0)
        chunks = []
        for chunk, first in enumerate(range(0, len(prompt_ids), PROMPTS_A_CHUNK)):
            own = prompt_ids[first : first + PROMPTS_A_CHUNK]
            with random_stream(self.objective.seed, "policy step", chunk):
                copies = self.objective.params.completions
                chunks.append(self.objective.sample(self.training.policy, own, copies))
        return chunks


def sample_of_policy() -> int:
    """What a step samples; steps."""
    PolicyWork.started().sampled()
    return 1


def step_of_policy() -> int:
    """A whole step; steps."""
    policy = PolicyWork.started()
    found = step_gradient(policy.training.policy, policy.objective, 0, ALONE)
    assert found is not None  # this process leads
    policy.training.take(found.gradient, policy.objective.params.max_grad_norm)
    return 1

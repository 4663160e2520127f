"""What a policy is optimised for, and the gradient of a step towards it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goldrm.common.random_streams import random_stream
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.policy.loss import Likelihoods, likelihoods, policy_loss
from goldrm.policy.params import PolicyParams
from goldrm.policy.rewards import RewardFunction
from goldrm.policy.rollouts import Rollouts, action_logits, sample
from goldrm.reward_model.gold_scale import SAME, Line
from goldrm.task.task import Task

PROMPTS_A_CHUNK = 8  # the unit of work, with all their completions


@dataclass(frozen=True)
class Objective:
    """What a policy is optimised for, and how.

    Attributes:
        frozen: the language model that it starts from, and is compared with.
        reward: what it is to get much of.
        task: gives prompts and their splits.
        params: of the optimisation.
        max_new_tokens: longest completion.
        seed: the run's.
        gold_scale: what brings the reward to the gold reward's scale, for looks.
    """

    frozen: Backbone
    reward: RewardFunction
    task: Task
    params: PolicyParams
    max_new_tokens: int
    seed: int
    gold_scale: Line = SAME

    def sample(self, policy: Backbone, prompt_ids: Sequence[int], copies: int) -> Rollouts:
        """Completions of prompts, from the current random stream."""
        prompts = [self.task.dictionary.encode(self.task.space[i].text) for i in prompt_ids]
        return sample(policy, prompts, copies, self.params.temperature, self.max_new_tokens)

    def likelihoods(self, policy: Backbone, rollouts: Rollouts) -> Likelihoods:
        """Of completions, with the policy's gradients where they are on."""
        with torch.no_grad():
            frozen_logits = action_logits(self.frozen, rollouts)
        logits = action_logits(policy, rollouts)
        actions = rollouts.action_ids(policy.sizes.padding_int).to(logits.device)
        is_action = rollouts.is_action.to(logits.device)
        return likelihoods(logits, frozen_logits, actions, is_action, self.params.temperature)

    def training_prompts(self, step: int) -> list[int]:
        """The prompts of a step: of training families, and of kinds that aren't held out."""
        with random_stream(self.seed, "policy prompts", step):
            order = torch.randperm(len(self._prompt_ids))[: self.params.prompts].tolist()
        return [self._prompt_ids[i] for i in order]

    @cached_property
    def _prompt_ids(self) -> list[int]:
        return [i for i in self.task.ids_in("train") if not self.task.is_held_out(i)]


class Gradient(NamedTuple):
    """Of a loss, all parameters' in one row, and what was seen on the way.

    Attributes:
        gradient: summed over completions.
        kl: likewise, in nats.
    """

    gradient: Float[Tensor, " parameters"]
    kl: float


def chunk_gradient(policy: Backbone, objective: Objective, prompt_ids: Sequence[int]) -> Gradient:
    """Sample completions of some prompts, from the current random stream, and learn from them.

    A completion that spells a series of a held-out family isn't learned from.
    """
    task = objective.task
    rollouts = objective.sample(policy, prompt_ids, objective.params.completions)
    answered = [prompt_ids[prompt] for prompt in rollouts.prompt.tolist()]
    completions = rollouts.without_end(policy.sizes.eos_int)
    answers = list(zip(answered, map(task.dictionary.integers_in, completions), strict=True))
    of = objective.likelihoods(policy, rollouts)
    device = of.log_probs.device
    loss = policy_loss(
        of,
        torch.tensor(objective.reward(answered, completions), device=device),
        torch.tensor([not task.leaks(*answer) for answer in answers], device=device),
        rollouts.sampled.to(device),
        objective.params.kl_weight,
    )
    gradients = torch.autograd.grad(loss, list(policy.parameters()))
    return Gradient(
        nn.utils.parameters_to_vector(gradients).cpu(),
        float(of.kl.detach()[rollouts.sampled].sum()),
    )


def step_gradient(
    policy: Backbone, objective: Objective, step: int, workers: Workers
) -> Gradient | None:
    """The mean gradient over a step's completions, to the leading process; None to the others."""
    prompt_ids = objective.training_prompts(step)
    chunks = -(-len(prompt_ids) // PROMPTS_A_CHUNK)

    def work(chunk: int) -> Gradient:
        first = chunk * PROMPTS_A_CHUNK
        with random_stream(objective.seed, "policy step", step * chunks + chunk):
            return chunk_gradient(policy, objective, prompt_ids[first : first + PROMPTS_A_CHUNK])

    parts = [part for _, part in workers.map(range(chunks), work)]
    if not parts:
        return None
    count = len(prompt_ids) * objective.params.completions
    gradient = sum((part.gradient for part in parts[1:]), parts[0].gradient) / count
    return Gradient(gradient, sum(part.kl for part in parts) / count)

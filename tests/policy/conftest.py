"""What tests of the optimisation share: few prompts, few steps, a small random language model."""

import pytest

from goldrm.lm.model import Backbone
from goldrm.policy.objective import Objective
from goldrm.policy.params import LookParams, PolicyParams
from goldrm.policy.rewards import RewardFunction, gold_reward_function
from goldrm.task.task import Task


@pytest.fixture
def policy_params() -> PolicyParams:
    """Two chunks a step, a look every other step."""
    return PolicyParams(
        prompts=10,
        completions=3,
        steps=4,
        learning_rate=1e-2,
        weight_decay=0.0,
        max_grad_norm=1.0,
        kl_weight=0.1,
        temperature=1.0,
        stop_kl=None,
        look=LookParams(steps=2, prompts=5, completions=2),
    )


@pytest.fixture
def gold_reward(task: Task) -> RewardFunction:
    return gold_reward_function(task, lowest=1.0)


@pytest.fixture
def objective(
    backbone: Backbone, gold_reward: RewardFunction, task: Task, policy_params: PolicyParams
) -> Objective:
    """The gold reward, for a model that writes random tokens."""
    return Objective(backbone, gold_reward, task, policy_params, max_new_tokens=6, seed=0)

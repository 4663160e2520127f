"""What a step is learned from."""

from dataclasses import replace

import pytest
import torch
from tasks_by_hand import with_series
from torch import nn

from goldrm.common.random_streams import random_stream
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.policy.loop import Training
from goldrm.policy.objective import Objective, chunk_gradient, step_gradient
from goldrm.task.arithmetic_series import HoldoutParams
from goldrm.task.task import Task


@pytest.fixture
def policy(objective: Objective) -> Backbone:
    """A policy that has gone a little way."""
    policy = Training(objective.frozen, objective.params).policy
    with torch.no_grad(), random_stream(0, "test"):
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return policy


def test_prompts_are_of_training_families_and_of_kinds_that_are_not_held_out(
    objective: Objective, task: Task, gold_reward_params
):
    holdout = HoldoutParams(template=[2], difference=[7], terms=[])
    other = Task(task.dictionary, with_series(task.params, holdout=holdout), gold_reward_params)
    objective = replace(objective, task=other)
    drawn = [objective.training_prompts(step) for step in range(20)]
    assert all(len(set(prompt_ids)) == 10 for prompt_ids in drawn)
    prompts = {prompt_id for prompt_ids in drawn for prompt_id in prompt_ids}
    assert len(prompts) > 150
    assert {other.split_of(prompt_id) for prompt_id in prompts} == {"train"}
    assert not any(other.is_held_out(prompt_id) for prompt_id in prompts)
    assert objective.training_prompts(3) == drawn[3]
    assert replace(objective, seed=1).training_prompts(3) != drawn[3]


def test_a_step_is_the_mean_over_its_completions(policy: Backbone, objective: Objective):
    """Its chunks' gradients, each of its own random stream, over 30 completions."""
    prompt_ids = objective.training_prompts(5)
    parts = []
    for chunk, own in enumerate((prompt_ids[:8], prompt_ids[8:])):
        with random_stream(0, "policy step", 10 + chunk):
            parts.append(chunk_gradient(policy, objective, own))
    step = step_gradient(policy, objective, 5, ALONE)
    assert step is not None
    torch.testing.assert_close(step.gradient, (parts[0].gradient + parts[1].gradient) / 30)
    assert step.kl == pytest.approx((parts[0].kl + parts[1].kl) / 30)
    assert step.kl > 0
    assert step.gradient.norm() > 0


def test_nothing_is_learned_from_series_of_held_out_families(
    policy: Backbone, objective: Objective, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    monkeypatch.setattr(Task, "leaks", lambda _, *answer: bool(seen.append(answer)) or True)
    with random_stream(0, "test"):
        found = chunk_gradient(policy, objective, [0, 1])
    assert not found.gradient.any()
    assert {prompt_id for prompt_id, _ in seen} == {0, 1}


def test_equal_rewards_teach_nothing(policy: Backbone, objective: Objective):
    params = objective.params.model_copy(update={"kl_weight": 0.0})
    equal = replace(
        objective, reward=lambda _, completions: [3.0] * len(completions), params=params
    )
    assert not chunk_gradient(policy, equal, [0, 1]).gradient.any()


def test_first_update_is_adams_along_the_clipped_gradient(objective: Objective):
    """AdamW's first step is the learning rate along each element's sign, where it isn't tiny."""
    training = Training(objective.frozen, objective.params)
    before = nn.utils.parameters_to_vector(training.policy.parameters()).detach().clone()
    gradient = torch.linspace(-1, 1, len(before))
    training.take(gradient, max_norm=1.0)
    after = nn.utils.parameters_to_vector(training.policy.parameters()).detach()
    moved = gradient.abs() > 0.01
    torch.testing.assert_close(
        (after - before)[moved], -1e-2 * gradient.sign()[moved], atol=1e-4, rtol=0
    )
    assert all(p.grad is not None for p in training.policy.parameters())
    norm = torch.cat([p.grad.flatten() for p in training.policy.parameters()]).norm()
    assert float(norm) == pytest.approx(1.0, rel=1e-4)


def test_the_frozen_model_stays(objective: Objective):
    before = nn.utils.parameters_to_vector(objective.frozen.parameters()).clone()
    training = Training(objective.frozen, objective.params)
    training.take(torch.ones(len(before)), max_norm=1.0)
    assert nn.utils.parameters_to_vector(objective.frozen.parameters()).equal(before)
    assert not any(parameter.requires_grad for parameter in objective.frozen.parameters())

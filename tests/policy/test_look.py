"""What is looked at: numbers by hand, the same completions each time, unseen families only."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from goldrm.common.workers import ALONE
from goldrm.policy.look import drawn_prompts, headline, look, summary
from goldrm.policy.loop import Training
from goldrm.policy.objective import Objective, step_gradient
from goldrm.policy.rewards import RewardFunction
from goldrm.reward_model.gold_scale import Line
from goldrm.task.arithmetic_series import Series
from goldrm.task.task import Task


def test_summary_by_hand(task: Task):
    """Two prompts of two families: completions of different rewards, and of one reward."""
    prompts = [task.space.id_of(Series(1, start, 2, 5).text) for start in (2, 9)]
    table = pd.DataFrame(
        {
            "group": [0, 0, 1, 1],
            "prompt_id": [prompts[0]] * 2 + [prompts[1]] * 2,
            "completion": ["a", "b", "c", "c"],
            "reward": [6.0, 7.0, 5.0, 5.0],
            "gold_reward": [3.0, 5.0, 4.0, 4.0],
            "spread": [1.0, 1.0, 0.0, 0.0],
            "kl": [0.5, 1.5, 1.0, 2.0],
            "entropy": [2.0, 4.0, 3.0, 3.0],
            "actions": [6, 6, 4, 8],
            "exact": [True, True, False, False],
        }
    )
    start = table.assign(gold_reward=[2.0, 2.0, 3.0, 5.0], exact=[False, False, False, False])
    row = summary(table, start, task, seed=0)
    assert {name: row[name] for name in ("kl", "reward", "gold_reward", "exact_match")} == {
        "kl": 1.25,
        "reward": 5.75,
        "gold_reward": 4.0,
        "exact_match": 0.5,
    }
    assert row["length"] == 6.0
    assert row["entropy"] == 12 / 24
    assert row["without_spread"] == 0.5
    assert (row["prompts"], row["families"]) == (2, 2)
    gains = {"gold_reward": (2 - 0) / 2, "exact_match": 1 / 2}
    for name, gain in gains.items():
        assert row[f"{name}_gain"] == gain
        assert row[f"{name}_gain_low"] <= gain <= row[f"{name}_gain_high"]
    assert headline(row) == {"exact_match": 0.5, "gold_reward": 4.0, "kl": 1.25}


def test_the_frozen_model_has_no_distance_from_itself(
    objective: Objective, gold_reward: RewardFunction, task: Task
):
    prompt_ids = drawn_prompts(task, "test", 11, seed=0)
    rows = look(objective.frozen, objective, gold_reward, prompt_ids, ALONE)
    assert rows["kl"].abs().max() < 1e-5
    assert rows["prompt_id"].tolist() == [i for i in prompt_ids for _ in range(2)]
    assert rows["group"].tolist() == [i for i in range(11) for _ in range(2)]
    assert rows["reward"].tolist() == rows["gold_reward"].tolist()
    assert (rows["actions"] <= 6).all()
    vocabulary = math.log(objective.frozen.sizes.num_tokens)
    assert (rows["entropy"] <= rows["actions"] * vocabulary).all()
    again = look(objective.frozen, objective, gold_reward, prompt_ids, ALONE)
    pd.testing.assert_frame_equal(again, rows)
    other = look(objective.frozen, replace(objective, seed=1), gold_reward, prompt_ids, ALONE)
    assert other["completion"].tolist() != rows["completion"].tolist()


def test_rewards_are_shown_on_the_gold_scale(
    objective: Objective, gold_reward: RewardFunction, task: Task
):
    """What teaches the policy is what it was, and so is its spread, even if the line is flat."""
    own = replace(objective, gold_scale=Line(slope=2.0, intercept=-3.0))
    rows = look(own.frozen, own, gold_reward, drawn_prompts(task, "test", 11, seed=0), ALONE)
    assert rows["reward"].tolist() == (2 * rows["gold_reward"] - 3).tolist()
    spread = rows.groupby("group")["gold_reward"].transform(np.ptp)
    assert rows["spread"].tolist() == spread.tolist()
    assert spread.any()
    flat = replace(objective, gold_scale=Line(slope=0.0, intercept=4.0))
    rows = look(own.frozen, flat, gold_reward, drawn_prompts(task, "test", 11, seed=0), ALONE)
    assert set(rows["reward"]) == {4.0}
    assert rows["spread"].tolist() == spread.tolist()
    policy = Training(own.frozen, own.params).policy
    gradients = [step_gradient(policy, each, 0, ALONE) for each in (objective, own)]
    assert torch.equal(*(found.gradient for found in gradients if found))


def test_mean_of_log_probability_ratios_is_the_exact_kl(objective: Objective, task: Task):
    """By 2,000 samples, of a policy a little way off: within four standard errors."""
    policy = objective.frozen
    frozen = type(policy)(policy.sizes)
    frozen.load_state_dict(policy.state_dict())
    with torch.no_grad():
        frozen.token_prediction.bias[:50] += 1.0
    objective = replace(objective, frozen=frozen.frozen())
    torch.manual_seed(0)
    rollouts = objective.sample(policy, task.ids_in("test")[:1], 2000)
    with torch.no_grad():
        of = objective.likelihoods(policy, rollouts)
        of_frozen = replace(objective, frozen=policy).likelihoods(frozen, rollouts)
    ratios = (of.log_probs - of_frozen.log_probs)[rollouts.sampled].flatten()
    error = float(ratios.std()) / math.sqrt(len(ratios))
    assert float(of.kl[rollouts.sampled].mean()) == pytest.approx(
        float(ratios.mean()), abs=4 * error
    )
    assert error < 0.1 * float(ratios.mean())


def test_prompts_are_of_the_split_and_fewer_are_the_first_of_more(task: Task):
    prompt_ids = drawn_prompts(task, "test", 40, seed=0)
    assert {task.split_of(prompt_id) for prompt_id in prompt_ids} == {"test"}
    assert len(set(prompt_ids)) == 40
    assert drawn_prompts(task, "test", 15, seed=0) == prompt_ids[:15]
    assert drawn_prompts(task, "test", 15, seed=1) != prompt_ids[:15]
    assert len(drawn_prompts(task, "test", 10**6, seed=0)) == len(task.ids_in("test"))

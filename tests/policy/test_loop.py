"""The optimisation: what steers it, what a kill changes (nothing), and that it helps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import ROOT
from tasks_by_hand import with_series

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.common.resume import ResumePoint
from goldrm.common.tensor_files import read_tensors_of_others
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import sizes_from
from goldrm.lm.weights import build_backbone
from goldrm.policy.loop import Optimised, optimise
from goldrm.policy.objective import Objective
from goldrm.policy.params import LookParams
from goldrm.policy.rewards import RewardFunction, gold_reward_function
from goldrm.task.params import GoldRewardParams
from goldrm.task.task import Task

Run = Callable[[Objective], Optimised]


@pytest.fixture
def resume_point(tmp_path: Path) -> ResumePoint:
    return ResumePoint(tmp_path / "policy.pt")


@pytest.fixture
def run(gold_reward: RewardFunction, resume_point: ResumePoint) -> Run:
    """Optimise from the beginning."""

    def run(objective: Objective) -> Optimised:
        optimised = optimise(objective, gold_reward, resume_point, ALONE)
        assert optimised is not None
        return optimised

    return run


def changed(objective: Objective, **changes: Any) -> Objective:
    return replace(objective, params=objective.params.model_copy(update=changes))


def vector(optimised: Optimised) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in optimised.state.values()])


def test_policy_is_looked_at_now_and_then_and_at_the_end(objective: Objective, run: Run):
    optimised = run(changed(objective, steps=3))
    assert [row["step"] for row in optimised.curve] == [0, 2, 3]
    assert optimised.curve[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert optimised.curve[-1]["kl"] > 0.01
    assert optimised.looked_at["kl"].mean() == pytest.approx(optimised.curve[-1]["kl"])
    assert optimised.state.keys() == objective.frozen.state_dict().keys()


def test_weights_share_no_memory(objective: Objective, run: Run, resume_point: ResumePoint):
    """Else an interrupted run, when it goes on, sends all of it once for each of them."""
    optimised = run(changed(objective, steps=3))
    saved = resume_point.load()
    assert saved is not None
    for state in (optimised.state, saved["policy"]):
        for tensor in state.values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_it_ends_where_the_kl_on_training_prompts_is_too_high(objective: Objective, run: Run):
    """The first batch's is 0, the second's isn't."""
    optimised = run(changed(objective, stop_kl=1e-4))
    assert [row["step"] for row in optimised.curve] == [0, 1]


def test_nothing_held_out_steers_it(objective: Objective, gold_reward: RewardFunction, tmp_path):
    """Neither how often it is looked at nor what completions are worth in truth."""
    first, other = (
        optimise(
            changed(objective, look=LookParams(steps=steps, prompts=prompts, completions=2)),
            gold,
            ResumePoint(tmp_path / f"{steps}.pt"),
            ALONE,
        )
        for steps, prompts, gold in (
            (1, 7, gold_reward),
            (9, 2, lambda _, completions: [2.0] * len(completions)),
        )
    )
    assert first is not None
    assert other is not None
    assert vector(first).equal(vector(other))


class Killed:
    """A reward function that is interrupted when it is asked so many times."""

    def __init__(self, reward: RewardFunction, calls: int) -> None:
        self.reward, self.calls, self.asked = reward, calls, 0

    def __call__(self, prompt_ids: Sequence[int], completions: Sequence[list[int]]) -> list[float]:
        if self.asked == self.calls:
            raise KeyboardInterrupt
        self.asked += 1
        return self.reward(prompt_ids, completions)


CALLS = 11  # a look, two steps of two chunks, a look, two steps, a look


@pytest.mark.parametrize("calls", [0, 2, 5, 6, 9, 10])
def test_a_kill_changes_nothing(
    objective: Objective, gold_reward: RewardFunction, tmp_path: Path, calls: int
):
    """A resume point after the looks at steps 0 and 2, which the first and sixth call are of.

    What was at the start is looked at once more, whenever the work goes on.
    """
    counting = Killed(gold_reward, CALLS)
    whole = optimise(
        replace(objective, reward=counting), gold_reward, ResumePoint(tmp_path / "1.pt"), ALONE
    )
    assert counting.asked == CALLS
    resume_point = ResumePoint(tmp_path / "2.pt")
    killed = replace(objective, reward=Killed(gold_reward, calls))
    with pytest.raises(KeyboardInterrupt):
        optimise(killed, gold_reward, resume_point, ALONE)
    torch.manual_seed(calls)
    counting = Killed(gold_reward, CALLS)
    resumed = optimise(replace(objective, reward=counting), gold_reward, resume_point, ALONE)
    assert whole is not None
    assert resumed is not None
    assert vector(resumed).equal(vector(whole))
    assert resumed.curve == whole.curve
    assert resumed.looked_at.equals(whole.looked_at)
    assert counting.asked == CALLS - (0 if calls < 6 else 5)


def test_a_gradient_that_is_not_finite_is_refused(objective: Objective, run: Run):
    nothing = replace(objective, reward=lambda _, completions: [float("nan")] * len(completions))
    with pytest.raises(GoldrmError, match=r"isn't finite at step 0. Lower policy.learning_rate of"):
        run(nothing)


@pytest.fixture
def sloppy_lm(task: Task) -> Backbone:
    """The stand-in for the course's model, made to overlook where series end."""
    path = ROOT / "upstream/sft_lm.safetensors"
    state, declared = read_tensors_of_others(path, path.name)
    backbone = build_backbone(sizes_from(declared, path.name), state, task.dictionary, path.name)
    with torch.no_grad():
        backbone.token_prediction.bias[task.dictionary.eos_id] -= 14.0
    return backbone


def test_policy_trained_on_the_gold_reward_gets_better_on_unseen_families(
    sloppy_lm: Backbone,
    objective: Objective,
    gold_reward_params: GoldRewardParams,
    resume_point: ResumePoint,
):
    """In greedy exact match, the interval of the difference is above 0; of short series."""
    short = with_series(objective.task.params, terms=IntRange(min=5, max=5))
    task = Task(objective.task.dictionary, short, gold_reward_params)
    gold_reward = gold_reward_function(task, gold_reward_params.min)
    objective = changed(
        replace(objective, frozen=sloppy_lm, reward=gold_reward, task=task, max_new_tokens=8),
        prompts=8,
        completions=8,
        steps=6,
        learning_rate=1e-4,
        kl_weight=0.0,
        look=LookParams(steps=6, prompts=30, completions=2),
    )
    optimised = optimise(objective, gold_reward, resume_point, ALONE)
    assert optimised is not None
    before, after = optimised.curve
    assert after["exact_match_gain_low"] > 0.1
    assert after["gold_reward_gain_low"] > 0
    assert after["exact_match"] - before["exact_match"] == pytest.approx(after["exact_match_gain"])
    assert before["families"] > 20

"""The optimisation of a policy, step by step, with looks between; it goes on after a kill."""

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from goldrm.common.adamw import AdamW
from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar
from goldrm.common.resume import ResumePoint
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.policy.look import drawn_prompts, look, summary
from goldrm.policy.objective import Gradient, Objective, step_gradient
from goldrm.policy.params import PolicyParams
from goldrm.policy.rewards import RewardFunction
from goldrm.task.splits import Split

LOOKED_AT: Split = "test"  # families that neither a language model nor a reward model has seen


@dataclass(frozen=True)
class Optimised:
    """A policy and how it came about.

    Attributes:
        state: its weights.
        curve: a row a look: step, and what `look.summary` returns.
        looked_at: the last look's completions, as `look` returns them.
    """

    state: Mapping[str, Tensor]
    curve: list[dict[str, float]]
    looked_at: pd.DataFrame


class Training:
    """A policy, its optimiser and all else that changes while it trains."""

    def __init__(self, frozen: Backbone, params: PolicyParams) -> None:
        """A copy of the frozen model, not trained yet."""
        self.policy = deepcopy(frozen).requires_grad_(True).eval()
        self.optimizer = AdamW(
            self.policy.parameters(),
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=True,
        )
        self.step = 0
        self.curve: dict[int, dict[str, float]] = {}  # by step

    def take(self, gradient: Tensor, max_norm: float) -> None:
        """Step along a gradient, clipped to a norm."""
        for parameter, part in self._parts(gradient):
            parameter.grad = part.to(parameter.device)
        nn.utils.clip_grad_norm_(self.policy.parameters(), max_norm)
        self.optimizer.step()

    def set_weights(self, weights: Tensor) -> None:
        """Give the policy's parameters values that stand in one row.

        They are copied: parameters that share memory would each be sent with all of it.
        """
        with torch.no_grad():
            for parameter, part in self._parts(weights):
                parameter.copy_(part)

    def _parts(self, row: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
        parameters = list(self.policy.parameters())
        parts = row.split([each.numel() for each in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            yield parameter, part.view_as(parameter)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "curve": self.curve,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.curve = state["step"], state["curve"]


def optimise(
    objective: Objective,
    gold_reward: RewardFunction,
    resume_point: ResumePoint,
    workers: Workers,
) -> Optimised | None:
    """Optimise a policy until its steps are over, or its KL on training prompts is high enough.

    Args:
        objective: what for.
        gold_reward: what completions are worth in truth, to look at.
        resume_point: where an interrupted optimisation goes on.
        workers: who share the work.

    Returns:
        What came of it; None in all processes but the leading one.

    Raises:
        GoldrmError: when the policy diverges.
    """
    params, task = objective.params, objective.task
    training = Training(objective.frozen, params)
    _resume(training, resume_point, workers)
    shown = drawn_prompts(task, LOOKED_AT, params.look.prompts, objective.seed)
    steps = progress_bar(
        range(training.step, params.steps),
        initial=training.step,
        total=params.steps,
        desc="optimize_policy",
        unit="step",
        disable=workers.hide_progress,
    )

    def look_at(policy: Backbone) -> pd.DataFrame:
        return look(policy, objective, gold_reward, shown, workers)

    def record(looked_at: pd.DataFrame) -> None:
        if workers.is_leader:
            training.curve[training.step] = summary(looked_at, start, task, objective.seed)

    start = look_at(objective.frozen)
    for step in steps:
        if step % params.look.steps == 0 and step not in training.curve:
            record(look_at(training.policy) if step else start)
            if workers.is_leader:
                resume_point.save(training.state_dict())
        if not _take_step(training, objective, workers):
            break
    looked_at = look_at(training.policy)
    record(looked_at)
    if not workers.is_leader:
        return None
    curve = [{"step": step, **row} for step, row in training.curve.items()]
    return Optimised(training.policy.state_dict(), curve, looked_at)


def _resume(training: Training, resume_point: ResumePoint, workers: Workers) -> None:
    """Go on from a resume point, if there is one, in all processes."""
    (state,) = workers.broadcast((resume_point.load(),) if workers.is_leader else None)
    if state is not None:
        training.load_state_dict(state)


def _take_step(training: Training, objective: Objective, workers: Workers) -> bool:
    """One update; False where there is none, because the KL is as high as it may get."""
    params, policy = objective.params, training.policy
    found = step_gradient(policy, objective, training.step, workers)
    weights = None
    if found is not None and (params.stop_kl is None or found.kl < params.stop_kl):
        _refuse_divergence(found, training.step, params)
        training.take(found.gradient, params.max_grad_norm)
        weights = nn.utils.parameters_to_vector(policy.parameters()).detach().cpu()
    (weights,) = workers.broadcast((weights,) if workers.is_leader else None)
    if weights is None:
        return False
    training.set_weights(weights)
    training.step += 1
    return True


def _refuse_divergence(found: Gradient, step: int, params: PolicyParams) -> None:
    if not math.isfinite(float(found.gradient.sum())):
        raise GoldrmError(
            f"the policy's gradient isn't finite at step {step}. Lower policy.learning_rate of "
            f"{params.learning_rate}."
        )

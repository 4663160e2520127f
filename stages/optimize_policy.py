"""Stage optimize_policy@RECIPE: the language model, optimised against a recipe's reward model."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch

from goldrm.common.device import set_up
from goldrm.common.files import read_checked_json, write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.resume import ResumePoint
from goldrm.common.tables import write_csv, write_parquet
from goldrm.generation.params import LengthParams
from goldrm.lm.weights import load_backbone, save_backbone, sft_sha256
from goldrm.pipeline.paths import DICTIONARY, MODELS, POLICIES, POLICY_METRICS, SFT
from goldrm.pipeline.stage import Run, run_stage
from goldrm.policy.look import headline
from goldrm.policy.loop import Optimised, optimise
from goldrm.policy.objective import Objective
from goldrm.policy.params import PolicyParams
from goldrm.policy.rewards import gold_reward_function, model_reward_function
from goldrm.reward_model.gold_scale import SAME
from goldrm.reward_model.model import RewardModel, load_reward_model
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task


class PolicyStageParams(Section):
    """What a stage reads of params.yaml that optimises a policy."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    gold_reward: GoldRewardParams
    sampling: LengthParams
    policy: PolicyParams


class Params(PolicyStageParams):
    """The same, and of the recipes the name of its own."""

    models: dict[str, dict[str, Any]]


def optimize_policy(params: Params, run: Run) -> None:
    """data/sft, data/models → data/policies, metrics and what was looked at."""
    (name,) = params.models

    def load(task: Task, device: torch.device) -> RewardModel:
        return load_reward_model(MODELS / name, SFT, task.dictionary, device)

    optimise_for(name, load, params, run)


def optimise_for(
    name: str,
    load: Callable[[Task, torch.device], RewardModel] | None,
    params: PolicyStageParams,
    run: Run,
) -> None:
    """Optimise a policy and write what comes of it.

    Args:
        name: what it is optimised for.
        load: loads that reward model; None: the gold reward.
        params: of the stage.
        run: the stage's.
    """
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    gold_reward = gold_reward_function(task, params.gold_reward.min)
    model = load(task, device) if load else None
    objective = Objective(
        load_backbone(SFT, tokens, device),
        model_reward_function(model, task) if model else gold_reward,
        task,
        params.policy,
        params.sampling.max_new_tokens,
        params.seed,
        model.gold_scale if model else SAME,
    )
    optimised = optimise(objective, gold_reward, ResumePoint(run.work / "training.pt"), run.workers)
    if optimised is not None:
        write_policy(name, optimised, objective)


def write_policy(name: str, optimised: Optimised, objective: Objective) -> None:
    """Write what came of a policy: its files as data/sft has them, and what was looked at."""
    provenance = {
        "reward": name,
        "steps": optimised.curve[-1]["step"],
        "temperature": objective.params.temperature,
        "sft_sha256": sft_sha256(SFT),
        "split_seed": read_checked_json(SFT / "config.json").get("split_seed"),
    }
    save_backbone(POLICIES / name, objective.frozen.sizes, optimised.state, provenance)
    looked_at = objective.task.with_prompts(optimised.looked_at)
    write_parquet(POLICIES / name / "completions.parquet", looked_at)
    curve = pd.DataFrame(optimised.curve)
    curve.insert(0, "model", name)
    curve.insert(1, "seed", objective.seed)
    write_csv(POLICIES / name / "curve.csv", curve)
    write_json(POLICY_METRICS / f"{name}.json", headline(optimised.curve[-1]))


if __name__ == "__main__":
    run_stage(Params, optimize_policy)

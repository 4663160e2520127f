"""Stage optimize_gold: the language model, optimised against the gold reward itself."""

from goldrm.common.device import set_up
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.resume import ResumePoint
from goldrm.generation.params import LengthParams
from goldrm.lm.weights import load_backbone
from goldrm.pipeline.paths import DICTIONARY, SFT
from goldrm.pipeline.stage import Run, run_stage
from goldrm.policy.loop import optimise
from goldrm.policy.objective import Objective
from goldrm.policy.params import PolicyParams
from goldrm.policy.rewards import gold_reward_function
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task
from stages.optimize_policy import write_policy


class Params(Section):
    """What the stage reads of params.yaml."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    gold_reward: GoldRewardParams
    sampling: LengthParams
    policy: PolicyParams


def optimize_gold(params: Params, run: Run) -> None:
    """data/sft → data/policies/gold, metrics and what was looked at."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    gold_reward = gold_reward_function(task, params.gold_reward.min)
    objective = Objective(
        load_backbone(SFT, tokens, device),
        gold_reward,
        task,
        params.policy,
        params.sampling.max_new_tokens,
        params.seed,
    )
    optimised = optimise(objective, gold_reward, ResumePoint(run.work / "training.pt"), run.workers)
    if optimised is not None:
        write_policy("gold", optimised, objective)


if __name__ == "__main__":
    run_stage(Params, optimize_gold)

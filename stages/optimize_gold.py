"""Stage optimize_gold: the language model, optimised against the gold reward itself."""

from goldrm.pipeline.stage import Run, run_stage
from stages.optimize_policy import PolicyStageParams, optimise_for


class Params(PolicyStageParams):
    """What the stage reads of params.yaml."""


def optimize_gold(params: Params, run: Run) -> None:
    """data/sft → data/policies/gold, metrics and what was looked at."""
    optimise_for("gold", None, params, run)


if __name__ == "__main__":
    run_stage(Params, optimize_gold)

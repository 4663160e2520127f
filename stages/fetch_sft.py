"""Stage fetch_sft: the frozen language model, checked and measured."""

from goldrm.common.device import set_up
from goldrm.common.files import write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import write_csv
from goldrm.generation.params import LengthParams
from goldrm.lm import weights
from goldrm.pipeline.paths import DICTIONARY, METRICS, PLOTS, SFT
from goldrm.pipeline.stage import Run, run_stage
from goldrm.sft.evaluation import evaluate_sft, headline
from goldrm.sft.params import SftParams
from goldrm.sft.source import fetch_sft as fetch
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task


class Params(Section):
    """What the stage reads of params.yaml."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    sft: SftParams
    gold_reward: GoldRewardParams
    sampling: LengthParams


def fetch_sft(params: Params, run: Run) -> None:
    """`sft.source` → data/sft, metrics/sft.json and metrics/plots/sft.csv."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    fetched = run.workers.broadcast(
        fetch(params.sft, tokens, params.task, run.work / "fetched")
        if run.workers.is_leader
        else None
    )
    statistics = evaluate_sft(
        fetched.backbone.to(device),
        Task(tokens, params.task, params.gold_reward),
        params.sft.evaluation_prompts,
        params.sampling.max_new_tokens,
        params.seed,
        run.workers,
    )
    if not run.workers.is_leader:
        return
    weights.save_backbone(SFT, fetched.sizes, fetched.state, fetched.provenance)
    write_csv(PLOTS / "sft.csv", statistics)
    write_json(METRICS / "sft.json", headline(statistics))


if __name__ == "__main__":
    run_stage(Params, fetch_sft)

"""Stage fetch_sft: the frozen language model, checked and measured."""

from pathlib import Path

from goldrm import backbone_files, dictionary, distributed, sft_source
from goldrm.checkpoint import write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import DICTIONARY, METRICS, SFT
from goldrm.preferences import Labeller
from goldrm.sft_evaluation import evaluate_sft
from goldrm.stage import run_stage


def fetch_sft(params: Params, work: Path) -> None:
    """`sft.source` → data/sft and metrics/sft.json."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    fetched = distributed.agreed(
        sft_source.fetch_sft(params.sft, tokens, params.task, work / "fetched")
        if distributed.leads()
        else None
    )
    metrics = evaluate_sft(
        fetched.backbone.to(device),
        Labeller(tokens, params.task, params.gold_reward),
        params.sft.evaluation_prompts,
        params.sampling.max_new_tokens,
        params.seed,
    )
    if not distributed.leads():
        return
    backbone_files.save_backbone(SFT, fetched.sizes, fetched.state, fetched.provenance)
    write_json(METRICS / "sft.json", metrics)


if __name__ == "__main__":
    run_stage(load_params, fetch_sft, lambda params: params.runtime.processes)

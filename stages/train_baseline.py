"""Stage train_baseline: the notebook's readout by the notebook's recipe, to compare with."""

from pathlib import Path

from goldrm import backbone_files, dictionary, scoring, training
from goldrm.checkpoint import write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import BASELINE, COMPLETIONS, DICTIONARY, METRICS, SFT
from goldrm.preferences import Labeller
from goldrm.stage import run_stage
from goldrm.tables import read_parquet
from goldrm.training_run import train_members


def train_baseline(params: Params, work: Path) -> None:
    """data/completions, data/sft → data/baseline and metrics/baseline.json."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    trained = train_members(
        backbone_files.load_backbone(SFT, tokens, device),
        Labeller(tokens, params.task, params.gold_reward),
        {
            split: read_parquet(COMPLETIONS / f"{split}.parquet")
            for split in ("train", "validation")
        },
        params.baseline.reward_model,
        params.baseline.train,
        params.seed,
        work,
    )
    if trained is None:
        return
    scoring.save_reward_model(
        BASELINE,
        trained.states,
        params.baseline.reward_model,
        backbone_files.sft_sha256(SFT),
        trained.first.best,
    )
    write_json(METRICS / "baseline.json", training.summary(trained.first))


if __name__ == "__main__":
    run_stage(load_params, train_baseline, lambda params: params.runtime.processes)

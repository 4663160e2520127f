"""Stage train_rm: a readout trained on the frozen model's hidden states."""

from pathlib import Path

import pandas as pd

from goldrm import backbone_files, dictionary, scoring, training
from goldrm.checkpoint import write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.paths import COMPLETIONS, DICTIONARY, METRICS, PLOTS, REWARD_MODEL, SFT
from goldrm.preferences import Labeller
from goldrm.stage import run_stage
from goldrm.tables import read_parquet, write_csv
from goldrm.training_run import train_members


def train_rm(params: Params, work: Path) -> None:
    """data/completions, data/sft → data/reward_model, metrics/train.json, the learning curve."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    trained = train_members(
        backbone_files.load_backbone(SFT, tokens, device),
        Labeller(tokens, params.task, params.gold_reward),
        {
            split: read_parquet(COMPLETIONS / f"{split}.parquet")
            for split in ("train", "validation")
        },
        params.reward_model,
        params.train,
        params.seed,
        work,
    )
    if trained is None:
        return
    sft_sha256 = backbone_files.sft_sha256(SFT)
    scoring.save_reward_model(
        REWARD_MODEL, trained.states, params.reward_model, sft_sha256, trained.first.best
    )
    write_csv(PLOTS / "learning_curve.csv", pd.DataFrame(trained.first.curve))
    write_json(METRICS / "train.json", training.summary(trained.first))


if __name__ == "__main__":
    run_stage(load_params, train_rm, lambda params: params.runtime.processes)

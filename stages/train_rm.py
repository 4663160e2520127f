"""Stage train_rm: a readout trained on the frozen model's hidden states."""

from pathlib import Path

import pandas as pd

from goldrm import backbone_files, dictionary, scoring, training
from goldrm.checkpoint import ResumePoint, write_json
from goldrm.config import Params, load_params
from goldrm.device import set_up
from goldrm.features import pair_features
from goldrm.paths import DICTIONARY, METRICS, PAIRS, PLOTS, REWARD_MODEL, SFT
from goldrm.reward_model import new_readout
from goldrm.stage import run_stage
from goldrm.tables import read_parquet, write_csv


def train_rm(params: Params, work: Path) -> None:
    """data/pairs and data/sft → data/reward_model, metrics/train.json and the learning curve."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    backbone = backbone_files.load_backbone(SFT, tokens, device)
    train_pairs = read_parquet(PAIRS / "train.parquet")[: params.train.num_pairs]
    validation_pairs = read_parquet(PAIRS / "validation.parquet")
    trained = training.train_readout(
        new_readout(params.reward_model, backbone.sizes.d, params.seed).to(device),
        pair_features(backbone, tokens, train_pairs, work / "train"),
        pair_features(backbone, tokens, validation_pairs, work / "validation"),
        params.train,
        params.seed,
        ResumePoint(work / "training.pt"),
    )
    scoring.save_readout(
        REWARD_MODEL,
        trained.state,
        params.reward_model,
        backbone_files.sft_sha256(SFT),
        trained.best,
    )
    write_csv(PLOTS / "learning_curve.csv", pd.DataFrame(trained.curve))
    write_json(METRICS / "train.json", training.summary(trained))


if __name__ == "__main__":
    run_stage(load_params, train_rm)

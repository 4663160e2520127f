"""Draws the learning curve: accuracy on unseen pairs against the number of training pairs.

`last_token` by the baseline's recipe; `token_damage` by train's, on sampled completions only and
with their edits, but without further prompts. A readout is trained for as many steps on few pairs
as on many; the best step by validation loss counts. Needs what `dvc repro` made. Writes
metrics/study.csv and metrics/study.png.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from goldrm import backbone_files, dictionary, metrics, plots
from goldrm.config import (
    EditsParams,
    EvaluateParams,
    Params,
    RewardModelParams,
    TrainParams,
    load_params,
)
from goldrm.device import set_up
from goldrm.paths import COMPLETIONS, DICTIONARY, METRICS, PAIRS, SFT
from goldrm.preferences import Labeller
from goldrm.reward_model import empty_readout
from goldrm.scoring import RewardModel
from goldrm.series import Split
from goldrm.tables import read_parquet, write_csv
from goldrm.training_run import train_members

WORK = Path(".work/study")
SIZES = (500, 1000, 2000, 4000, None)  # training pairs; None: all


@dataclass(frozen=True)
class Contender:
    """What is trained: a readout, by a recipe, for so many steps."""

    name: str
    reward_model: RewardModelParams
    train: TrainParams
    steps: int


def contenders(params: Params) -> list[Contender]:
    """The notebook's readout, and the default one without and with edited completions."""
    plain = EditsParams(of_exact=0, of_sampled=0, more_prompts=0, kinds=[])
    edits = params.train.edits.model_copy(update={"more_prompts": 0})
    one = params.reward_model.model_copy(update={"members": 1})
    recipes = {"token_damage, no edits": plain, "token_damage": edits}
    return [
        Contender("last_token", params.baseline.reward_model, params.baseline.train, steps=5005),
        *(
            Contender(name, one, params.train.model_copy(update={"edits": each}), steps=1500)
            for name, each in recipes.items()
        ),
    ]


def accuracies(params: Params, contender: Contender, seeds: int) -> Iterator[dict[str, Any]]:
    """A row for each number of pairs and each seed: readout, pairs, seed, accuracy, low, high."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    labeller = Labeller(tokens, params.task, params.gold_reward)
    backbone = backbone_files.load_backbone(SFT, tokens, device)
    sampled: dict[Split, pd.DataFrame] = {
        "train": read_parquet(COMPLETIONS / "train.parquet"),
        "validation": read_parquet(COMPLETIONS / "validation.parquet"),
    }
    pairs = read_parquet(PAIRS / "test.parquet")
    available = len(read_parquet(PAIRS / "train.parquet"))
    for size in SIZES:
        epochs = -(-contender.steps * contender.train.batch_size // (size or available))
        recipe = contender.train.model_copy(update={"num_pairs": size, "epochs": epochs})
        for seed in range(seeds):
            work = WORK / f"{contender.name}-{size}-{seed}"
            trained = train_members(
                backbone, labeller, sampled, contender.reward_model, recipe, seed, work
            )
            assert trained is not None
            readout = empty_readout(contender.reward_model, backbone.sizes)
            readout.load_state_dict(dict(trained.states[0]))
            model = RewardModel(backbone, [readout], contender.reward_model, tokens)
            yield {
                "readout": contender.name,
                "pairs": size or available,
                "seed": seed,
                **_accuracy(model, pairs, params.evaluate, seed),
            }


def _accuracy(
    model: RewardModel, pairs: pd.DataFrame, params: EvaluateParams, seed: int
) -> dict[str, float]:
    prompts = pairs["prompt"].tolist()
    chosen, rejected = (
        np.array(model.score(prompts, pairs[side].tolist())) for side in ("chosen", "rejected")
    )
    right = metrics.pairs_right(chosen, rejected)
    low, high = metrics.bootstrap_mean_interval(
        right,
        pairs["prompt_id"].to_numpy(),
        params.bootstrap_samples,
        params.confidence,
        np.random.default_rng(seed),
    )
    return {"accuracy": float(right.mean()), "low": low, "high": high}


def main(seeds: Annotated[int, typer.Option(help="Trainings at each size.")] = 3) -> None:
    """Train, judge, draw."""
    params = load_params()
    torch.set_num_threads(params.runtime.threads)
    rows: list[dict[str, Any]] = []
    for contender in contenders(params):
        for row in accuracies(params, contender, seeds):
            typer.echo(row, err=True)
            rows.append(row)
    table = pd.DataFrame(rows)
    write_csv(METRICS / "study.csv", table)
    plots.save(METRICS / "study.png", plots.study(table))
    typer.echo(table.groupby(["readout", "pairs"], sort=False)["accuracy"].mean().to_string())


if __name__ == "__main__":
    typer.run(main)

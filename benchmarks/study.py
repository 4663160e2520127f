"""Draws the learning curve: accuracy on unseen pairs against the number of training pairs.

`last_token` by the baseline's recipe, `token_damage` by train's, the latter also without edited
completions, each from several seeds. Needs what `dvc repro` made; the hidden states are computed
once. Writes metrics/study.csv and metrics/study.png.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from goldrm import backbone_files, dictionary, metrics, plots
from goldrm.checkpoint import ResumePoint
from goldrm.config import EditsParams, Params, RewardModelParams, TrainParams, load_params
from goldrm.device import set_up
from goldrm.features import labelled_completions, read_completions, write_states
from goldrm.paths import COMPLETIONS, DICTIONARY, METRICS, PAIRS, SFT
from goldrm.preferences import Labeller
from goldrm.random_streams import stream_seed
from goldrm.reward_model import new_readout
from goldrm.tables import read_parquet, write_csv
from goldrm.training import train_readout
from goldrm.training_set import training_set, validation_set

WORK = Path(".work/study")
STEPS = 2500  # of each training at least, so that few pairs are trained on as long as many


@dataclass(frozen=True)
class Contender:
    """What is trained: a readout, by a recipe."""

    name: str
    reward_model: RewardModelParams
    train: TrainParams


def contenders(params: Params) -> list[Contender]:
    """The notebook's readout, and the default one without and with edited completions."""
    plain = EditsParams(of_exact=0, of_sampled=0, more_prompts=0, kinds=[])
    few = params.train.edits.model_copy(update={"more_prompts": 0})
    recipes = {"token_damage": plain, "token_damage, edits": few}
    return [
        Contender("last_token", params.baseline.reward_model, params.baseline.train),
        *(
            Contender(name, params.reward_model, params.train.model_copy(update={"edits": edits}))
            for name, edits in recipes.items()
        ),
    ]


def accuracies(
    params: Params, contender: Contender, sizes: list[int | None], seeds: int
) -> Iterator[dict[str, object]]:
    """A row for each number of pairs and each seed."""
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    labeller = Labeller(tokens, params.task, params.gold_reward)
    backbone = backbone_files.load_backbone(SFT, tokens, device)
    validation = validation_set(read_parquet(COMPLETIONS / "validation.parquet"), labeller)
    pairs = read_parquet(PAIRS / "test.parquet")
    sides = [
        read_completions(
            backbone, tokens, contender.reward_model, pairs["prompt"].tolist(), pairs[side].tolist()
        )
        for side in ("chosen", "rejected")
    ]
    folder = WORK / contender.name.replace(", ", "-")
    write_states(backbone, tokens, contender.reward_model, validation, folder / "validation")
    sampled = read_parquet(COMPLETIONS / "train.parquet")
    for size in sizes:
        recipe = contender.train.model_copy(update={"num_pairs": size})
        chosen = training_set(sampled, labeller, recipe, params.seed)
        write_states(backbone, tokens, contender.reward_model, chosen, folder / f"train-{size}")
        data = labelled_completions(chosen, folder / f"train-{size}")
        epochs = -(-STEPS // max(len(data) // recipe.batch_size, 1))
        recipe = recipe.model_copy(update={"epochs": epochs, "checkpoint_epochs": epochs + 1})
        for seed in range(seeds):
            readout = new_readout(
                contender.reward_model, backbone.sizes, stream_seed(seed, "study", 0)
            )
            readout.fit_scale(data.rows)
            trained = train_readout(
                readout,
                data,
                labelled_completions(validation, folder / "validation"),
                recipe,
                seed,
                ResumePoint(folder / "never.pt"),
            )
            readout.load_state_dict(dict(trained.state))
            with torch.inference_mode():
                chosen_reward, rejected_reward = (
                    readout.eval()(side.rows, side.lengths).double().numpy() for side in sides
                )
            right = metrics.pairs_right(chosen_reward, rejected_reward)
            low, high = metrics.bootstrap_mean_interval(
                right, pairs["prompt_id"].to_numpy(), 2000, 0.95, np.random.default_rng(seed)
            )
            yield {
                "readout": contender.name,
                "pairs": size or _pairs(chosen),
                "seed": seed,
                "accuracy": right.mean(),
                "low": low,
                "high": high,
            }


def _pairs(completions: pd.DataFrame) -> int:
    rewards = completions.groupby("group")["gold_reward"]
    size, kinds = rewards.size(), rewards.value_counts()
    return int((size * (size - 1) // 2).sum() - (kinds * (kinds - 1) // 2).sum())


def main(
    seeds: Annotated[int, typer.Option(help="Trainings at each size.")] = 3,
) -> None:
    """Train, judge, draw."""
    params = load_params()
    sizes: list[int | None] = [500, 1000, 2000, 4000, None]
    rows: list[dict[str, object]] = []
    for contender in contenders(params):
        for row in accuracies(params, contender, sizes, seeds):
            typer.echo(row, err=True)
            rows.append(row)
    table = pd.DataFrame(rows)
    write_csv(METRICS / "study.csv", table)
    plots.save(METRICS / "study.png", plots.study(table))
    typer.echo(table.groupby(["readout", "pairs"], sort=False)["accuracy"].mean().to_string())


if __name__ == "__main__":
    typer.run(main)

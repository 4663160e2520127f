"""Stage train_rm@RECIPE: readouts trained on the frozen model's hidden states, by one recipe."""

import sys

import pandas as pd

from goldrm.common.device import set_up
from goldrm.common.files import write_json
from goldrm.common.params import Section, Seed, SharedRuntimeParams
from goldrm.common.tables import read_parquet, write_csv, write_parquet
from goldrm.lm.weights import load_backbone, sft_sha256
from goldrm.pipeline.paths import (
    COMPLETIONS,
    DICTIONARY,
    EXAMPLES,
    LEARNING_CURVES,
    METRICS,
    MODELS,
    PREFERENCES,
    SFT,
)
from goldrm.pipeline.stage import Run, run_stage
from goldrm.reward_model.model import save_reward_model
from goldrm.task import dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task
from goldrm.training.examples import met_test_series
from goldrm.training.loop import headline
from goldrm.training.members import TrainingData, train_members
from goldrm.training.params import Recipes


class Params(Section):
    """What the stage reads of params.yaml; of the recipes only its own."""

    seed: Seed
    runtime: SharedRuntimeParams
    task: TaskParams
    gold_reward: GoldRewardParams
    models: Recipes


def train_rm(params: Params, run: Run) -> None:
    """data/completions, preferences, data/sft → data/models, data/examples, metrics and curve."""
    ((name, recipe),) = params.models.items()
    device = set_up(params.runtime)
    tokens = dictionary.load(DICTIONARY, params.task.max_value)
    task = Task(tokens, params.task, params.gold_reward)
    trained = train_members(
        load_backbone(SFT, tokens, device),
        task,
        TrainingData(
            {
                split: read_parquet(COMPLETIONS / f"{split}.parquet")
                for split in ("train", "validation")
            },
            read_parquet(PREFERENCES),
        ),
        recipe,
        params.seed,
        run.work,
        run.workers,
    )
    if trained is None:
        return
    first = trained.first
    print(
        f"{name}: {first.curve[-1]['step']} steps on {trained.examples['group'].nunique()} "
        f"prompts; step {first.best['step']}, with the lowest validation loss, is kept",
        file=sys.stderr,
    )
    write_parquet(EXAMPLES / f"{name}.parquet", trained.examples)
    save_reward_model(
        MODELS / name,
        trained.states,
        recipe.readout,
        recipe.ensemble,
        sft_sha256(SFT),
        first.best,
        trained.gold_scale,
    )
    write_csv(LEARNING_CURVES / f"{name}.csv", pd.DataFrame(first.curve))
    met = {"leaks": met_test_series(trained.examples, task)}
    write_json(METRICS / f"{name}.json", headline(first) | met)


if __name__ == "__main__":
    run_stage(Params, train_rm)

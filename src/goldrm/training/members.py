"""From sampled completions to trained readouts: what to train on, its hidden states, the loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.common.resume import ResumePoint
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.task.series import Split
from goldrm.task.task import Task
from goldrm.training.example_states import labelled_completions, write_states
from goldrm.training.example_table import example_table
from goldrm.training.examples import Examples, training_set, validation_set
from goldrm.training.loop import Trained, train_readout, warn_of_long_warmup
from goldrm.training.params import Recipe


@dataclass(frozen=True)
class TrainedMembers:
    """Readouts of one kind, trained from different seeds.

    Attributes:
        states: each member's weights.
        first: the first member's training, which stands for all in metrics and curves.
        examples: what they were trained on, with `examples.COLUMNS`.
    """

    states: list[Mapping[str, Tensor]]
    first: Trained
    examples: pd.DataFrame


def _examples(
    sampled: Mapping[Split, pd.DataFrame], task: Task, recipe: Recipe, seed: int
) -> dict[str, Examples]:
    """What to train on, and to validate on.

    Raises:
        GoldrmError: when there is nothing.
    """
    examples = {
        "train": training_set(sampled["train"], task, recipe.data, seed),
        "validation": validation_set(sampled["validation"], task),
    }
    for split, own in examples.items():
        if not own.groups:
            raise GoldrmError(
                f"none of the {split} split's completions is left to train on. Shorten "
                "task.holdout, or raise pairs.num_pairs."
            )
    return examples


def train_members(
    backbone: Backbone,
    task: Task,
    sampled: Mapping[Split, pd.DataFrame],
    recipe: Recipe,
    seed: int,
    work: Path,
    workers: Workers,
) -> TrainedMembers | None:
    """Train every member of a reward model.

    Args:
        backbone: the frozen language model.
        task: knows the prompts, and labels edited completions.
        sampled: the completions of the train and validation splits.
        recipe: of the reward model.
        seed: the run's.
        work: folder in which finished work survives a kill.
        workers: who share the work.

    Returns:
        What was trained; None in all processes but the leading one.

    Raises:
        GoldrmError: when the readout doesn't fit the language model, or there is nothing to train
            on.
    """
    seeds = [stream_seed(seed, "member", member) for member in range(recipe.ensemble.members)]
    readouts = [new_readout(recipe.readout, backbone.sizes, own_seed) for own_seed in seeds]
    examples = _examples(sampled, task, recipe, seed)
    del sampled  # `examples` hold less
    tables = {
        split: example_table(own, backbone, work / split, workers)
        for split, own in examples.items()
    }
    del examples
    for split, table in tables.items():
        write_states(backbone, readouts[0].reading, table, task.dictionary, work / split, workers)
    if workers.is_leader:
        warn_of_long_warmup(tables["train"]["group"].nunique(), recipe.training)
    device = backbone.token_prediction.weight.device

    def train_member(member: int) -> Trained:
        train, validation = (labelled_completions(work / split) for split in tables)
        readouts[member].fit_scale(train.states, train.gold_rewards)
        return train_readout(
            readouts[member].to(device),
            train,
            validation,
            recipe.training,
            seeds[member],
            ResumePoint(work / f"training-{member}.pt"),
            workers.hide_progress,
        )

    members = workers.map(range(len(readouts)), train_member, same_machine=True)
    trained = [outcome for _, outcome in members]
    if not workers.is_leader:
        return None
    states = [outcome.state for outcome in trained]
    return TrainedMembers(states, trained[0], tables["train"])

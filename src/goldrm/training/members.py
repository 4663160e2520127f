"""From sampled completions to trained readouts: what to train on, its hidden states, the loop."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.common.resume import ResumePoint
from goldrm.common.workers import Workers
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.ensemble import combined
from goldrm.reward_model.gold_scale import SAME, Line, rising_line
from goldrm.reward_model.params import EnsembleParams
from goldrm.reward_model.reading import Reading
from goldrm.reward_model.readout import Readout
from goldrm.task.splits import Split
from goldrm.task.task import Task
from goldrm.training.example_states import labelled_completions, write_states
from goldrm.training.example_table import example_table
from goldrm.training.examples import Examples, training_set, validation_set
from goldrm.training.label_noise import with_label_noise
from goldrm.training.loop import (
    Trained,
    centred,
    predicted,
    train_readout,
    warn_of_long_warmup,
)
from goldrm.training.loss import RewardsAndTargets
from goldrm.training.params import Recipe, refuse_unranked


@dataclass(frozen=True)
class TrainingData:
    """What reward models are trained on, and validated on.

    Attributes:
        completions: those of the train and validation splits that have gold rewards.
        preferences: pairs of which only the order is known; see `examples.training_set`.
    """

    completions: Mapping[Split, pd.DataFrame]
    preferences: pd.DataFrame


@dataclass(frozen=True)
class TrainedMembers:
    """Readouts of one kind, trained from different seeds.

    Attributes:
        states: each member's weights.
        first: the first member's training, which stands for all in metrics and curves.
        examples: what they were trained on, with `examples.COLUMNS`.
        gold_scale: what brings their reward to the gold rewards' scale; `SAME` where it was taught
            by gold rewards. Else ranking alone taught it, and its level on validation is 0.
    """

    states: list[Mapping[str, Tensor]]
    first: Trained
    examples: pd.DataFrame
    gold_scale: Line


@dataclass(frozen=True)
class MemberTraining:
    """Trains a member on the files that `_write_examples` left.

    Attributes:
        recipe: of the reward model.
        on_gold_scale: whether gold rewards teach it, not ranking alone.
        seed: the run's.
        work: folder in which finished work survives a kill.
        hide_progress: show no progress bar.
    """

    recipe: Recipe
    on_gold_scale: bool
    seed: int
    work: Path
    hide_progress: bool

    def train(self, readout: Readout, number: int) -> Trained:
        """Train the readout of the member of this number, in place."""
        train, validation = (labelled_completions(self.work / s) for s in ("train", "validation"))
        known = train.gold_rewards[~train.gold_rewards.isnan()]
        readout.fit_scale(train.states, known if self.on_gold_scale else known[:0])
        noise = self.recipe.data.label_noise
        train, reachable = with_label_noise(train, noise, self.seed)
        losses = self.recipe.training
        if not self.on_gold_scale:  # nor does an error decide which step is kept
            losses = losses.model_copy(update={"mse_weight": 0.0})
        trained = train_readout(
            readout,
            train,
            validation,
            losses,
            stream_seed(self.seed, "member", number),
            ResumePoint(self.work / f"training-{number}.pt"),
            self.hide_progress,
        )
        if noise:
            for row in trained.curve:
                row["reachable_accuracy"] = reachable
        return trained if self.on_gold_scale else centred(trained, readout, validation)


def train_members(
    backbone: Backbone,
    task: Task,
    data: TrainingData,
    recipe: Recipe,
    seed: int,
    work: Path,
    workers: Workers,
) -> TrainedMembers | None:
    """Train every member of a reward model.

    Args:
        backbone: the frozen language model.
        task: knows the prompts, and labels edited completions.
        data: what there is to train on.
        recipe: of the reward model.
        seed: the run's.
        work: folder in which finished work survives a kill.
        workers: who share the work.

    Returns:
        What was trained; None in all processes but the leading one.

    Raises:
        GoldrmError: when the readout doesn't fit the language model, there is nothing to train
            on, or not what the losses ask for.
    """
    device = backbone.token_prediction.weight.device
    readouts = [
        new_readout(recipe.readout, backbone.sizes, stream_seed(seed, "member", number)).to(device)
        for number in range(recipe.ensemble.members)
    ]
    examples = _examples(data, task, recipe, seed)
    del data  # `examples` hold less
    table = _write_examples(examples, backbone, task, readouts[0].reading, work, workers)
    del examples
    if workers.is_leader:
        warn_of_long_warmup(table["group"].nunique(), recipe.training)
    on_gold_scale = recipe.training.mse_weight > 0 and bool(table["gold_reward"].notna().any())
    training = MemberTraining(recipe, on_gold_scale, seed, work, workers.hide_progress)
    outcomes = workers.map(
        range(len(readouts)),
        lambda number: training.train(readouts[number], number),
        same_machine=True,
    )
    trained = [outcome for _, outcome in outcomes]
    if not workers.is_leader:
        return None
    states = [outcome.state for outcome in trained]
    members = zip(readouts, states, strict=True)
    gold_scale = SAME if on_gold_scale else _gold_scale(members, recipe.ensemble, work)
    return TrainedMembers(states, trained[0], table, gold_scale)


def _gold_scale(
    members: Iterable[tuple[Readout, Mapping[str, Tensor]]], ensemble: EnsembleParams, work: Path
) -> Line:
    """What brings an ensemble's rewards to the gold rewards of the validation split.

    Args:
        members: each one's readout and trained weights.
        ensemble: how their rewards become one.
        work: folder with the validation split's states.
    """
    validation = labelled_completions(work / "validation")
    of_members: list[RewardsAndTargets] = []
    for readout, state in members:
        readout.load_state_dict(state)
        of_members.append(predicted(readout, validation))
    rewards = combined(torch.stack([each.rewards for each in of_members]), ensemble)
    both = rewards, of_members[0].targets
    return rising_line(*(each.double().cpu().numpy() for each in both))


def _examples(data: TrainingData, task: Task, recipe: Recipe, seed: int) -> dict[Split, Examples]:
    """What to train on, and to validate on.

    Raises:
        GoldrmError: when there is nothing, or not what the losses ask for.
    """
    sampled = data.completions
    train = training_set(sampled["train"], data.preferences, task, recipe.data, seed)
    examples: dict[Split, Examples] = {
        "train": train,
        "validation": validation_set(sampled["validation"], task),
    }
    for split, own in examples.items():
        if own.is_empty:
            raise GoldrmError(
                f"none of the {split} split's completions is left to train on. Shorten "
                f"task.{task.params.name}.holdout, or have more pairs."
            )
    if not train.preferences.empty:
        refuse_unranked(recipe.training)
    return examples


def _write_examples(
    examples: Mapping[Split, Examples],
    backbone: Backbone,
    task: Task,
    reading: Reading,
    work: Path,
    workers: Workers,
) -> pd.DataFrame:
    """Write what a readout reads of the examples into a folder a split; the table of training."""
    tables = {
        split: example_table(own, backbone, work / split, workers)
        for split, own in examples.items()
    }
    for split, table in tables.items():
        write_states(backbone, reading, table, task.dictionary, work / split, workers)
    return tables["train"]

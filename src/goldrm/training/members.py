"""From sampled completions to trained readouts: what to train on, its hidden states, the loop.

It must not know which files a stage reads and writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from goldrm.common import workers as distributed
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import stream_seed
from goldrm.common.resume import ResumePoint
from goldrm.lm.model import Backbone
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.params import RewardModelParams
from goldrm.task.series import Split
from goldrm.task.task import Task
from goldrm.training.examples import training_set, validation_set
from goldrm.training.loop import Trained, train_readout
from goldrm.training.params import TrainParams
from goldrm.training.state_files import labelled_completions, write_states


@dataclass(frozen=True)
class TrainedMembers:
    """Readouts of one kind, trained from different seeds.

    Attributes:
        states: each member's weights.
        first: the first member's training, which stands for all in metrics and curves.
    """

    states: list[Mapping[str, Tensor]]
    first: Trained


def train_members(
    backbone: Backbone,
    task: Task,
    sampled: Mapping[Split, pd.DataFrame],
    reward_model: RewardModelParams,
    train: TrainParams,
    seed: int,
    work: Path,
) -> TrainedMembers | None:
    """Train every member of a reward model.

    Args:
        backbone: the frozen language model.
        task: labels edited completions.
        sampled: the completions of the train and validation splits.
        reward_model: which readout, and how many.
        train: on what and how.
        seed: the run's.
        work: folder in which finished work survives a kill.

    Returns:
        What was trained; None in all processes but the leading one.

    Raises:
        GoldrmError: when the readout doesn't fit the language model, or there is nothing to train
            on.
    """
    seeds = [stream_seed(seed, "member", member) for member in range(reward_model.members)]
    readouts = [new_readout(reward_model, backbone.sizes, each) for each in seeds]
    data = {
        "train": training_set(sampled["train"], task, train, seed),
        "validation": validation_set(sampled["validation"], task),
    }
    del sampled  # `data` holds less
    for split, groups in data.items():
        if not len(groups):
            raise GoldrmError(
                f"none of the {split} split's completions is left to train on. Shorten "
                "task.holdout, or raise pairs.num_pairs."
            )
    for split, groups in data.items():
        write_states(backbone, task.dictionary, reward_model, groups, work / split)
    device = backbone.token_prediction.weight.device

    def train_member(member: int) -> Trained:
        labelled = {split: labelled_completions(work / split) for split in data}
        readouts[member].fit_scale(labelled["train"])
        return train_readout(
            readouts[member].to(device),
            labelled["train"],
            labelled["validation"],
            train,
            seeds[member],
            ResumePoint(work / f"training-{member}.pt"),
        )

    members = distributed.shared(range(len(readouts)), train_member, here=True)
    trained = [each for _, each in members]
    if not distributed.leads():
        return None
    return TrainedMembers([each.state for each in trained], trained[0])

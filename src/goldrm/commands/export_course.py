"""Writes models as the course does: its step 3 a reward model, its step 2 a language model."""

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from goldrm.commands.policies import OptimisedPolicy
from goldrm.commands.trained import TrainedModel
from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic
from goldrm.lm.model import Backbone
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.model import read_reward_model_config
from goldrm.training.loop import optimizer_and_schedule
from goldrm.training.params import TrainingParams


class CourseRewardModel(nn.Module):
    """The module tree of the notebook's `SL_RM`; it is here for its names and their order."""

    def __init__(self, backbone: Backbone, readout: LastTokenReadout) -> None:
        """Share both models' parameters."""
        super().__init__()
        self.SFT_LM = backbone
        self.reward_prediction = readout.reward_prediction


def write_reward_model(path: Path, trained: TrainedModel, training: TrainingParams) -> None:
    """Write a reward model as the notebook saves it at the end of step 3; step 4 loads it.

    Args:
        path: the .pkl to write.
        trained: what is written.
        training: its recipe's, for the optimizer's state.

    Raises:
        GoldrmError: when it isn't one last_token readout, or a file is damaged or can't be written.
    """
    model = trained.reward_model
    config = read_reward_model_config(trained.folder)
    readout = model.members[0]
    if not isinstance(readout, LastTokenReadout) or len(model.members) > 1:
        raise GoldrmError(
            f"{trained.folder} holds {len(model.members)} {config.readout.kind} readouts, but the "
            "course's SL_RM has one last_token readout. Export such a recipe's: --model notebook."
        )
    if not {"epoch", "train_loss"} <= config.best.keys():
        raise GoldrmError(
            f"{trained.folder / 'config.json'} is damaged. Delete it; `dvc repro` makes it again."
        )
    checkpoint = course_checkpoint(model.backbone, readout, training, config.best)
    write_atomic(path, checkpoint)


def course_checkpoint(
    backbone: Backbone,
    readout: LastTokenReadout,
    training: TrainingParams,
    best: Mapping[str, float],
) -> bytes:
    """The content of the notebook's step-3 file.

    Keys: epoch, tot_time, loss, net_parameters, SL_RMnet_dict, optimizer, scheduler. tot_time is 0,
    since wall time would make every file differ; optimizer and scheduler are as at their start,
    since what is kept is the best step, not the last.

    Args:
        backbone: the frozen language model.
        readout: trained on it.
        training: the recipe, for the optimizer's state.
        best: epoch and train_loss of the step that was kept.
    """
    model = CourseRewardModel(backbone, readout)
    optimizer, schedule = optimizer_and_schedule(model, training, steps=1)
    for group in optimizer.param_groups:
        group["fused"] = None  # the notebook's PyTorch has no fused AdamW on a CPU
    buffer = io.BytesIO()
    torch.save(
        {
            "epoch": int(best["epoch"]),
            "tot_time": 0.0,
            "loss": best["train_loss"],
            "net_parameters": asdict(backbone.sizes),
            "SL_RMnet_dict": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "scheduler": schedule.state_dict(),
        },
        buffer,
    )
    return buffer.getvalue()


def write_policy(path: Path, policy: OptimisedPolicy) -> None:
    """Write an optimised language model as the notebook saves one at the end of step 2.

    Keys: epoch, tot_time, loss, net_parameters, SFT_LMnet_dict; the first three are 0, since there
    was neither an epoch nor a loss of step 2.

    Args:
        path: the .pkl to write.
        policy: what is written.

    Raises:
        GoldrmError: when the file can't be written.
    """
    backbone = policy.backbone
    buffer = io.BytesIO()
    torch.save(
        {
            "epoch": 0,
            "tot_time": 0.0,
            "loss": 0.0,
            "net_parameters": asdict(backbone.sizes),
            "SFT_LMnet_dict": backbone.state_dict(),
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())

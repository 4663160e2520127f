"""The training loop of a readout on cached features; it must not know where they come from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm import tqdm

from goldrm.checkpoint import ResumePoint
from goldrm.config import TrainParams
from goldrm.errors import GoldrmError
from goldrm.features import PairFeatures
from goldrm.random_streams import random_stream
from goldrm.reward_model import count_correct, preference_loss


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        state: state dict of the readout at the best step by validation loss.
        curve: a row an epoch: step, epoch, learning_rate (of its last step), train_loss,
            train_accuracy (means over the epoch's pairs, each as seen when trained on),
            validation_loss, validation_accuracy (after the epoch).
        best: the row of `curve` that `state` belongs to.
    """

    state: Mapping[str, Tensor]
    curve: list[dict[str, float]]
    best: dict[str, float]


def optimizer_and_schedule(
    model: nn.Module, train: TrainParams
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, its learning rate rising linearly from 0 as the notebook's."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: step / train.warmup_steps if step < train.warmup_steps else 1.0
    )
    return optimizer, schedule


class Training:
    """A readout, its optimiser and all else that changes while it trains."""

    def __init__(self, readout: nn.Module, train: TrainParams) -> None:
        """Nothing trained yet."""
        self.readout = readout
        self.optimizer, self.schedule = optimizer_and_schedule(readout, train)
        self.curve: list[dict[str, float]] = []
        self.best_state: dict[str, Tensor] = {}
        self.best: dict[str, float] = {}

    def record(self, row: dict[str, float]) -> None:
        """Add an epoch to the curve, and keep the weights when its validation loss is the best."""
        self.curve.append(row)
        if not self.best or row["validation_loss"] < self.best["validation_loss"]:
            self.best = row
            state = self.readout.state_dict()
            self.best_state = {name: tensor.clone() for name, tensor in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "readout": self.readout.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "curve": self.curve,
            "best": self.best,
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.readout.load_state_dict(state["readout"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.curve = state["curve"]
        self.best = state["best"]
        self.best_state = state["best_state"]


def train_readout(
    readout: nn.Module,
    train_pairs: PairFeatures,
    validation_pairs: PairFeatures,
    train: TrainParams,
    seed: int,
    resume_point: ResumePoint,
) -> Trained:
    """Train a readout until its epochs are over or its training loss is below stop_loss.

    Args:
        readout: hidden states → rewards; it is trained in place.
        train_pairs: trained on in batches of `train.batch_size`, without replacement; as in the
            notebook the pairs left over at an epoch's end are not used in it.
        validation_pairs: looked at after each epoch; they decide which step is kept.
        train: the recipe.
        seed: of the batches.
        resume_point: where an interrupted training goes on.

    Raises:
        GoldrmError: when there are fewer pairs than a batch holds, or the loss isn't finite.
    """
    if len(train_pairs) < train.batch_size:
        raise GoldrmError(
            f"there are {len(train_pairs)} training pairs, fewer than train.batch_size "
            f"({train.batch_size}). Lower it, or raise pairs.num_pairs."
        )
    training = Training(readout, train)
    state = resume_point.load()
    if state is not None:
        training.load_state_dict(state)
    first_epoch = len(training.curve)
    progress = tqdm(
        range(first_epoch, train.epochs),
        initial=first_epoch,
        total=train.epochs,
        desc="train_rm",
        unit="epoch",
        disable=None,
    )
    for epoch in progress:
        if training.curve and training.curve[-1]["train_loss"] < train.stop_loss:
            break
        with random_stream(seed, "train_rm epoch", epoch):
            order = torch.randperm(len(train_pairs)).to(train_pairs.gold_rewards.device)
        row: dict[str, float] = {"epoch": epoch, **train_epoch(training, train_pairs, order, train)}
        row |= _validate(readout, validation_pairs, train)
        _refuse_divergence(row, train)
        training.record(row)
        progress.set_postfix(
            {name: f"{row[name]:.3f}" for name in ("train_loss", "validation_loss")}
        )
        if (epoch + 1) % train.checkpoint_epochs == 0:
            resume_point.save(training.state_dict())
    return Trained(training.best_state, training.curve, training.best)


def train_epoch(
    training: Training,
    pairs: PairFeatures,
    order: Int[Tensor, " pairs"],
    train: TrainParams,
) -> dict[str, float]:
    """One pass over the pairs, in batches of `train.batch_size`.

    Args:
        training: what is trained, in place.
        pairs: what on.
        order: the pairs' numbers in the order of their use; what is left over at the end isn't.
        train: the recipe.

    Returns:
        step after the pass; learning_rate of its last step; train_loss and train_accuracy, means
        over the pairs used, each as seen when trained on.
    """
    losses: list[Tensor] = []
    correct, rate = 0.0, 0.0
    batches = order[: len(order) // train.batch_size * train.batch_size].split(train.batch_size)
    for batch in batches:
        rewards = training.readout(pairs.hidden[batch])
        loss = preference_loss(rewards, pairs.gold_rewards[batch], train)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        rate = float(training.schedule.get_last_lr()[0])
        training.schedule.step()
        losses.append(loss.detach())
        correct += count_correct(rewards.detach())
    return {
        "step": training.schedule.last_epoch,
        "learning_rate": rate,
        "train_loss": float(torch.stack(losses).mean()),  # all batches are of one size
        "train_accuracy": correct / (len(batches) * train.batch_size),
    }


@torch.inference_mode()
def _validate(readout: nn.Module, pairs: PairFeatures, train: TrainParams) -> dict[str, float]:
    rewards = readout(pairs.hidden)
    return {
        "validation_loss": float(preference_loss(rewards, pairs.gold_rewards, train)),
        "validation_accuracy": count_correct(rewards) / len(pairs),
    }


def _refuse_divergence(row: dict[str, float], train: TrainParams) -> None:
    for name in ("train_loss", "validation_loss"):
        if not math.isfinite(row[name]):
            raise GoldrmError(
                f"the loss became {row[name]} ({name} of epoch {row['epoch']}). Lower "
                f"train.learning_rate ({train.learning_rate})."
            )


def summary(trained: Trained) -> dict[str, float]:
    """The headline metrics of training: steps done, and the kept step's losses and accuracies."""
    best = trained.best
    return {
        "steps": int(trained.curve[-1]["step"]),
        "best_step": int(best["step"]),
        "train_loss": round(best["train_loss"], 4),
        "train_accuracy": round(best["train_accuracy"], 4),
        "val_loss": round(best["validation_loss"], 4),
        "val_accuracy": round(best["validation_accuracy"], 4),
    }

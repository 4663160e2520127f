"""The training loop of a readout on cached features; it must not know where they come from."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm import tqdm

from goldrm.common import workers as distributed
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.common.resume import ResumePoint
from goldrm.reward_model.readout import Readout
from goldrm.training.batches import LOOKED_UP, Batch, LabelledCompletions
from goldrm.training.loss import Compared
from goldrm.training.params import TrainParams

VALIDATION_BATCH = 256  # groups whose hidden states are in memory at once


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
    model: nn.Module, train: TrainParams, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, its learning rate rising linearly from 0 as the notebook's, then as `train` says.

    Args:
        model: what is trained.
        train: the recipe.
        steps: of the whole training, at the end of which a cosine schedule reaches 0.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
    )

    def share(step: int) -> float:
        if step < train.warmup_steps:
            return step / train.warmup_steps
        if train.schedule == "constant":
            return 1.0
        done = (step - train.warmup_steps) / max(steps - train.warmup_steps, 1)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share)


class Training:
    """A readout, its optimiser and all else that changes while it trains."""

    def __init__(self, readout: Readout, train: TrainParams, steps: int) -> None:
        """Nothing trained yet."""
        self.readout = readout
        self.optimizer, self.schedule = optimizer_and_schedule(readout, train, steps)
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
    readout: Readout,
    train_completions: LabelledCompletions,
    validation_completions: LabelledCompletions,
    train: TrainParams,
    seed: int,
    resume_point: ResumePoint,
) -> Trained:
    """Train a readout until its epochs are over, or the stop rules of `train` end it.

    Args:
        readout: hidden states → rewards; it is trained in place, on its device.
        train_completions: trained on in batches of `train.batch_size` groups, without replacement;
            as in the notebook the groups left over at an epoch's end are not used in it.
        validation_completions: looked at after each epoch; they decide which step is kept.
        train: the recipe.
        seed: of the batches and the readout's dropout.
        resume_point: where an interrupted training goes on.

    Raises:
        GoldrmError: when there are fewer groups than a batch holds, or the loss isn't finite.
    """
    if len(train_completions) < train.batch_size:
        raise GoldrmError(
            f"there are {len(train_completions)} training prompts, fewer than the batch_size of "
            f"{train.batch_size}. Lower it, or raise pairs.num_pairs."
        )
    steps_an_epoch = len(train_completions) // train.batch_size
    training = Training(readout, train, train.epochs * steps_an_epoch)
    state = resume_point.load()
    if state is not None:
        training.load_state_dict(state)
    first_epoch = len(training.curve)
    batches = shuffled(train_completions, train, seed, first_epoch)
    progress = tqdm(
        range(first_epoch, train.epochs),
        initial=first_epoch,
        total=train.epochs,
        desc="train_rm",
        unit="epoch",
        disable=distributed.hides_progress(),
    )
    for epoch in progress:
        if _is_over(training, train):
            break
        with random_stream(seed, "train_rm epoch", epoch):
            torch.randperm(len(train_completions))  # the order, which `shuffled` drew ahead
            trained = train_epoch(training, islice(batches, steps_an_epoch), train)
        row: dict[str, float] = {"epoch": epoch, **trained}
        row |= validated(readout, validation_completions, train)
        _refuse_divergence(row, train)
        training.record(row)
        progress.set_postfix(
            {name: f"{row[name]:.3f}" for name in ("train_loss", "validation_loss")}
        )
        if (epoch + 1) % train.checkpoint_epochs == 0:
            resume_point.save(training.state_dict())
    return Trained(training.best_state, training.curve, training.best)


def _is_over(training: Training, train: TrainParams) -> bool:
    if not training.curve:
        return False
    since_best = training.curve[-1]["epoch"] - training.best["epoch"]
    out_of_patience = train.patience is not None and since_best >= train.patience
    return out_of_patience or training.curve[-1]["train_loss"] < train.stop_loss


def shuffled(
    completions: LabelledCompletions, train: TrainParams, seed: int, first_epoch: int
) -> Iterator[Batch]:
    """The batches of epoch after epoch, each in the order that its own random stream decides.

    Args:
        completions: what to train on.
        train: the recipe; what is left over at the end of an epoch isn't used in it.
        seed: of the orders.
        first_epoch: the epoch to begin with.
    """
    used = len(completions) // train.batch_size * train.batch_size

    def order(epoch: int) -> Int[Tensor, " groups"]:
        with random_stream(seed, "train_rm epoch", epoch):
            return torch.randperm(len(completions))[:used]

    together = max(LOOKED_UP // used, 1)  # epochs whose batches are found at once
    for first in range(first_epoch, train.epochs, together):
        epochs = range(first, min(first + together, train.epochs))
        yield from completions.batches(torch.cat([*map(order, epochs)]), train.batch_size)


def train_epoch(
    training: Training, batches: Iterable[Batch], train: TrainParams
) -> dict[str, float]:
    """One pass over batches, at least one.

    Args:
        training: what is trained, in place.
        batches: what on.
        train: the recipe.

    Returns:
        step after the pass; learning_rate of its last step; train_loss and train_accuracy over the
        completions and pairs used, each as seen when trained on.
    """
    training.readout.train()
    parts: list[Compared] = []
    rate = 0.0
    for batch in batches:
        compared = _compared(training.readout, batch)
        training.optimizer.zero_grad()
        compared.loss(train).backward()
        training.optimizer.step()
        rate = float(training.schedule.get_last_lr()[0])
        training.schedule.step()
        parts.append(compared.detached())
    epoch = Compared.together(parts)
    return {
        "step": training.schedule.last_epoch,
        "learning_rate": rate,
        "train_loss": float(epoch.loss(train)),
        "train_accuracy": epoch.accuracy(),
    }


def _compared(readout: Readout, batch: Batch) -> Compared:
    batch = batch.to(next(readout.parameters()).device)
    aims = readout.aims(batch.gold_rewards)
    return Compared(readout(batch.states), aims, batch.chosen, batch.rejected)


@torch.inference_mode()
def validated(
    readout: Readout, completions: LabelledCompletions, train: TrainParams
) -> dict[str, float]:
    readout.eval()
    batches = completions.batches(torch.arange(len(completions)), VALIDATION_BATCH)
    whole = Compared.together([_compared(readout, batch) for batch in batches])
    return {"validation_loss": float(whole.loss(train)), "validation_accuracy": whole.accuracy()}


def _refuse_divergence(row: dict[str, float], train: TrainParams) -> None:
    for name in ("train_loss", "validation_loss"):
        if not math.isfinite(row[name]):
            raise GoldrmError(
                f"the loss became {row[name]} ({name} of epoch {row['epoch']}). Lower the "
                f"learning_rate of {train.learning_rate}."
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

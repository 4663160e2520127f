"""The training loop of a readout on hidden states that were computed before."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm import tqdm

from goldrm.common.adamw import AdamW
from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar
from goldrm.common.random_streams import random_stream
from goldrm.common.resume import ResumePoint
from goldrm.reward_model.readout import Readout
from goldrm.training.batches import GROUPS_FOUND_TOGETHER, Batch, LabelledCompletions
from goldrm.training.loss import RewardsAndTargets
from goldrm.training.params import TrainingParams

VALIDATION_GROUPS_READ_TOGETHER = 256
ACCURACIES = ("train", "validation", "reachable")


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        state: state dict of the readout at the best step by validation loss.
        curve: a row an epoch, up to the last one: step, epoch, learning_rate (of its last step),
            train_loss, train_accuracy (means over the epoch's pairs, each as seen when trained on),
            validation_loss, validation_accuracy (after the epoch); where there is label noise
            reachable_accuracy (see `with_label_noise`).
        best: the row of `curve` that `state` belongs to.
    """

    state: Mapping[str, Tensor]
    curve: list[dict[str, float]]
    best: dict[str, float]


def headline(trained: Trained) -> dict[str, float]:
    """The accuracies of the step that was kept, on training and on validation pairs.

    And where there is label noise, which one the right ranking has on the training pairs.
    """
    names = [name for name in ACCURACIES if f"{name}_accuracy" in trained.best]
    return {name: round(trained.best[f"{name}_accuracy"], 4) for name in names}


def optimizer_and_schedule(
    model: nn.Module, params: TrainingParams, steps: int
) -> tuple[AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, its learning rate rising linearly from 0 as the notebook's, then as `params` say.

    Args:
        model: what is trained.
        params: the optimiser's.
        steps: of the whole training, at the end of which a cosine schedule reaches 0.
    """
    optimizer = AdamW(
        model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )

    def factor(step: int) -> float:
        if step < params.warmup_steps:
            return step / params.warmup_steps
        if params.schedule == "constant":
            return 1.0
        done = (step - params.warmup_steps) / max(steps - params.warmup_steps, 1)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def steps_an_epoch(num_groups: int, params: TrainingParams) -> int:
    """How many batches an epoch has: whole ones, or one of all groups where they are fewer."""
    return max(num_groups // params.batch_size, 1)


def warn_of_long_warmup(num_groups: int, params: TrainingParams) -> None:
    """Say so where training ends before its learning rate has risen."""
    steps = params.epochs * steps_an_epoch(num_groups, params)
    if steps <= params.warmup_steps:
        logging.getLogger(__name__).warning(
            "warning: training ends at step %s (epochs: %s, of %s prompts), so its learning rate, "
            "which rises over %s (warmup_steps), never gets to learning_rate. Lower warmup_steps.",
            steps,
            params.epochs,
            num_groups,
            params.warmup_steps,
        )


class Training:
    """A readout, its optimiser and all else that changes while it trains."""

    def __init__(self, readout: Readout, params: TrainingParams, steps: int) -> None:
        """Nothing trained yet."""
        self.readout = readout
        self.optimizer, self.schedule = optimizer_and_schedule(readout, params, steps)
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

    def is_over(self, params: TrainingParams) -> bool:
        """Whether one of the stop rules ends it."""
        if not self.curve:
            return False
        since_best = self.curve[-1]["epoch"] - self.best["epoch"]
        out_of_patience = params.patience is not None and since_best >= params.patience
        return out_of_patience or self.curve[-1]["train_loss"] < params.stop_loss

    def resume(self, resume_point: ResumePoint) -> None:
        """Go on from a resume point, if there is one."""
        state = resume_point.load()
        if state is not None:
            self.load_state_dict(state)

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


def _progress(first_epoch: int, epochs: int, hide: bool) -> "tqdm[int]":
    return progress_bar(
        range(first_epoch, epochs),
        initial=first_epoch,
        total=epochs,
        desc="train_rm",
        unit="epoch",
        disable=hide,
    )


def train_readout(
    readout: Readout,
    train_completions: LabelledCompletions,
    validation_completions: LabelledCompletions,
    params: TrainingParams,
    seed: int,
    resume_point: ResumePoint,
    hide_progress: bool = False,
) -> Trained:
    """Train a readout until its epochs are over, or the stop rules of `params` end it.

    Args:
        readout: hidden states → rewards; it is trained in place, on its device.
        train_completions: trained on in batches of `params.batch_size` groups, or of all where
            there are fewer, without replacement; as in the notebook the groups left over at an
            epoch's end are not used in it.
        validation_completions: looked at after each epoch; they decide which step is kept.
        params: losses, optimiser and stop rules.
        seed: of the batches and the readout's dropout.
        resume_point: where an interrupted training goes on.
        hide_progress: show none.

    Raises:
        GoldrmError: when the loss isn't finite.
    """
    steps = steps_an_epoch(len(train_completions), params)
    training = Training(readout, params, params.epochs * steps)
    training.resume(resume_point)
    first_epoch = len(training.curve)
    batches = shuffled(train_completions, params, seed, first_epoch)
    progress = _progress(first_epoch, params.epochs, hide_progress)
    for epoch in progress:
        if training.is_over(params):
            break
        with random_stream(seed, "train_rm dropout", epoch):
            trained = train_epoch(training, islice(batches, steps), params)
        validation = validated(readout, validation_completions, params)
        row: dict[str, float] = {"epoch": epoch, **trained, **validation}
        _refuse_divergence(row, params)
        training.record(row)
        progress.set_postfix(
            {name: f"{row[name]:.3f}" for name in ("train_loss", "validation_loss")}, refresh=False
        )
        if (epoch + 1) % params.checkpoint_epochs == 0:
            resume_point.save(training.state_dict())
    return Trained(training.best_state, training.curve, training.best)


def shuffled(
    completions: LabelledCompletions, params: TrainingParams, seed: int, first_epoch: int
) -> Iterator[Batch]:
    """The batches of epoch after epoch, each in the order that its own random stream decides.

    Args:
        completions: what to train on.
        params: of the training; what is left over at the end of an epoch isn't used in it, unless
            there are too few for a batch.
        seed: of the orders.
        first_epoch: the epoch to begin with.
    """
    batch_size = min(params.batch_size, len(completions))
    used = steps_an_epoch(len(completions), params) * batch_size

    def order(epoch: int) -> Int[Tensor, " groups"]:
        with random_stream(seed, "train_rm epoch", epoch):
            return torch.randperm(len(completions))[:used]

    epochs_found_together = max(GROUPS_FOUND_TOGETHER // used, 1)
    for first in range(first_epoch, params.epochs, epochs_found_together):
        epochs = range(first, min(first + epochs_found_together, params.epochs))
        yield from completions.batches(torch.cat([*map(order, epochs)]), batch_size)


def train_epoch(
    training: Training, batches: Iterable[Batch], params: TrainingParams
) -> dict[str, float]:
    """One pass over batches, at least one.

    Args:
        training: what is trained, in place.
        batches: what on.
        params: of the training.

    Returns:
        step after the pass; learning_rate of its last step; train_loss and train_accuracy over the
        completions and pairs used, each as seen when trained on.
    """
    training.readout.train()
    seen: list[RewardsAndTargets] = []
    learning_rate = 0.0
    for batch in batches:
        rewards = _rewards_and_targets(training.readout, batch)
        training.optimizer.zero_grad()
        rewards.loss(params).backward()
        training.optimizer.step()
        learning_rate = float(training.schedule.get_last_lr()[0])
        training.schedule.step()
        seen.append(rewards.detached())
    epoch = RewardsAndTargets.concatenated(seen)
    return {
        "step": training.schedule.last_epoch,
        "learning_rate": learning_rate,
        "train_loss": float(epoch.loss(params)),
        "train_accuracy": epoch.accuracy(),
    }


def validated(
    readout: Readout, completions: LabelledCompletions, params: TrainingParams
) -> dict[str, float]:
    """The validation_loss and validation_accuracy of a readout, over all completions as one."""
    whole = predicted(readout, completions)
    return {"validation_loss": float(whole.loss(params)), "validation_accuracy": whole.accuracy()}


@torch.inference_mode()
def predicted(readout: Readout, completions: LabelledCompletions) -> RewardsAndTargets:
    """The rewards of all completions, by a readout that is put into evaluation mode."""
    readout.eval()
    batches = completions.batches(torch.arange(len(completions)), VALIDATION_GROUPS_READ_TOGETHER)
    return RewardsAndTargets.concatenated(
        [_rewards_and_targets(readout, batch) for batch in batches]
    )


def centred(trained: Trained, readout: Readout, completions: LabelledCompletions) -> Trained:
    """The same with rewards shifted so that their mean over some completions is 0.

    For rewards that are learned by ranking alone, which leaves their level to chance.
    """
    readout.load_state_dict(trained.state)
    readout.shift(-float(predicted(readout, completions).rewards.mean()))
    return replace(trained, state=readout.state_dict())


def _rewards_and_targets(readout: Readout, batch: Batch) -> RewardsAndTargets:
    batch = batch.to(next(readout.parameters()).device)
    targets = readout.targets(batch.gold_rewards)
    return RewardsAndTargets(readout(batch.states), targets, batch.chosen, batch.rejected)


def _refuse_divergence(row: dict[str, float], params: TrainingParams) -> None:
    for name in ("train_loss", "validation_loss"):
        if not math.isfinite(row[name]):
            raise GoldrmError(
                f"the loss became {row[name]} ({name} of epoch {row['epoch']}). Lower the "
                f"learning_rate of {params.learning_rate}."
            )

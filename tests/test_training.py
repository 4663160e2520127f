"""The loop trains as the notebook's does, keeps the best step, and survives being killed."""

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from notebook_reference import (
    Entry,
    NotebookLM,
    NotebookRM,
    freeze_backbone,
    optimizer_and_scheduler,
    training_loss,
    training_step,
)
from torch import Tensor

from goldrm.backbone import Backbone
from goldrm.checkpoint import ResumePoint
from goldrm.config import Params, TrainParams
from goldrm.errors import GoldrmError
from goldrm.features import PairFeatures
from goldrm.hidden_states import last_hidden_states
from goldrm.reward_model import LastTokenReadout, new_readout
from goldrm.training import Trained, summary, train_readout

D = 24


class Watched(LastTokenReadout):
    """Notes the batches that it is trained on; a kill can be set to come at one of them."""

    def __init__(self, initial: LastTokenReadout, killed_at: int | None = None) -> None:
        super().__init__(D)
        self.load_state_dict(initial.state_dict())
        self.batches: list[Tensor] = []
        self.killed_at = killed_at

    def forward(self, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            if len(self.batches) == self.killed_at:
                raise KeyboardInterrupt
            self.batches.append(hidden)
        return super().forward(hidden)


@pytest.fixture(scope="module")
def train(params: Params) -> TrainParams:
    """The notebook's recipe, but quick."""
    return params.train.model_copy(
        update={
            "epochs": 8,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_steps": 3,
            "weight_decay": 0.01,
            "mse_weight": 1.0,
            "rank_weight": 0.1,
            "stop_loss": 0.0,
            "checkpoint_epochs": 3,
        }
    )


@pytest.fixture
def readout(params: Params) -> Watched:
    return Watched(new_readout(params.reward_model, D, seed=0))


@pytest.fixture
def resume_point(tmp_path: Path) -> ResumePoint:
    return ResumePoint(tmp_path / "training.pt")


def some_pairs(count: int, seed: int = 0) -> PairFeatures:
    generator = torch.Generator().manual_seed(seed)
    gold_rewards = (1 + 6 * torch.rand(count, 2, generator=generator)).sort(descending=True)[0]
    return PairFeatures(torch.randn(count, 2, D, generator=generator), gold_rewards)


def zeroed(readout: Watched) -> Watched:
    """Every reward is 0, all hidden states alike."""
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.zero_()
    return readout


def indices(batch: Tensor, pairs: PairFeatures) -> list[int]:
    """Which pairs a batch holds."""
    same = (batch[:, None] == pairs.hidden[None]).flatten(2).all(dim=2)  # (batch, pairs)
    return same.int().argmax(dim=1).tolist()


def loss_of(state: dict[str, Tensor], pairs: PairFeatures) -> float:
    """The notebook's loss of a readout's state dict."""
    readout = LastTokenReadout(D)
    readout.load_state_dict(state)
    with torch.no_grad():
        rewards = readout(pairs.hidden).reshape(-1, 1)
    return training_loss(rewards, pairs.gold_rewards.reshape(-1, 1)).item()


def content(trained: Trained) -> bytes:
    return safetensors.torch.save(dict(trained.state))


# Against the notebook


def test_steps_are_the_notebooks(
    backbone: Backbone,
    reference_lm: NotebookLM,
    readout: Watched,
    train: TrainParams,
    resume_point: ResumePoint,
):
    """The same batches, given to the notebook's training step, lead to the same weights."""
    gold = some_pairs(9).gold_rewards
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(15, 41, (18,), generator=generator).tolist()
    ids = [torch.randint(127, (length,), generator=generator) for length in lengths]
    hidden = last_hidden_states(backbone, [each.tolist() for each in ids]).view(9, 2, D)
    pairs = PairFeatures(hidden, gold)
    rm = NotebookRM(reference_lm).eval()
    freeze_backbone(rm)
    rm.reward_prediction.load_state_dict(readout.reward_prediction.state_dict())
    optimizer, scheduler = optimizer_and_scheduler(rm, learning_rate=0.01, warmup=3)

    trained = train_readout(readout, pairs, pairs, train, 0, resume_point)

    entries: list[list[Entry]] = [
        [[ids[2 * pair + side], gold[pair, side]] for pair in range(9)] for side in (0, 1)
    ]
    losses: list[float] = []
    for batch in readout.batches:
        positive, negative = ([side[pair] for pair in indices(batch, pairs)] for side in entries)
        losses.append(training_step(rm, optimizer, scheduler, positive, negative))
    assert len(losses) == 16
    for ours, notebooks in zip(
        readout.reward_prediction.parameters(), rm.reward_prediction.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, notebooks, atol=1e-4, rtol=0)
    means = [sum(losses[i : i + 2]) / 2 for i in range(0, 16, 2)]
    assert [row["train_loss"] for row in trained.curve] == pytest.approx(means, rel=1e-4)


def test_an_epoch_draws_whole_batches_without_replacement(
    readout: Watched, train: TrainParams, resume_point: ResumePoint
):
    pairs = some_pairs(11)
    train_readout(readout, pairs, pairs, train, 0, resume_point)
    drawn = [indices(batch, pairs) for batch in readout.batches]
    epochs = [drawn[i] + drawn[i + 1] for i in range(0, 16, 2)]
    assert all(len(epoch) == len(set(epoch)) == 8 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 8
    assert {pair for epoch in epochs for pair in epoch} == set(range(11))


@pytest.mark.parametrize(("warmup_steps", "moved"), [(500, 0), (1, 0), (0, 0.01)])
def test_first_step_changes_nothing_where_there_is_a_warm_up(
    readout: Watched,
    train: TrainParams,
    resume_point: ResumePoint,
    warmup_steps: int,
    moved: float,
):
    """It starts from 0; without one Adam's first step moves weights by the whole learning rate."""
    before = {name: tensor.clone() for name, tensor in readout.state_dict().items()}
    pairs = some_pairs(4)
    train = train.model_copy(update={"epochs": 1, "warmup_steps": warmup_steps})
    train = train.model_copy(update={"weight_decay": 0.0})
    trained = train_readout(readout, pairs, pairs, train, 0, resume_point)
    assert len(readout.batches) == 1
    found = max(float((trained.state[name] - before[name]).abs().max()) for name in before)
    assert found == pytest.approx(moved, rel=1e-3)


@pytest.mark.parametrize(
    ("warmup_steps", "rates"),
    [(4, [0, 0.0025, 0.005, 0.0075, 0.01, 0.01]), (1, [0, *[0.01] * 5]), (0, [0.01] * 6)],
)
def test_curve_has_the_learning_rate_of_each_epochs_last_step(
    readout: Watched,
    train: TrainParams,
    resume_point: ResumePoint,
    warmup_steps: int,
    rates: list[float],
):
    pairs = some_pairs(4)  # one batch, hence one step an epoch
    train = train.model_copy(update={"epochs": 6, "warmup_steps": warmup_steps})
    trained = train_readout(readout, pairs, pairs, train, 0, resume_point)
    assert [row["step"] for row in trained.curve] == [1, 2, 3, 4, 5, 6]
    assert [row["learning_rate"] for row in trained.curve] == pytest.approx(rates)


# The curve, by hand


def test_curve_of_equal_rewards_by_hand(
    readout: Watched, train: TrainParams, resume_point: ResumePoint
):
    """All rewards are 0: every pair is a tie, and the rank loss is -log(sigmoid(0)) = log(2)."""
    pairs = PairFeatures(torch.zeros(4, 2, D), torch.tensor([[3.0, 1.0]] * 4))
    others = PairFeatures(torch.zeros(2, 2, D), torch.tensor([[2.0, 0.0]] * 2))
    train = train.model_copy(update={"epochs": 1})
    (row,) = train_readout(zeroed(readout), pairs, others, train, 0, resume_point).curve
    assert row == {
        "epoch": 0,
        "step": 1,
        "learning_rate": pytest.approx(0, abs=1),  # another test's concern
        "train_loss": pytest.approx((9 + 1) / 2 + 0.1 * math.log(2)),
        "train_accuracy": 0.5,
        "validation_loss": pytest.approx((4 + 0) / 2 + 0.1 * math.log(2)),
        "validation_accuracy": 0.5,
    }


def test_validation_is_of_the_weights_after_the_epoch(
    readout: Watched, train: TrainParams, resume_point: ResumePoint
):
    pairs, others = some_pairs(8), some_pairs(5, seed=1)
    trained = train_readout(readout, pairs, others, train, 0, resume_point)
    assert trained.curve[-1]["validation_loss"] == pytest.approx(
        loss_of(readout.state_dict(), others), rel=1e-5
    )
    with torch.no_grad():
        rewards = readout(others.hidden)
    right = sum(1.0 for chosen, rejected in rewards.tolist() if chosen > rejected)
    assert trained.curve[-1]["validation_accuracy"] == right / 5


def test_best_step_by_validation_loss_is_kept(
    readout: Watched, train: TrainParams, resume_point: ResumePoint
):
    """Training pulls rewards from 0 to 6; validation wants 3, so its loss falls and rises."""
    pairs = PairFeatures(some_pairs(8).hidden, torch.full((8, 2), 6.0))
    others = PairFeatures(pairs.hidden[:4], torch.full((4, 2), 3.0))
    train = train.model_copy(update={"epochs": 60})
    trained = train_readout(readout, pairs, others, train, 0, resume_point)
    losses = [row["validation_loss"] for row in trained.curve]
    best = losses.index(min(losses))
    assert 0 < best < len(losses) - 1
    assert trained.best == trained.curve[best]
    assert loss_of(dict(trained.state), others) == pytest.approx(min(losses), rel=1e-5)
    assert loss_of(dict(trained.state), others) < loss_of(readout.state_dict(), others)


def test_low_training_loss_stops(readout: Watched, train: TrainParams, resume_point: ResumePoint):
    pairs = some_pairs(8)
    train = train.model_copy(update={"epochs": 200, "stop_loss": 1.5})
    trained = train_readout(readout, pairs, some_pairs(4, seed=1), train, 0, resume_point)
    losses = [row["train_loss"] for row in trained.curve]
    assert len(losses) < 200
    assert losses[-1] < 1.5 <= min(losses[:-1])


# Resuming


@pytest.mark.parametrize("killed_at", [0, 1, 5, 6, 7, 11, 15])
def test_killed_training_ends_in_the_same_bytes(
    params: Params, train: TrainParams, tmp_path: Path, killed_at: int
):
    """Two steps an epoch, a resume point every three epochs: after steps 6 and 12."""
    pairs, others = some_pairs(9), some_pairs(4, seed=1)
    initial = new_readout(params.reward_model, D, seed=0)
    whole = train_readout(
        Watched(initial), pairs, others, train, 0, ResumePoint(tmp_path / "whole.pt")
    )
    resume_point = ResumePoint(tmp_path / "killed.pt")
    with pytest.raises(KeyboardInterrupt):
        train_readout(Watched(initial, killed_at), pairs, others, train, 0, resume_point)
    torch.manual_seed(killed_at)
    resumed_readout = Watched(initial)
    resumed = train_readout(resumed_readout, pairs, others, train, 0, resume_point)

    assert content(resumed) == content(whole)
    assert (resumed.curve, resumed.best) == (whole.curve, whole.best)
    assert len(resumed_readout.batches) == 16 - killed_at // 6 * 6


def test_finished_training_is_not_trained_further(
    params: Params, train: TrainParams, resume_point: ResumePoint
):
    """Also where the loss, not the last epoch, ended it."""
    pairs = some_pairs(8)
    train = train.model_copy(update={"epochs": 200, "stop_loss": 1.5, "checkpoint_epochs": 1})
    initial = new_readout(params.reward_model, D, seed=0)
    first = train_readout(Watched(initial), pairs, pairs, train, 0, resume_point)
    again = Watched(initial)
    second = train_readout(again, pairs, pairs, train, 0, resume_point)
    assert again.batches == []
    assert (content(second), second.curve, second.best) == (content(first), first.curve, first.best)


def test_same_seed_same_bytes(params: Params, train: TrainParams, tmp_path: Path):
    pairs = some_pairs(9)
    runs: list[Trained] = []
    for run, (seed, global_seed) in enumerate([(0, 1), (0, 2), (1, 2)]):
        torch.manual_seed(global_seed)
        readout = new_readout(params.reward_model, D, seed=0)
        resume_point = ResumePoint(tmp_path / f"{run}.pt")
        runs.append(train_readout(readout, pairs, pairs, train, seed, resume_point))
    first, same, other = runs
    assert (content(same), same.curve) == (content(first), first.curve)
    assert content(other) != content(first)


# What the user can mend


def test_fewer_pairs_than_a_batch_are_refused(
    readout: Watched, train: TrainParams, resume_point: ResumePoint
):
    with pytest.raises(GoldrmError, match=r"3 training pairs, fewer than train\.batch_size \(4\)"):
        train_readout(readout, some_pairs(3), some_pairs(3), train, 0, resume_point)
    assert readout.batches == []


@pytest.mark.parametrize("epochs", [2, 3])
def test_loss_that_is_not_finite_is_refused(
    readout: Watched, train: TrainParams, resume_point: ResumePoint, epochs: int
):
    """The second epoch's one step ruins the weights; its validation is the first to see it."""
    train = train.model_copy(update={"learning_rate": 1e30, "warmup_steps": 1, "epochs": epochs})
    with pytest.raises(GoldrmError, match=r"loss became .*train\.learning_rate"):
        train_readout(readout, some_pairs(4), some_pairs(4), train, 0, resume_point)


def test_summary_by_hand():
    def row(step: int, train_loss: float, validation_loss: float) -> dict[str, float]:
        return {
            "epoch": step // 10,
            "step": step,
            "learning_rate": 3e-4,
            "train_loss": train_loss,
            "train_accuracy": 0.87654,
            "validation_loss": validation_loss,
            "validation_accuracy": 2 / 3,
        }

    curve = [row(10, 3.0, 2.5), row(20, 1.23456, 0.98765), row(30, 0.5, 1.1)]
    assert summary(Trained({}, curve, curve[1])) == {
        "steps": 30,
        "best_step": 20,
        "train_loss": 1.2346,
        "train_accuracy": 0.8765,
        "val_loss": 0.9877,
        "val_accuracy": 0.6667,
    }

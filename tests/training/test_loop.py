"""The loop trains as the notebook's does, keeps the best step, and survives being killed."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from small_states import labelled, states_of, token_states
from torch import Tensor, nn

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.resume import ResumePoint
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.build import new_readout
from goldrm.reward_model.last_token import LastTokenReadout
from goldrm.reward_model.params import LastTokenParams, TokenDamageParams
from goldrm.reward_model.reading import last_hidden_states
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.states import States
from goldrm.reward_model.token_damage import TokenDamageReadout
from goldrm.training import batches as batches_module
from goldrm.training import loop
from goldrm.training.batches import LabelledCompletions
from goldrm.training.loop import (
    Trained,
    centred,
    headline,
    predicted,
    shuffled,
    train_readout,
    warn_of_long_warmup,
)
from goldrm.training.params import TrainingParams

D = 24


@pytest.fixture(scope="module")
def training(params: Params) -> TrainingParams:
    """The notebook's recipe, but quick."""
    return params.models["notebook"].training.model_copy(
        update={
            "epochs": 8,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_steps": 3,
            "stop_loss": 0.0,
            "checkpoint_epochs": 3,
        }
    )


@pytest.fixture
def readout(last_token: LastTokenParams, small_sizes: BackboneSizes) -> LastTokenReadout:
    return new_readout(last_token, small_sizes, seed=0)


@pytest.fixture
def resume_point(tmp_path: Path) -> ResumePoint:
    return ResumePoint(tmp_path / "training.pt")


def watched(readout: nn.Module, killed_at: int | None = None) -> list[Tensor]:
    """The rows of each batch that it is trained on from now on; a kill comes at one of them."""
    batches: list[Tensor] = []

    def note(_: nn.Module, args: tuple[States]) -> None:
        if torch.is_grad_enabled():
            if len(batches) == killed_at:
                raise KeyboardInterrupt
            batches.append(args[0].rows)

    readout.register_forward_pre_hook(note)
    return batches


def some_groups(count: int, seed: int = 0, size: int = 2) -> LabelledCompletions:
    """Groups of so many completions of one row, gold rewards descending."""
    generator = torch.Generator().manual_seed(seed)
    gold_rewards = 1 + 6 * torch.rand(count, size, generator=generator).sort(descending=True)[0]
    return groups_of(torch.randn(count * size, D, generator=generator), gold_rewards, size)


def groups_of_tokens(count: int, seed: int = 0) -> LabelledCompletions:
    """Groups of three completions of up to 5 tokens; each two groups share a prompt."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(length: int) -> list[int]:
        return torch.randint(129, (length,), generator=generator).tolist()

    completions = [drawn(i % 6) for i in range(3 * count)]
    prompts = [(drawn(3), torch.randn(3, D, generator=generator)) for _ in range(count)]
    states = token_states(completions, prompts, [i // 6 for i in range(3 * count)])
    return replace(some_groups(count, seed, size=3), states=states)


def groups_of(rows: Tensor, gold_rewards: Tensor, size: int = 2) -> LabelledCompletions:
    """One row a completion."""
    sizes = [size] * (len(rows) // size)
    return labelled(states_of(rows.split(1)), gold_rewards.flatten(), sizes)


def indices(batch: Tensor, completions: LabelledCompletions) -> list[int]:
    """Which groups a batch holds, by the first row of each; every row must be at its place."""
    size = len(completions.states.rows) // len(completions)
    same = (batch[::size, None] == completions.states.rows[None, ::size]).all(dim=2)
    groups = same.int().argmax(dim=1)
    whole = completions.states.rows.view(len(completions), size, -1)[groups]
    assert torch.equal(batch.view(whole.shape), whole)
    return groups.tolist()


def loss_of(state: dict[str, Tensor], pairs: LabelledCompletions) -> float:
    """The notebook's loss of a readout's state dict."""
    readout = LastTokenReadout(D)
    readout.load_state_dict(state)
    with torch.no_grad():
        rewards = readout(states_of(pairs.states.rows.split(1)))
    return training_loss(rewards[:, None], pairs.gold_rewards[:, None]).item()


def content(trained: Trained) -> bytes:
    return safetensors.torch.save(dict(trained.state))


# Against the notebook


def test_steps_are_the_notebooks(
    backbone: Backbone,
    reference_lm: NotebookLM,
    readout: LastTokenReadout,
    training: TrainingParams,
    resume_point: ResumePoint,
):
    """The same batches, given to the notebook's training step, lead to the same weights."""
    gold = some_groups(9).gold_rewards.view(9, 2)
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(15, 41, (18,), generator=generator).tolist()
    ids = [torch.randint(127, (length,), generator=generator) for length in lengths]
    pairs = groups_of(last_hidden_states(backbone, [each.tolist() for each in ids]), gold)
    rm = NotebookRM(reference_lm).eval()
    freeze_backbone(rm)
    rm.reward_prediction.load_state_dict(readout.reward_prediction.state_dict())
    optimizer, scheduler = optimizer_and_scheduler(rm, learning_rate=0.01, warmup=3)

    batches = watched(readout)
    trained = train_readout(readout, pairs, pairs, training, 0, resume_point)

    entries: list[list[Entry]] = [
        [[ids[2 * pair + side], gold[pair, side]] for pair in range(9)] for side in (0, 1)
    ]
    losses: list[float] = []
    for batch in batches:
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
    readout: LastTokenReadout, training: TrainingParams, resume_point: ResumePoint
):
    batches, groups = watched(readout), some_groups(11, size=3)
    train_readout(readout, groups, groups, training, 0, resume_point)
    drawn = [indices(batch, groups) for batch in batches]
    epochs = [drawn[i] + drawn[i + 1] for i in range(0, 16, 2)]
    assert all(len(epoch) == len(set(epoch)) == 8 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 8
    assert {group for epoch in epochs for group in epoch} == set(range(11))


@pytest.mark.parametrize("found_together", [1, 16, 24, 4096])
def test_order_of_an_epoch_depends_neither_on_what_went_before_nor_on_what_is_found_at_once(
    training: TrainingParams, monkeypatch: pytest.MonkeyPatch, found_together: int
):
    groups = some_groups(11, size=3)

    def drawn(first_epoch: int) -> list[list[int]]:
        batches = shuffled(groups, training, 0, first_epoch)
        return [indices(batch.states.rows[batch.states.token_rows], groups) for batch in batches]

    whole = drawn(0)
    assert len(whole) == training.epochs * 2
    for module in (loop, batches_module):
        monkeypatch.setattr(module, "GROUPS_FOUND_TOGETHER", found_together)
    assert [drawn(first) for first in (0, 3, training.epochs)] == [whole, whole[6:], []]


@pytest.mark.parametrize(("warmup_steps", "moved"), [(500, 0), (1, 0), (0, 0.01)])
def test_first_step_changes_nothing_where_there_is_a_warm_up(
    readout: LastTokenReadout,
    training: TrainingParams,
    resume_point: ResumePoint,
    warmup_steps: int,
    moved: float,
):
    """It starts from 0; without one Adam's first step moves weights by the whole learning rate."""
    before = {name: tensor.clone() for name, tensor in readout.state_dict().items()}
    batches, pairs = watched(readout), some_groups(4)
    changes = {"epochs": 1, "warmup_steps": warmup_steps, "weight_decay": 0.0}
    training = training.model_copy(update=changes)
    trained = train_readout(readout, pairs, pairs, training, 0, resume_point)
    assert len(batches) == 1
    found = max(float((trained.state[name] - before[name]).abs().max()) for name in before)
    assert found == pytest.approx(moved, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({"warmup_steps": 4}, [0, 0.25, 0.5, 0.75, 1, 1]),
        ({"warmup_steps": 1}, [0, 1, 1, 1, 1, 1]),
        ({"warmup_steps": 0}, [1] * 6),
        (
            {"warmup_steps": 2, "schedule": "cosine"},
            [0, 0.5, 1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5],
        ),
        ({"warmup_steps": 6, "schedule": "cosine"}, [i / 6 for i in range(6)]),
    ],
    ids=str,
)
def test_curve_has_the_learning_rate_of_each_epochs_last_step(
    readout: LastTokenReadout,
    training: TrainingParams,
    resume_point: ResumePoint,
    changes: dict[str, Any],
    rates: list[float],
):
    """A cosine's quarters are at 1, 1/2 + √(1/8), 1/2 and 1/2 - √(1/8); a seventh step has 0."""
    pairs = some_groups(4)  # one batch, hence one step an epoch
    training = training.model_copy(update={"epochs": 6, **changes})
    trained = train_readout(readout, pairs, pairs, training, 0, resume_point)
    assert [row["step"] for row in trained.curve] == [1, 2, 3, 4, 5, 6]
    expected = [0.01 * rate for rate in rates]
    assert [row["learning_rate"] for row in trained.curve] == pytest.approx(expected)


# The curve, by hand


def test_curve_of_equal_rewards_by_hand(
    readout: LastTokenReadout, training: TrainingParams, resume_point: ResumePoint
):
    """All rewards are 0: every pair is a tie, and the rank loss is -log(sigmoid(0)) = log(2)."""
    pairs = groups_of(torch.zeros(8, D), torch.tensor([3.0, 1.0]).repeat(4))
    others = groups_of(torch.zeros(4, D), torch.tensor([2.0, 0.0]).repeat(2))
    for parameter in readout.parameters():
        nn.init.zeros_(parameter)
    training = training.model_copy(update={"epochs": 1})
    (row,) = train_readout(readout, pairs, others, training, 0, resume_point).curve
    assert row == {
        "epoch": 0,
        "step": 1,
        "learning_rate": pytest.approx(0, abs=1),  # another test's concern
        "train_loss": pytest.approx((9 + 1) / 2 + 0.1 * math.log(2)),
        "train_accuracy": 0.5,
        "validation_loss": pytest.approx((4 + 0) / 2 + 0.1 * math.log(2)),
        "validation_accuracy": 0.5,
    }


class HigherReadout(LastTokenReadout):
    """Aims one above the gold rewards."""

    def targets(self, gold_rewards: Tensor) -> Tensor:
        return gold_rewards + self.training


def test_training_aims_where_the_readout_says_and_validation_does_not(
    training: TrainingParams, resume_point: ResumePoint
):
    readout = HigherReadout(D)
    for parameter in readout.parameters():
        nn.init.zeros_(parameter)
    pairs = groups_of(torch.zeros(8, D), torch.tensor([3.0, 1.0]).repeat(4))
    training = training.model_copy(update={"epochs": 1})
    (row,) = train_readout(readout, pairs, pairs, training, 0, resume_point).curve
    assert row["train_loss"] == pytest.approx((16 + 4) / 2 + 0.1 * math.log(2))
    assert row["validation_loss"] == pytest.approx((9 + 1) / 2 + 0.1 * math.log(2))


def test_validation_is_of_the_weights_after_the_epoch(
    readout: LastTokenReadout,
    training: TrainingParams,
    resume_point: ResumePoint,
    monkeypatch: pytest.MonkeyPatch,
):
    """Of all validation completions, also where they are more than are read together."""
    monkeypatch.setattr(loop, "VALIDATION_GROUPS_READ_TOGETHER", 2)
    pairs, others = some_groups(8), some_groups(5, seed=1)
    trained = train_readout(readout, pairs, others, training, 0, resume_point)
    assert trained.curve[-1]["validation_loss"] == pytest.approx(
        loss_of(readout.state_dict(), others), rel=1e-5
    )
    with torch.no_grad():
        rewards = readout(states_of(others.states.rows.split(1))).view(5, 2)
    right = sum(1.0 for chosen, rejected in rewards.tolist() if chosen > rejected)
    assert trained.curve[-1]["validation_accuracy"] == right / 5


@pytest.mark.parametrize("patience", [None, 1, 4])
def test_best_step_by_validation_loss_is_kept(
    readout: LastTokenReadout,
    training: TrainingParams,
    resume_point: ResumePoint,
    patience: int | None,
):
    """Training pulls rewards from 0 to 6; validation wants 3, so its loss falls and rises."""
    pairs = groups_of(some_groups(8).states.rows, torch.full((16,), 6.0))
    others = groups_of(pairs.states.rows[:8], torch.full((8,), 3.0), size=1)
    training = training.model_copy(update={"epochs": 60, "rank_weight": 0.0, "patience": patience})
    trained = train_readout(readout, pairs, others, training, 0, resume_point)
    losses = [row["validation_loss"] for row in trained.curve]
    best = losses.index(min(losses))
    assert 0 < best < len(losses) - 1
    assert len(losses) == (60 if patience is None else best + 1 + patience)
    assert trained.best == trained.curve[best]
    rewards = LastTokenReadout(D)
    rewards.load_state_dict(trained.state)
    with torch.no_grad():
        errors = rewards(states_of(others.states.rows.split(1))) - 3.0
    assert float((errors**2).mean()) == pytest.approx(min(losses), rel=1e-5)


def test_low_training_loss_stops(
    readout: LastTokenReadout, training: TrainingParams, resume_point: ResumePoint
):
    training = training.model_copy(update={"epochs": 200, "stop_loss": 1.5})
    trained = train_readout(
        readout, some_groups(8), some_groups(4, seed=1), training, 0, resume_point
    )
    losses = [row["train_loss"] for row in trained.curve]
    assert len(losses) < 200
    assert losses[-1] < 1.5 <= min(losses[:-1])


class DroppingReadout(LastTokenReadout):
    """Without some of its features while it trains."""

    def unbounded(self, states: States) -> Tensor:
        rows = nn.functional.dropout(states.rows, 0.3, self.training)
        return super().unbounded(replace(states, rows=rows))


def dropping(readout: LastTokenReadout) -> Readout:
    """One with the weights of another readout."""
    made = DroppingReadout(D)
    made.load_state_dict(readout.state_dict())
    return made


def test_dropout_is_on_while_training_and_off_in_validation(
    readout: LastTokenReadout, training: TrainingParams, resume_point: ResumePoint
):
    """On one batch, with a learning rate that moves nothing: the losses differ by dropout alone."""
    groups = some_groups(4)
    training = training.model_copy(
        update={"learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 3}
    )
    curve = train_readout(dropping(readout), groups, groups, training, 0, resume_point).curve
    assert len({round(row["validation_loss"], 5) for row in curve}) == 1
    assert len({round(row[name], 5) for row in curve for name in row if "loss" in name}) == 4


# Resuming


@pytest.fixture(params=["dropping", "token_damage"])
def fresh(
    request: pytest.FixtureRequest,
    readout: LastTokenReadout,
    token_damage: TokenDamageParams,
    small_sizes: BackboneSizes,
) -> Callable[[], Readout]:
    """Makes readouts of a kind, all alike."""
    if request.param == "dropping":
        return lambda: dropping(readout)
    return lambda: new_readout(token_damage, small_sizes, seed=0)


def fitting(readout: Readout, count: int, seed: int = 0) -> LabelledCompletions:
    """Groups of three that a readout can read."""
    if isinstance(readout, TokenDamageReadout):
        return groups_of_tokens(count, seed)
    return some_groups(count, seed, size=3)


@pytest.mark.parametrize("killed_at", [0, 1, 5, 6, 7, 11, 15])
def test_killed_training_ends_in_the_same_bytes(
    fresh: Callable[[], Readout], training: TrainingParams, tmp_path: Path, killed_at: int
):
    """Two steps an epoch, a resume point every three epochs: after steps 6 and 12."""
    training = training.model_copy(update={"schedule": "cosine"})
    data = fitting(fresh(), 9), fitting(fresh(), 4, seed=1)
    whole = train_readout(fresh(), *data, training, 0, ResumePoint(tmp_path / "whole.pt"))
    resume_point = ResumePoint(tmp_path / "killed.pt")
    killed, resuming = fresh(), fresh()
    watched(killed, killed_at)
    with pytest.raises(KeyboardInterrupt):
        train_readout(killed, *data, training, 0, resume_point)
    torch.manual_seed(killed_at)
    batches = watched(resuming)
    resumed = train_readout(resuming, *data, training, 0, resume_point)

    assert content(resumed) == content(whole)
    assert (resumed.curve, resumed.best) == (whole.curve, whole.best)
    assert len(batches) == 16 - killed_at // 6 * 6


@pytest.mark.parametrize("rule", [{"stop_loss": 1.5}, {"patience": 1}], ids=str)
def test_finished_training_is_not_trained_further(
    fresh: Callable[[], Readout],
    training: TrainingParams,
    resume_point: ResumePoint,
    rule: dict[str, Any],
):
    """Where the last epoch didn't end it."""
    data = fitting(fresh(), 8), fitting(fresh(), 8, seed=1)
    training = training.model_copy(update={"epochs": 200, "checkpoint_epochs": 1, **rule})
    first = train_readout(fresh(), *data, training, 0, resume_point)
    assert len(first.curve) < 200
    again = fresh()
    batches = watched(again)
    second = train_readout(again, *data, training, 0, resume_point)
    assert batches == []
    assert (content(second), second.curve, second.best) == (content(first), first.curve, first.best)


def test_same_seed_same_bytes(
    fresh: Callable[[], Readout], training: TrainingParams, tmp_path: Path
):
    groups = fitting(fresh(), 9)
    runs: list[Trained] = []
    for run, (seed, global_seed) in enumerate([(0, 1), (0, 2), (1, 2)]):
        torch.manual_seed(global_seed)
        resume_point = ResumePoint(tmp_path / f"{run}.pt")
        runs.append(train_readout(fresh(), groups, groups, training, seed, resume_point))
    first, same, other = runs
    assert (content(same), same.curve) == (content(first), first.curve)
    assert content(other) != content(first)


# What the user can mend


def test_fewer_groups_than_a_batch_are_one_batch(
    fresh: Callable[[], Readout], training: TrainingParams, tmp_path: Path
):
    groups = fitting(fresh(), 3)
    few, many = (
        train_readout(
            fresh(),
            groups,
            groups,
            training.model_copy(update={"batch_size": size, "epochs": 2}),
            0,
            ResumePoint(tmp_path / f"{size}.pt"),
        )
        for size in (3, 1000)
    )
    assert [row["step"] for row in many.curve] == [1, 2]
    assert (content(many), many.curve) == (content(few), few.curve)


@pytest.mark.parametrize(
    ("groups", "epochs", "warns"), [(3, 2, True), (8, 1, True), (12, 1, False), (3, 3, False)]
)
def test_warm_up_that_never_ends_is_said(
    training: TrainingParams,
    caplog: pytest.LogCaptureFixture,
    groups: int,
    epochs: int,
    warns: bool,
):
    params = training.model_copy(update={"epochs": epochs, "batch_size": 4, "warmup_steps": 2})
    warn_of_long_warmup(groups, params)
    messages = [record.getMessage() for record in caplog.records]
    assert ["never gets to learning_rate. Lower warmup_steps" in text for text in messages] == (
        [True] * warns
    )


@pytest.mark.parametrize("epochs", [2, 3])
def test_loss_that_is_not_finite_is_refused(
    readout: LastTokenReadout, training: TrainingParams, resume_point: ResumePoint, epochs: int
):
    """The second epoch's one step ruins the weights; its validation is the first to see it."""
    training = training.model_copy(
        update={"learning_rate": 1e30, "warmup_steps": 1, "epochs": epochs}
    )
    with pytest.raises(GoldrmError, match=r"loss became .*learning_rate of"):
        train_readout(readout, some_groups(4), some_groups(4), training, 0, resume_point)


def test_headline_by_hand():
    """Of the step that was kept, not the last one."""
    earlier = {"train_accuracy": 0.87654, "validation_accuracy": 2 / 3, "train_loss": 1.0}
    later = {"train_accuracy": 0.9, "validation_accuracy": 0.6, "train_loss": 0.5}
    trained = Trained({}, [earlier, later], earlier)
    assert headline(trained) == {"train": 0.8765, "validation": 0.6667}
    noisy = Trained({}, [later], later | {"reachable_accuracy": 0.74996})
    assert headline(noisy) == {"train": 0.9, "validation": 0.6, "reachable": 0.75}


def test_centred_rewards_have_the_mean_0_and_the_same_differences(
    fresh: Callable[[], Readout], training: TrainingParams, resume_point: ResumePoint
):
    """Of the step that was kept, which isn't the last one."""
    readout = fresh()
    groups, others = fitting(readout, 8), fitting(readout, 8, seed=1)
    trained = train_readout(readout, groups, others, training, 0, resume_point)
    shifted, kept = fresh(), fresh()
    kept.load_state_dict(trained.state)
    shifted.load_state_dict(centred(trained, readout, others).state)
    before, after = (predicted(each, others).rewards for each in (kept, shifted))
    assert abs(float(before.mean())) > 0.01
    assert float(after.mean()) == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(after - after[0], before - before[0], atol=1e-5, rtol=0)

"""The readout is the notebook's head, the loss the notebook's without its overflow."""

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError
from notebook_reference import NotebookLM, NotebookRM, freeze_backbone, training_loss
from torch import Tensor

from goldrm.backbone import Backbone, BackboneSizes
from goldrm.config import Params, RewardModelParams, TrainParams
from goldrm.hidden_states import last_hidden_states
from goldrm.reward_model import LastTokenReadout, count_correct, new_readout, preference_loss


@pytest.fixture(scope="module")
def train(params: Params) -> TrainParams:
    """The notebook's weights of the two losses."""
    return params.train.model_copy(update={"mse_weight": 1.0, "rank_weight": 0.1})


@pytest.fixture
def reference_rm(reference_lm: NotebookLM) -> NotebookRM:
    """The notebook's reward model with random weights, frozen backbone, in evaluation mode."""
    torch.manual_seed(2)
    rm = NotebookRM(reference_lm).eval()
    freeze_backbone(rm)
    return rm


@pytest.fixture
def readout(reference_rm: NotebookRM) -> LastTokenReadout:
    """Ours with the same weights."""
    readout = LastTokenReadout(24)
    readout.reward_prediction.load_state_dict(reference_rm.reward_prediction.state_dict())
    return readout


@pytest.fixture
def sequences() -> list[list[int]]:
    """Prompts with completions of many lengths: pairs 0 and 1, 2 and 3 …"""
    generator = torch.Generator().manual_seed(6)
    lengths = [18, 25, 22, 22, 40, 21, 30, 1]
    return [torch.randint(127, (n,), generator=generator).tolist() for n in lengths]


def test_rewards_are_the_notebooks(
    backbone: Backbone, readout: LastTokenReadout, reference_rm: NotebookRM, sequences
):
    rewards = readout(last_hidden_states(backbone, sequences))
    expected = reference_rm.predict([torch.tensor(sequence) for sequence in sequences])
    torch.testing.assert_close(rewards, expected, atol=1e-5, rtol=0)


def test_full_size_has_the_notebooks_parameters(small_sizes: BackboneSizes):
    full = replace(small_sizes, d=384, num_heads=6, num_layers=6)
    with torch.device("meta"):
        readout, backbone = LastTokenReadout(384), Backbone(full)
    of_readout = sum(parameter.numel() for parameter in readout.parameters())
    assert of_readout == 148_993
    assert of_readout + sum(p.numel() for p in backbone.parameters()) == 10_910_338


def test_loss_and_gradients_of_a_step_are_the_notebooks(
    backbone: Backbone,
    readout: LastTokenReadout,
    reference_rm: NotebookRM,
    sequences: list[list[int]],
    train: TrainParams,
):
    gold = torch.tensor([[7.0, 6.2], [5.5, 1.9], [7.0, 3.0], [4.0, 3.9]])
    ids = [torch.tensor(sequence) for sequence in sequences]
    expected = training_loss(reference_rm(ids[::2], ids[1::2]), gold.reshape(8, 1))
    expected.backward()

    hidden = last_hidden_states(backbone, sequences).view(4, 2, 24)
    loss = preference_loss(readout(hidden), gold, train)
    loss.backward()

    torch.testing.assert_close(loss, expected)
    gradients = {name: p.grad for name, p in readout.reward_prediction.named_parameters()}
    for name, parameter in reference_rm.reward_prediction.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-4, "the comparison should say something"
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_loss_by_hand(train: TrainParams):
    """Rewards 6 and 5.5 where 7 and 5 are right: errors -1 and 0.5, margin 0.5."""
    rewards, gold = torch.tensor([[6.0, 5.5]]), torch.tensor([[7.0, 5.0]])
    mse, rank = (1 + 0.25) / 2, math.log(1 + math.exp(-0.5))
    assert preference_loss(rewards, gold, train).item() == pytest.approx(mse + 0.1 * rank)
    other = train.model_copy(update={"mse_weight": 3.0, "rank_weight": 2.0})
    assert preference_loss(rewards, gold, other).item() == pytest.approx(3 * mse + 2 * rank)


@pytest.mark.parametrize(("margin", "loss", "slope"), [(-1000.0, 100.0, -0.1), (1000.0, 0.0, 0.0)])
def test_rank_loss_is_finite_at_huge_margins(
    train: TrainParams, margin: float, loss: float, slope: float
):
    """-log(sigmoid(-1000)) is infinite in the notebook: sigmoid underflows. Here it is 1000."""
    assert math.isinf(training_loss(torch.tensor([[margin], [0.0]]), torch.zeros(2, 1)).item()) == (
        margin < 0
    )
    rewards = torch.tensor([[margin, 0.0]], requires_grad=True)
    ours = preference_loss(rewards, rewards.detach(), train)
    ours.backward()
    assert ours.item() == pytest.approx(loss)
    assert rewards.grad is not None
    assert rewards.grad[0].tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize(
    ("rewards", "gold_rewards"),
    [
        (torch.zeros(4, 1), torch.zeros(4)),
        (torch.zeros(4, 1), torch.zeros(4, 1)),
        (torch.zeros(4, 2), torch.zeros(4, 1)),
        (torch.zeros(4, 2), torch.zeros(1, 2)),
        (torch.zeros(4, 2, 1), torch.zeros(4, 2)),
        (torch.zeros(8), torch.zeros(4, 2)),
    ],
)
def test_shapes_never_broadcast(train: TrainParams, rewards: Tensor, gold_rewards: Tensor):
    """(N, 1) - (N,) is (N, N): the classic bug that trains on every wrong pair, silently."""
    with pytest.raises(TypeCheckError):
        preference_loss(rewards, gold_rewards, train)


@pytest.mark.parametrize("shape", [(24,), (7, 24), (7, 2, 24)])
def test_readout_has_one_reward_a_sequence(readout: LastTokenReadout, shape: tuple[int, ...]):
    assert readout(torch.ones(shape)).shape == shape[:-1]


def test_tie_counts_one_half():
    rewards = torch.tensor([[2.0, 1.0], [1.0, 2.0], [3.0, 3.0], [-1.0, -5.0]])
    assert count_correct(rewards) == 2.5


def test_fresh_weights_depend_on_the_seed_alone(params: Params):
    """TRL created the head before seeding (its issue 4887), so no two runs began alike."""
    weights = [state_of(params.reward_model, global_seed=1, seed=0)]
    weights += [state_of(params.reward_model, global_seed=2, seed=0)]
    weights += [state_of(params.reward_model, global_seed=2, seed=5)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def state_of(params: RewardModelParams, global_seed: int, seed: int) -> Tensor:
    torch.manual_seed(global_seed)
    readout = new_readout(params, 24, seed)
    return torch.cat([parameter.detach().flatten() for parameter in readout.parameters()])

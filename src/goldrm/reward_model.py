"""Readouts: what is trained on the frozen hidden states, and the loss it is trained by.

It must not know files, tokens or the training loop.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.config import RewardModelParams, TrainParams
from goldrm.random_streams import random_stream


class LastTokenReadout(nn.Module):
    """The notebook's head: LayerNorm → Linear → ReLU → Linear on the last token's hidden state."""

    def __init__(self, d: int) -> None:
        """`d` is the width of the hidden states; 148,993 parameters with the notebook's 384."""
        super().__init__()
        self.reward_prediction = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)
        )

    def forward(self, hidden: Float[Tensor, "*batch embd"]) -> Float[Tensor, "*batch"]:
        """Reward of each sequence."""
        return self.reward_prediction(hidden).squeeze(-1)


def new_readout(params: RewardModelParams, d: int, seed: int) -> LastTokenReadout:
    """A readout with fresh weights, which its seed alone decides.

    Args:
        params: which readout.
        d: width of the hidden states.
        seed: the run's.
    """
    with random_stream(seed, f"{params.readout} initial weights"):
        return LastTokenReadout(d)


def preference_loss(
    rewards: Float[Tensor, "pairs 2"], gold_rewards: Float[Tensor, "pairs 2"], train: TrainParams
) -> Float[Tensor, ""]:
    """Regression to the gold rewards plus the Bradley-Terry ranking loss.

    mse_weight * mean (reward - gold_reward)² - rank_weight * mean log σ(chosen - rejected).

    Args:
        rewards: predicted; column 0 is the chosen, column 1 the rejected completion's.
        gold_rewards: exact, in the same order.
        train: the weights.

    Source: the notebook, cell "Train reward model", with logsigmoid for log(sigmoid), which
    overflows.
    """
    mse = F.mse_loss(rewards, gold_rewards)
    rank = -F.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
    return train.mse_weight * mse + train.rank_weight * rank


def count_correct(rewards: Float[Tensor, "pairs 2"]) -> float:
    """Pairs whose chosen completion has the higher reward; a tie counts one half."""
    return float((torch.sign(rewards[:, 0] - rewards[:, 1]) + 1).sum() / 2)

"""Readouts: what is trained on the frozen hidden states.

It must not know files, tokens or the training loop.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.states import States
from goldrm.training.batches import LabelledCompletions


class Readout(nn.Module, ABC):
    """Hidden states → rewards."""

    def fit_scale(self, completions: LabelledCompletions) -> None:
        """Take from the training completions what isn't learned; here nothing."""

    @abstractmethod
    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """What the reward of each completion is made of, by the readout or by an ensemble."""

    def bounded(self, rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """Rewards kept below what is the highest; here nothing is."""
        return rewards

    def aims(self, gold_rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """What the rewards are trained towards; by themselves the gold rewards."""
        return gold_rewards

    def forward(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion."""
        return self.bounded(self.unbounded(states))


def combined(
    rewards: Float[Tensor, "members completions"], params: RewardModelParams
) -> Float[Tensor, " completions"]:
    """One reward from the members': their mean, the worst, or the mean less their variance.

    Source: Coste et al., Reward Model Ensembles Help Mitigate Overoptimization (2310.02743).
    """
    if params.combine == "worst":
        return rewards.min(dim=0).values
    mean = rewards.mean(dim=0)
    if params.combine == "uncertainty":
        return mean - params.uncertainty_weight * rewards.var(dim=0, correction=0)
    return mean

"""Readouts: what is trained on the frozen hidden states."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from goldrm.reward_model.reading import Reading
from goldrm.reward_model.states import States


class Readout(nn.Module, ABC):
    """Hidden states → rewards.

    Attributes:
        reading: what it reads of completions.
    """

    reading: Reading

    def fit_scale(self, states: States, gold_rewards: Float[Tensor, " known"]) -> None:
        """Take from the training completions what isn't learned by gradients, if anything.

        Args:
            states: of all training completions.
            gold_rewards: those that are known; none where rewards are learned by ranking alone, on
                a scale of their own.
        """

    def shift(self, amount: float) -> None:
        """Add a number to all rewards: to their bias, which is a readout's last parameter."""
        *_, bias = self.parameters()
        bias.data += amount

    @abstractmethod
    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion, which may be higher than there can be."""

    def bounded(self, rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """The same rewards, lowered to the highest that there can be if the readout knows it."""
        return rewards

    def targets(self, gold_rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """What the rewards are trained towards: the gold rewards, unless the readout says else."""
        return gold_rewards

    def forward(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion."""
        return self.bounded(self.unbounded(states))

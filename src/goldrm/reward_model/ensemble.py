"""One reward from those of several readouts."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.reward_model.params import EnsembleParams
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.states import States


def ensemble_rewards(
    members: Sequence[Readout], params: EnsembleParams, states: States
) -> Float[Tensor, " completions"]:
    """What several readouts say together of completions; they are put into evaluation mode."""
    rewards = torch.stack([member.eval().unbounded(states) for member in members])
    # Bounded last: what one member doubts and another is sure of may still be the best.
    return members[0].bounded(combined(rewards, params))


def combined(
    rewards: Float[Tensor, "members completions"], params: EnsembleParams
) -> Float[Tensor, " completions"]:
    """The members' mean, the worst of theirs, or their mean less their variance.

    Source: Coste et al., Reward Model Ensembles Help Mitigate Overoptimization (2310.02743).
    """
    match params.combine:
        case "mean":
            return rewards.mean(dim=0)
        case "worst":
            return rewards.min(dim=0).values
        case "uncertainty":
            variance = rewards.var(dim=0, correction=0)
            return rewards.mean(dim=0) - params.variance_weight * variance

"""One reward from those of several readouts."""

from jaxtyping import Float
from torch import Tensor

from goldrm.reward_model.params import EnsembleParams


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

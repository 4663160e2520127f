"""What a readout is trained by: regression to the gold rewards and the ranking of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from goldrm.training.params import TrainingParams


@dataclass(frozen=True, eq=False)
class RewardsAndTargets:
    """Rewards of completions beside what they are trained towards.

    Attributes:
        rewards: of each completion.
        targets: what each should be, NaN where that isn't known.
        chosen: number of the preferred completion of each pair.
        rejected: number of the other one.
    """

    rewards: Float[Tensor, " completions"]
    targets: Float[Tensor, " completions"]
    chosen: Int[Tensor, " pairs"]
    rejected: Int[Tensor, " pairs"]

    @classmethod
    def concatenated(cls, parts: Sequence["RewardsAndTargets"]) -> "RewardsAndTargets":
        """All of them as one; at least one."""
        sizes = [len(part.rewards) for part in parts]
        offsets = list(accumulate(sizes, initial=0))[:-1]
        shifted = list(zip(parts, offsets, strict=True))
        return cls(
            torch.cat([part.rewards for part in parts]),
            torch.cat([part.targets for part in parts]),
            torch.cat([part.chosen + offset for part, offset in shifted]),
            torch.cat([part.rejected + offset for part, offset in shifted]),
        )

    def detached(self) -> "RewardsAndTargets":
        """The same numbers, without their gradients."""
        return replace(self, rewards=self.rewards.detach())

    def loss(self, params: TrainingParams) -> Float[Tensor, ""]:
        """Regression to the known targets plus the Bradley-Terry ranking loss, and centring.

        mse_weight * mean (reward - target)² - rank_weight * mean log σ(chosen - rejected, less the
        targets' difference where `margin` asks for it) + center_weight * mean (chosen + rejected)².

        Source: the notebook, cell "Train reward model", with logsigmoid for log(sigmoid), which
        overflows; centring: Eisenstein et al. (2023), arXiv 2312.09244, as TRL has it.
        """
        chosen = self.rewards.index_select(0, self.chosen)
        rejected = self.rewards.index_select(0, self.rejected)
        margin = chosen - rejected
        if params.margin:
            margin = margin - (self.targets[self.chosen] - self.targets[self.rejected])
        pairs = max(len(margin), 1)
        unknown = self.targets.isnan()
        # Not 0 times NaN, whose gradient is NaN.
        errors = torch.where(unknown, 0.0, self.rewards - self.targets)
        error = (errors**2).sum() / (~unknown).sum().clamp(min=1)
        loss = params.mse_weight * error - params.rank_weight * F.logsigmoid(margin).sum() / pairs
        if params.center_weight:
            loss = loss + params.center_weight * ((chosen + rejected) ** 2).sum() / pairs
        return loss

    def accuracy(self) -> float:
        """Share of the pairs ranked right, a tie counting one half; 0.5 where there are none."""
        if not len(self.chosen):
            return 0.5
        margin = self.rewards[self.chosen] - self.rewards[self.rejected]
        return float((torch.sign(margin) + 1).sum()) / 2 / len(margin)

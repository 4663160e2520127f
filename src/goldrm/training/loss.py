"""What a readout is trained by: regression to the gold rewards and the ranking of pairs.

It must not know hidden states nor the training loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from goldrm.training.params import TrainParams


@dataclass(frozen=True)
class Compared:
    """Rewards of completions beside what they are trained towards.

    Attributes:
        rewards: of each completion.
        aims: what each should be.
        chosen: number of the better completion of each pair.
        rejected: number of the worse one.
    """

    rewards: Float[Tensor, " completions"]
    aims: Float[Tensor, " completions"]
    chosen: Int[Tensor, " pairs"]
    rejected: Int[Tensor, " pairs"]

    @classmethod
    def together(cls, parts: Sequence["Compared"]) -> "Compared":
        """All of them as one; at least one."""
        sizes = [len(part.rewards) for part in parts]
        before = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
        return cls(
            torch.cat([part.rewards for part in parts]),
            torch.cat([part.aims for part in parts]),
            torch.cat([part.chosen + first for part, first in zip(parts, before, strict=True)]),
            torch.cat([part.rejected + first for part, first in zip(parts, before, strict=True)]),
        )

    def detached(self) -> "Compared":
        """The same numbers, without their gradients."""
        return replace(self, rewards=self.rewards.detach())

    def loss(self, train: TrainParams) -> Float[Tensor, ""]:
        """Regression to the aims plus the Bradley-Terry ranking loss, and centring.

        mse_weight * mean (reward - aim)² - rank_weight * mean log σ(chosen - rejected, less the
        aims' difference where `margin` asks for it) + center_weight * mean (chosen + rejected)².

        Source: the notebook, cell "Train reward model", with logsigmoid for log(sigmoid), which
        overflows; centring: Eisenstein et al. (2023), arXiv 2312.09244, as TRL has it.
        """
        chosen = self.rewards.index_select(0, self.chosen)
        rejected = self.rewards.index_select(0, self.rejected)
        difference = chosen - rejected
        if train.margin:
            difference = difference - (self.aims[self.chosen] - self.aims[self.rejected])
        pairs = max(len(difference), 1)
        error = ((self.rewards - self.aims) ** 2).sum() / len(self.rewards)
        loss = train.mse_weight * error - train.rank_weight * F.logsigmoid(difference).sum() / pairs
        if train.center_weight:
            loss = loss + train.center_weight * ((chosen + rejected) ** 2).sum() / pairs
        return loss

    def accuracy(self) -> float:
        """Share of the pairs ranked right, a tie counting one half; 0.5 where there are none."""
        if not len(self.chosen):
            return 0.5
        difference = self.rewards[self.chosen] - self.rewards[self.rejected]
        return float((torch.sign(difference) + 1).sum()) / 2 / len(difference)

"""Readouts: what is trained on the frozen hidden states, and the loss it is trained by.

It must not know files, tokens or the training loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.backbone import BackboneSizes
from goldrm.config import RewardModelParams, TrainParams
from goldrm.errors import GoldrmError
from goldrm.random_streams import random_stream

SCALE_ROWS = 65_536  # rows whose mean and deviation are computed together


class LastTokenReadout(nn.Module):
    """The notebook's head: LayerNorm → Linear → ReLU → Linear on the last token's hidden state."""

    def __init__(self, d: int) -> None:
        """`d` is the width of the hidden states; 148,993 parameters with the notebook's 384."""
        super().__init__()
        self.reward_prediction = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)
        )

    def fit_scale(self, rows: Float[Tensor, "rows embds"]) -> None:
        """Nothing: the LayerNorm scales each state by itself."""

    def forward(
        self, rows: Float[Tensor, "completions embd"], lengths: Int[Tensor, " completions"]
    ) -> Float[Tensor, " completions"]:
        """Reward of each completion, of which there is one row, its last token's."""
        return self.reward_prediction(rows).squeeze(-1)


class TokenDamageReadout(nn.Module):
    """Adds up the damage that each token does, and maps the sum to a reward.

    A token is judged by the hidden states at it and at the token before, which had to predict it.
    What it does wrong is carried along: signed deviations add up from token to token, as a wrong
    step shifts all later terms. The state at the last token tells what is missing. Damages, of
    several kinds, are not negative and are summed over the completion; a small network maps the
    logarithms of the sums to the reward. So the form is the gold reward's, 1 + 6 / (1 + 0.1 √Σ).
    """

    def __init__(self, params: RewardModelParams, embds: int) -> None:
        """`embds` is the width of the rows: that of all layers read."""
        super().__init__()
        size, kinds = params.hidden_size, params.channels
        self.mean = nn.Buffer(torch.zeros(embds))
        self.scale = nn.Buffer(torch.ones(embds))
        self.before = nn.Linear(embds, size)
        self.at = nn.Linear(embds, size, bias=False)
        self.deviation = nn.Linear(size, kinds)
        self.carried = nn.Linear(size + 2 * kinds, size)
        self.damage = nn.Linear(size, kinds)
        self.missing = nn.Linear(embds, size)
        self.missing_damage = nn.Linear(2 * size, kinds)
        self.dropout = nn.Dropout(params.dropout)
        self.reward = nn.Sequential(nn.Linear(kinds, 64), nn.ReLU(), nn.Linear(64, 1))

    def fit_scale(self, rows: Float[Tensor, "rows embds"]) -> None:
        """Let each feature have mean 0 and deviation 1 over these rows."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for part in rows.split(SCALE_ROWS):
            values = part.double()
            count += len(values)
            total = total + values.sum(0)
            squares = squares + (values**2).sum(0)
        mean = total / count
        self.mean.copy_(mean)
        self.scale.copy_((squares / count - mean**2).clamp(min=1e-6).sqrt())

    def forward(
        self, rows: Float[Tensor, "rows embds"], lengths: Int[Tensor, " completions"]
    ) -> Float[Tensor, " completions"]:
        """Reward of each completion.

        Args:
            rows: states of the prompt's last token and of each token of the completion.
            lengths: rows of each completion, at least one.
        """
        owner = torch.repeat_interleave(lengths)
        last = torch.cumsum(lengths, 0) - 1
        first = last + 1 - lengths
        scaled = (rows - self.mean) / self.scale
        judged = torch.ones(len(rows), 1, device=rows.device).index_fill(0, first, 0.0)
        seen = self.at(scaled) + self.before(scaled).roll(1, 0)
        token = self.dropout(F.relu(seen)) * judged
        # Added up by completion: over all rows the sums would grow, and round by the company.
        place = torch.arange(len(rows), device=rows.device) - first[owner]
        deviation = self.deviation(token) * judged
        by_place = deviation.new_zeros(len(lengths), int(lengths.max()), deviation.shape[1])
        so_far = by_place.index_put((owner, place), deviation).cumsum(1)[owner, place]
        token = F.relu(self.carried(torch.cat((token, F.relu(so_far), F.relu(-so_far)), dim=1)))
        damage = F.softplus(self.damage(token)) * judged
        missing = torch.cat((F.relu(self.missing(scaled[last])), token[last]), dim=1)
        total = F.softplus(self.missing_damage(missing)).index_add(0, owner, damage)
        return self.reward(torch.log1p(total)).squeeze(-1)


Readout = LastTokenReadout | TokenDamageReadout


def empty_readout(params: RewardModelParams, sizes: BackboneSizes) -> Readout:
    """A readout of the kind that `params` names, with whatever weights PyTorch gives it."""
    if params.readout == "last_token":
        return LastTokenReadout(sizes.d)
    return TokenDamageReadout(params, len(params.layers) * sizes.d)


def new_readout(params: RewardModelParams, sizes: BackboneSizes, seed: int) -> Readout:
    """A readout with fresh weights, which its seed alone decides.

    Args:
        params: which readout.
        sizes: of the language model that it reads.
        seed: the run's, or the member's.

    Raises:
        GoldrmError: when a layer is asked for that the language model doesn't have.
    """
    if params.readout == "token_damage" and params.layers[-1] > sizes.num_layers:
        raise GoldrmError(
            f"reward_model.layers asks for layer {params.layers[-1]}, but the language model has "
            f"{sizes.num_layers}. Lower it."
        )
    with random_stream(seed, f"{params.readout} initial weights"):
        return empty_readout(params, sizes)


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


@dataclass(frozen=True)
class Outcome:
    """How rewards fit the gold rewards: sums over completions and over pairs.

    Pairs are two completions of a group whose gold rewards differ.

    Attributes:
        completions: how many.
        squared_error: sum over them of (reward - gold_reward)².
        pairs: how many.
        rank: sum over them of -log σ(chosen reward - rejected reward, less the margin if asked).
        centre: sum over them of (chosen reward + rejected reward)².
        correct: pairs whose chosen completion has the higher reward; a tie counts one half.
    """

    completions: int
    squared_error: Float[Tensor, ""]
    pairs: int
    rank: Float[Tensor, ""]
    centre: Float[Tensor, ""]
    correct: Float[Tensor, ""]

    @classmethod
    def of(
        cls,
        rewards: Float[Tensor, " completions"],
        gold_rewards: Float[Tensor, " completions"],
        group: Int[Tensor, " completions"],
        train: TrainParams,
    ) -> "Outcome":
        """Compare rewards with gold rewards; `group` tells whose prompt a completion answers."""
        margins = gold_rewards[:, None] - gold_rewards[None, :]
        better = (margins > 0) & (group[:, None] == group[None, :])
        chosen, rejected = better.nonzero().unbind(1)
        difference = rewards[chosen] - rewards[rejected]
        asked = margins[chosen, rejected] if train.margin else 0.0
        return cls(
            completions=len(rewards),
            squared_error=((rewards - gold_rewards) ** 2).sum(),
            pairs=len(chosen),
            rank=-F.logsigmoid(difference - asked).sum(),
            centre=((rewards[chosen] + rewards[rejected]) ** 2).sum(),
            correct=((torch.sign(difference.detach()) + 1) / 2).sum(),
        )

    @classmethod
    def sum(cls, outcomes: Sequence["Outcome"]) -> "Outcome":
        """All of them together, at least one."""
        first, *others = outcomes
        for other in others:
            values = {f.name: getattr(first, f.name) + getattr(other, f.name) for f in fields(cls)}
            first = cls(**values)
        return first

    def detached(self) -> "Outcome":
        """The same numbers, without their gradients."""
        return replace(
            self,
            squared_error=self.squared_error.detach(),
            rank=self.rank.detach(),
            centre=self.centre.detach(),
        )

    def loss(self, train: TrainParams) -> Float[Tensor, ""]:
        """Regression to the gold rewards plus the Bradley-Terry ranking loss, and centring.

        mse_weight * mean (reward - gold_reward)² - rank_weight * mean log σ(chosen - rejected)
        + center_weight * mean (chosen + rejected)².

        Source: the notebook, cell "Train reward model", with logsigmoid for log(sigmoid), which
        overflows; centring: Eisenstein et al. (2023), arXiv 2312.09244, as TRL has it.
        """
        pairs = max(self.pairs, 1)
        return (
            train.mse_weight * self.squared_error / self.completions
            + train.rank_weight * self.rank / pairs
            + train.center_weight * self.centre / pairs
        )

    def accuracy(self) -> float:
        """Share of the pairs ranked right; 0.5 where there are none."""
        return float(self.correct) / self.pairs if self.pairs else 0.5

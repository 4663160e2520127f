"""A readout that sees every token: damages, summed over the completion."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.lm.dropout import Dropout
from goldrm.reward_model.hidden_states import OUTLOOK
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.ragged import apart, places
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.states import States
from goldrm.training.batches import LabelledCompletions
from goldrm.training.row_file import RowFile

PROMPT_QUERIES, QUERY_SIZE = 8, 32  # what is looked for in a prompt, and the width of an answer
SLOPE_ABOVE = 0.1  # of a reward above the ceiling, while it trains
SCALE_ROWS = 8_192  # rows whose mean and deviation are computed together


class TokenDamageReadout(Readout):
    """Adds up the damage that each token does, and maps the sum to a reward.

    A token is judged by the hidden states at it and at the token before, which had to predict it,
    and by what was asked for: `PROMPT_QUERIES` learned queries attend to the prompt's tokens. What
    a token does wrong is carried along: signed deviations, linear ones and what the network adds,
    are summed from token to token, as a wrong step shifts all later terms. The state at the last
    token tells what is missing. Damages, of several kinds, are not negative and are summed over
    the completion; a small network maps the logarithms of the sums to the reward. So the form is
    the gold reward's, 1 + 6 / (1 + 0.1 √Σ), and as no gold reward is above that of an exact
    completion, no reward is.

    The gold reward leaps there, from 6.45 to 7. While the readout trains it aims half the leap
    above that ceiling, so that an exact completion of which it is only nearly sure is there too.
    """

    def __init__(self, params: RewardModelParams, embds: int, prompt_embds: int) -> None:
        """`embds` and `prompt_embds` are the widths of the rows of completions and prompts."""
        super().__init__()
        size, kinds = params.hidden_size, params.channels
        asked = PROMPT_QUERIES * QUERY_SIZE
        self.scale = Standardised(embds)
        self.prompt_scale = Standardised(prompt_embds)
        self.queries = nn.Linear(prompt_embds, PROMPT_QUERIES, bias=False)
        values = torch.empty(PROMPT_QUERIES, prompt_embds, QUERY_SIZE).uniform_(-1, 1)
        self.values = nn.Parameter(values / prompt_embds**0.5)
        self.before_and_at = nn.Linear(embds, 2 * (size + kinds))
        self.outlook_scale = Standardised(OUTLOOK)
        self.outlook = nn.Linear(2 * OUTLOOK, size, bias=False)
        self.asked = nn.Linear(asked, size + kinds, bias=False)
        self.token = nn.Linear(size, size)
        self.deviation = nn.Linear(size, kinds)
        self.carried = nn.Linear(size + 2 * kinds, size)
        self.damage = nn.Linear(size, kinds)
        self.end = nn.Linear(embds, size)
        self.outlook_at_end = nn.Linear(OUTLOOK, size, bias=False)
        self.asked_at_end = nn.Linear(asked, size, bias=False)
        self.missing = nn.Linear(2 * size, size)
        self.missing_damage = nn.Linear(size, kinds)
        self.dropout = Dropout(params.dropout)
        self.reward_hidden = nn.Linear(kinds, 64)
        self.reward = nn.Linear(64, 1)
        self.ceiling = nn.Buffer(torch.tensor(torch.finfo(torch.float32).max))
        self._headroom = 0.0

    def fit_scale(self, completions: LabelledCompletions) -> None:
        """Let each feature have mean 0 and deviation 1 there, and rewards begin at their mean.

        The highest gold reward becomes the ceiling of the rewards, and half its distance from the
        next one the headroom above it, for training.
        """
        self.scale.fit(completions.rows)
        self.outlook_scale.fit(completions.outlook)
        self.prompt_scale.fit(completions.prompt_rows)
        nn.init.constant_(self.reward.bias, float(completions.gold_rewards.mean()))
        highest = completions.gold_rewards.unique()[-2:]  # one or two, ascending
        self.ceiling.copy_(highest[-1])
        self._headroom = float(highest[-1] - highest[0]) / 2

    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion, which may be above the ceiling."""
        lengths = states.lengths
        owner = torch.repeat_interleave(lengths)
        last = torch.cumsum(lengths, 0) - 1
        first = last + 1 - lengths
        asked = self._asked(states)[states.prompt]
        judged = torch.ones(len(owner), 1, device=owner.device).index_fill(0, first, 0.0)
        # Once a row, and there may be several places to a row.
        before, at = self.scale.linear(states.rows, self.before_and_at).chunk(2, dim=1)
        seen = at.index_select(0, states.place) + before.index_select(0, states.place.roll(1))
        seen = seen + self.asked(asked)[owner]
        token, deviation = seen.split([self.token.in_features, self.deviation.out_features], dim=1)
        expected = self.outlook_scale(states.outlook)
        token = token + self.outlook(torch.cat((expected.roll(1, 0), expected), dim=1))
        token = self.dropout(F.relu(self.token(F.relu(token)))) * judged
        # Added up by completion: over all rows the sums would grow, and round by the company.
        placed = places(lengths)
        deviation = (deviation + self.deviation(token)) * judged
        deviation = apart(deviation, placed).cumsum(1)[placed]
        carried = torch.cat((token, F.relu(deviation), F.relu(-deviation)), dim=1)
        token = F.relu(self.carried(carried))
        damage = F.softplus(self.damage(token)) * judged
        end = self.scale.linear(states.rows[states.place[last]], self.end)
        end = F.relu(end + self.outlook_at_end(expected[last]) + self.asked_at_end(asked))
        end = self.dropout(F.relu(self.missing(torch.cat((end, token[last]), dim=1))))
        total = F.softplus(self.missing_damage(end)).index_add(0, owner, damage)
        return self.reward(F.relu(self.reward_hidden(torch.log1p(total)))).squeeze(-1)

    def bounded(self, rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """At most the ceiling; while it trains there is headroom, then a slope to come down by."""
        if self.training:
            beyond = F.relu(rewards - self.ceiling - self._headroom)
            return rewards - (1 - SLOPE_ABOVE) * beyond
        return torch.minimum(rewards, self.ceiling)

    def aims(self, gold_rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """The gold rewards; while it trains, the top of the headroom instead of the highest."""
        if self.training:
            return gold_rewards + self._headroom * (gold_rewards >= self.ceiling)
        return gold_rewards

    def _asked(self, states: States) -> Float[Tensor, "prompts asked"]:
        """What each query finds in each prompt: values, averaged by the softmax of its scores.

        The tokens are averaged before values are made of them: the same, for a fraction of the
        work.
        """
        placed = places(states.prompt_lengths)
        scores = self.prompt_scale.linear(states.prompt_rows, self.queries)
        weights = torch.softmax(apart(scores, placed, float("-inf")), dim=1)
        seen = weights.mT @ apart(states.prompt_rows, placed)
        return torch.einsum("pqe,qev->pqv", self.prompt_scale(seen), self.values).flatten(1)


class Standardised(nn.Module):
    """Gives each feature mean 0 and deviation 1, by fixed numbers."""

    def __init__(self, features: int) -> None:
        """Nothing fitted: features stay as they are."""
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(features))
        self.deviation = nn.Buffer(torch.ones(features))

    def fit(self, rows: Float[Tensor, "rows features"] | RowFile) -> None:
        """Take mean and deviation from these rows."""
        total, squares = torch.zeros(()).double(), torch.zeros(()).double()
        for part in rows.split(SCALE_ROWS):
            values = part.double()
            total, squares = total + values.sum(0), squares + (values**2).sum(0)
        mean = total / len(rows)
        self.mean.copy_(mean)
        self.deviation.copy_((squares / len(rows) - mean**2).clamp(min=1e-6).sqrt())

    def forward(self, rows: Float[Tensor, "*shape features"]) -> Float[Tensor, "*shape features"]:
        """The rows on that scale."""
        return (rows - self.mean) / self.deviation

    def linear(
        self, rows: Float[Tensor, "rows features"], layer: nn.Linear
    ) -> Float[Tensor, "rows outputs"]:
        """What a layer makes of the rows on that scale; its weights are divided, being fewer."""
        return F.linear(rows - self.mean, layer.weight / self.deviation, layer.bias)

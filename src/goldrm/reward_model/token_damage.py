"""A readout that sees every token: damages, summed over the completion."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.lm.dropout import Dropout
from goldrm.reward_model.lm_log_probs import LM_LOG_PROBS
from goldrm.reward_model.params import TokenDamageParams
from goldrm.reward_model.ragged import Ragged
from goldrm.reward_model.reading import EveryTokenReading
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.scale import Scale
from goldrm.reward_model.states import States

PROMPT_QUERIES, ANSWER_SIZE = 8, 32  # what is looked for in a prompt, and the width of an answer
ANSWERS_SIZE = PROMPT_QUERIES * ANSWER_SIZE
REWARD_HIDDEN_SIZE = 64
SLOPE_ABOVE = 0.1  # of a reward above the headroom, while it trains


class TokenDamageReadout(Readout):
    """Adds up the damage that each token does, and maps the sum to a reward.

    So the form is the gold reward's, 1 + 6 / (1 + 0.1 √Σ), and as no gold reward is above that of
    an exact completion, no reward is.

    The gold reward leaps there, from 6.45 to 7. While the readout trains it aims half the leap
    above that ceiling, so that an exact completion of which it is only nearly sure is there too.
    """

    def __init__(self, params: TokenDamageParams, d: int) -> None:
        """`d` is the width of the language model's hidden states."""
        super().__init__()
        self.reading = EveryTokenReading(params.layers, params.prompt_layers)
        embds, prompt_embds = len(params.layers) * d, len(params.prompt_layers) * d
        self.scale = Scale(embds, LM_LOG_PROBS, prompt_embds)
        self.prompt_attention = PromptAttention(prompt_embds)
        self.token_judgement = TokenJudgement(params, embds)
        self.damage_sum = DamageSum(params, embds)
        self.damage_reward = DamageReward(params.damage_kinds)
        self.ceiling = nn.Buffer(torch.tensor(torch.finfo(torch.float32).max))
        self.headroom = nn.Buffer(torch.tensor(0.0))

    def fit_scale(self, states: States, gold_rewards: Float[Tensor, " completions"]) -> None:
        """Let each feature have mean 0 and deviation 1 there, and rewards begin at their mean.

        The highest gold reward becomes the ceiling of the rewards, and half its distance from the
        next one the headroom above it, for training.
        """
        self.scale.fit(states)
        nn.init.constant_(self.damage_reward.reward.bias, float(gold_rewards.mean()))
        highest = gold_rewards.unique()[-2:]  # one or two, ascending
        self.ceiling.copy_(highest[-1])
        self.headroom.copy_((highest[-1] - highest[0]) / 2)

    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion, which may be above the ceiling."""
        scaled = self.scale(states)
        prompt_answers = self.prompt_attention(scaled.prompt_rows, scaled.prompt_tokens)
        answers = prompt_answers[scaled.prompt]  # (completions, answers)
        features, deviations = self.token_judgement(scaled, answers)
        return self.damage_reward(self.damage_sum(scaled, answers, features, deviations))

    def bounded(self, rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """At most the ceiling; while it trains there is headroom, then a slope to come down by."""
        if self.training:
            beyond = F.relu(rewards - self.ceiling - self.headroom)
            return rewards - (1 - SLOPE_ABOVE) * beyond
        return torch.minimum(rewards, self.ceiling)

    def targets(self, gold_rewards: Float[Tensor, " completions"]) -> Float[Tensor, " completions"]:
        """The gold rewards; while it trains, the top of the headroom instead of the highest."""
        if self.training:
            return gold_rewards + self.headroom * (gold_rewards >= self.ceiling)
        return gold_rewards


class PromptAttention(nn.Module):
    """What is asked for: learned queries attend to the prompt's tokens."""

    def __init__(self, prompt_embds: int) -> None:
        """`prompt_embds` is the width of a prompt's rows."""
        super().__init__()
        self.queries = nn.Linear(prompt_embds, PROMPT_QUERIES, bias=False)
        values = torch.empty(PROMPT_QUERIES, prompt_embds, ANSWER_SIZE).uniform_(-1, 1)
        self.values = nn.Parameter(values / prompt_embds**0.5)

    def forward(
        self, prompt_rows: Float[Tensor, "prompt_tokens prompt_embds"], prompts: Ragged
    ) -> Float[Tensor, "prompts answers"]:
        """What each query finds in each prompt: values, averaged by the softmax of its scores.

        The tokens are averaged before values are made of them: the same, for a fraction of the
        work.
        """
        scores = prompts.to_padded(self.queries(prompt_rows), float("-inf"))
        weights = torch.softmax(scores, dim=1)  # (prompts, longest, queries)
        seen = weights.mT @ prompts.to_padded(prompt_rows)  # (prompts, queries, prompt_embds)
        return torch.einsum("pqe,qea->pqa", seen, self.values).flatten(1)


class TokenJudgement(nn.Module):
    """What is wrong with a token.

    It is judged by the hidden states at it and at the token before, which had to predict it, by
    what the language model expected at both, and by what was asked for.
    """

    def __init__(self, params: TokenDamageParams, embds: int) -> None:
        """`embds` is the width of a completion's rows."""
        super().__init__()
        self.size, self.kinds = params.hidden_size, params.damage_kinds
        self.previous_and_current = nn.Linear(embds, 2 * (self.size + self.kinds))
        self.answers = nn.Linear(ANSWERS_SIZE, self.size + self.kinds, bias=False)
        self.lm_log_probs = nn.Linear(2 * LM_LOG_PROBS, self.size, bias=False)
        self.features = nn.Linear(self.size, self.size)
        self.deviations = nn.Linear(self.size, self.kinds)
        self.dropout = Dropout(params.dropout)

    def forward(
        self, states: States, answers: Float[Tensor, "completions answers"]
    ) -> tuple[Float[Tensor, "tokens size"], Float[Tensor, "tokens kinds"]]:
        """Features and signed deviations of each token; zeros for a completion's first one.

        A deviation is a linear one and what the network adds to it.
        """
        linear = self._linear(states) + self.answers(answers)[states.tokens.owners]
        hidden, deviations = linear.split([self.size, self.kinds], dim=1)
        expected = torch.cat((states.lm_log_probs.roll(1, 0), states.lm_log_probs), dim=1)
        hidden = F.relu(hidden + self.lm_log_probs(expected))
        features = self.dropout(F.relu(self.features(hidden))) * states.is_own
        return features, (deviations + self.deviations(features)) * states.is_own

    def _linear(self, states: States) -> Float[Tensor, "tokens outputs"]:
        """Outputs for each token and the one before it, computed once a row, not once a token."""
        previous, current = self.previous_and_current(states.rows).chunk(2, dim=1)
        previous_rows = states.token_rows.roll(1)  # wrong for first tokens, which don't count
        return current.index_select(0, states.token_rows) + previous.index_select(0, previous_rows)


class DamageSum(nn.Module):
    """The damage that a completion does, by kinds; none is negative.

    What a token does wrong is carried along: signed deviations are summed from token to token, as
    a wrong step shifts all later terms.
    """

    def __init__(self, params: TokenDamageParams, embds: int) -> None:
        """`embds` is the width of a completion's rows."""
        super().__init__()
        size, kinds = params.hidden_size, params.damage_kinds
        self.carried = nn.Linear(size + 2 * kinds, size)
        self.damage = nn.Linear(size, kinds)
        self.missing = MissingDamage(params, embds)

    def forward(
        self,
        states: States,
        answers: Float[Tensor, "completions answers"],
        features: Float[Tensor, "tokens size"],
        deviations: Float[Tensor, "tokens kinds"],
    ) -> Float[Tensor, "completions kinds"]:
        """What the tokens do, and what is missing behind the last one."""
        tokens = states.tokens
        # By completion: over all tokens the sums would grow, and round by the company.
        so_far = tokens.from_padded(tokens.to_padded(deviations).cumsum(1))  # (tokens, kinds)
        both_signs = (F.relu(so_far), F.relu(-so_far))
        carried = F.relu(self.carried(torch.cat((features, *both_signs), dim=1)))
        damage = F.softplus(self.damage(carried)) * states.is_own  # (tokens, kinds)
        missing = self.missing(states, answers, carried)
        return missing.index_add(0, tokens.owners, damage)


class MissingDamage(nn.Module):
    """What is missing behind a completion's last token, by the state there."""

    def __init__(self, params: TokenDamageParams, embds: int) -> None:
        """`embds` is the width of a completion's rows."""
        super().__init__()
        size = params.hidden_size
        self.rows = nn.Linear(embds, size)
        self.lm_log_probs = nn.Linear(LM_LOG_PROBS, size, bias=False)
        self.answers = nn.Linear(ANSWERS_SIZE, size, bias=False)
        self.hidden = nn.Linear(2 * size, size)
        self.damage = nn.Linear(size, params.damage_kinds)
        self.dropout = Dropout(params.dropout)

    def forward(
        self,
        states: States,
        answers: Float[Tensor, "completions answers"],
        carried: Float[Tensor, "tokens size"],
    ) -> Float[Tensor, "completions kinds"]:
        """The damage, from what is known at the last token and what it carries along."""
        last = states.tokens.offsets + states.token_counts - 1  # token of each completion
        seen = self.rows(states.rows[states.token_rows[last]])
        seen = F.relu(seen + self.lm_log_probs(states.lm_log_probs[last]) + self.answers(answers))
        hidden = F.relu(self.hidden(torch.cat((seen, carried[last]), dim=1)))
        return F.softplus(self.damage(self.dropout(hidden)))


class DamageReward(nn.Module):
    """The reward of a completion that has done so much damage."""

    def __init__(self, kinds: int) -> None:
        """`kinds` of damage."""
        super().__init__()
        self.hidden = nn.Linear(kinds, REWARD_HIDDEN_SIZE)
        self.reward = nn.Linear(REWARD_HIDDEN_SIZE, 1)

    def forward(self, damage: Float[Tensor, "completions kinds"]) -> Float[Tensor, " completions"]:
        """The reward, from the damages' logarithms."""
        return self.reward(F.relu(self.hidden(torch.log1p(damage)))).squeeze(-1)

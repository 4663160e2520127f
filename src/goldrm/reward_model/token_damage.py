"""A readout that sees every token: damages, summed over the completion."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.params import TokenDamageParams
from goldrm.reward_model.reading import PromptReading
from goldrm.reward_model.readout import Readout
from goldrm.reward_model.scale import Standardised
from goldrm.reward_model.states import States

PROMPT_QUERIES = 4  # what is looked for in a prompt
REWARD_HIDDEN_SIZE = 64
VALUE_SCALE = 10.0  # of learned values: they go as far as steps of the optimiser of this size
INITIAL_DAMAGE = -3.0  # before softplus: 0.05
MASKED = -1e4  # a score that no softmax sees
SLOPE_ABOVE = 0.1  # of a reward above the headroom, while it trains


class TokenDamageReadout(Readout):
    """Adds up the damage that each token does, and maps the sum to a reward.

    So the form is the gold reward's, 1 + 6 / (1 + 0.1 √Σ), and as no gold reward is above that of
    an exact completion, no reward is. How far a token is from the right one is learned from rewards
    alone: nothing here knows that tokens stand for numbers.

    The gold reward leaps there, from 6.45 to 7. While the readout trains it aims half the leap
    above that ceiling, so that an exact completion of which it is only nearly sure is there too.
    """

    def __init__(self, params: TokenDamageParams, sizes: BackboneSizes) -> None:
        """`sizes` are the language model's."""
        super().__init__()
        self.reading = PromptReading(params.prompt_layers)
        embds, kinds = len(params.prompt_layers) * sizes.d, params.damage_kinds
        answers = PROMPT_QUERIES * kinds
        self.scale = Standardised(embds)
        self.prompt_attention = PromptAttention(embds, sizes.num_tokens, kinds)
        self.deviation = Deviation(answers, sizes.num_tokens, kinds)
        self.token_damage = Damage(2 * kinds + answers, params.hidden_size, kinds)
        self.missing_damage = Damage(2 * kinds + answers, params.hidden_size, kinds)
        self.weight = nn.Parameter(torch.ones(kinds))
        self.damage_reward = DamageReward(kinds)
        self.ceiling = nn.Buffer(torch.tensor(torch.finfo(torch.float32).max))
        self.headroom = nn.Buffer(torch.tensor(0.0))

    def fit_scale(self, states: States, gold_rewards: Float[Tensor, " known"]) -> None:
        """Let each feature have mean 0 and deviation 1 there, and rewards begin at their mean.

        The highest gold reward becomes the ceiling of the rewards, and half its distance from the
        next one the headroom above it, for training. Prompts are searched for the tokens that
        completions are made of.
        """
        self.scale.fit(states.prompt_rows)
        own = states.row_token_ids[states.token_rows[states.is_own[:, 0] > 0]]
        is_answer = self.prompt_attention.is_answer
        is_answer.index_fill_(0, own.to(is_answer.device), 1.0)
        if not len(gold_rewards):  # by ranking alone there is neither a mean nor a ceiling
            return
        nn.init.constant_(self.damage_reward.reward.bias, float(gold_rewards.mean()))
        highest = gold_rewards.unique()[-2:]  # one or two, ascending
        self.ceiling.copy_(highest[-1])
        self.headroom.copy_((highest[-1] - highest[0]) / 2)

    def unbounded(self, states: States) -> Float[Tensor, " completions"]:
        """Reward of each completion, which may be above the ceiling."""
        tokens = states.tokens
        answers = self.prompt_attention(self.scale(states.prompt_rows), states)
        answers = answers[states.prompt]  # (completions, answers)
        deviations = self.deviation(states, answers)  # (tokens, kinds)
        known = torch.cat((F.relu(deviations), F.relu(-deviations), answers[tokens.owners]), dim=1)
        damage = deviations.abs() * self.weight.abs() + self.token_damage(known)
        last = tokens.offsets + states.token_counts - 1  # token of each completion
        missing = self.missing_damage(known[last])
        total = missing.index_add(0, tokens.owners, damage * states.is_own)
        return self.damage_reward(total)

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


class TokenValues(nn.Embedding):
    """Numbers that each token of the vocabulary stands for, learned from rewards."""

    def __init__(self, num_tokens: int, values: int) -> None:
        """Nearly 0 at first."""
        super().__init__(num_tokens, values)
        nn.init.normal_(self.weight, std=0.1 / VALUE_SCALE)

    def forward(self, input: Tensor) -> Tensor:
        """The values of some tokens."""
        return VALUE_SCALE * super().forward(input)


class PromptAttention(nn.Module):
    """What is asked for: learned queries attend to the prompt's tokens, and find their values.

    Attributes:
        is_answer: 1 for each token that completions are made of: only these are attended to.
    """

    def __init__(self, embds: int, num_tokens: int, kinds: int) -> None:
        """`embds` is the width of a prompt's rows."""
        super().__init__()
        self.queries = nn.Linear(embds, PROMPT_QUERIES, bias=False)
        self.values = TokenValues(num_tokens, PROMPT_QUERIES * kinds)
        self.is_answer = nn.Buffer(torch.zeros(num_tokens))

    def forward(
        self, prompt_rows: Float[Tensor, "prompt_tokens embds"], states: States
    ) -> Float[Tensor, "prompts answers"]:
        """What each query finds in each prompt: values, averaged by the softmax of its scores."""
        token_ids, prompts = states.prompt_row_token_ids, states.prompt_tokens
        scores = self.queries(prompt_rows) + MASKED * (1 - self.is_answer[token_ids])[:, None]
        weights = torch.softmax(prompts.to_padded(scores, float("-inf")), dim=1)
        values = prompts.to_padded(self.values(token_ids)).unflatten(2, (PROMPT_QUERIES, -1))
        return torch.einsum("plq,plqk->pqk", weights, values).flatten(1)


class Deviation(nn.Module):
    """How far each token is from the one that should stand there, by kinds, with signs.

    What should stand there is a first value and so many times a step, both read off the prompt;
    what does is the token's value.
    """

    def __init__(self, answers: int, num_tokens: int, kinds: int) -> None:
        """`answers` is how many numbers are found in a prompt."""
        super().__init__()
        self.values = TokenValues(num_tokens, kinds)
        self.first = nn.Linear(answers, kinds)
        self.step = nn.Linear(answers, kinds)

    def forward(
        self, states: States, answers: Float[Tensor, "completions answers"]
    ) -> Float[Tensor, "tokens kinds"]:
        """The deviation of each token; zeros for a completion's first one, the prompt's last."""
        owners, positions = states.tokens.owners, states.tokens.positions[:, None]
        expected = self.first(answers)[owners] + (positions - 1) * self.step(answers)[owners]
        values = self.values(states.row_token_ids[states.token_rows])
        return (values - expected) * states.is_own


class Damage(nn.Module):
    """The damage done by a token, or by what is missing behind the last one; none is negative."""

    def __init__(self, known: int, hidden_size: int, kinds: int) -> None:
        """`known` is how many numbers it goes by."""
        super().__init__()
        self.hidden = nn.Linear(known, hidden_size)
        self.damage = nn.Linear(hidden_size, kinds)

    def forward(self, known: Float[Tensor, "tokens known"]) -> Float[Tensor, "tokens kinds"]:
        """The damage, by kinds."""
        return F.softplus(self.damage(F.relu(self.hidden(known))) + INITIAL_DAMAGE)


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

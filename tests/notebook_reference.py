"""The course notebook (step 3, reward model) again: plain, slow, obvious, in our own words.

It is the oracle of the tests and the baseline of the benchmarks, so it must not know goldrm: it
imports torch and the standard library only, and shares no code with what it judges.

It behaves as the notebook does, also where goldrm differs on purpose:

- Nothing here calls `train()` or `eval()`. A fresh module is in train mode, so dropout is on while
  the language model samples and while the reward model trains and predicts, frozen backbone or not.
- Exact series and both completions are all padded to the longest of the three.
- The integer filter keeps 0..max_value - 1, though an exact series may reach max_value.
- The rank loss is -log(sigmoid(x)), infinite for a very negative x.
- A sequence longer than the context crashes the models; only `generate` cuts it.
- One sequence is sampled at a time, and its whole window is recomputed for every token.

Modules are created, and random numbers drawn, in the notebook's order: the same seed gives the
same weights, the same training set and the same training run. Entries live on the CPU; what a
model computes with lives where its parameters do.

Source: notebook_step3.txt; "cell" below is the number in its "In [n]".
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

NUM_TEMPLATES = 3

Entry: TypeAlias = list[Tensor]
"""The course's labelled sequence: [ids of prompt + response (T,), reward ()]."""

Pick: TypeAlias = Callable[[Tensor], int]
"""Chooses the next token's id from logits (1, num_tokens)."""


# The language model (cell 7)


class TokenEmbedding(nn.Module):
    """A lookup table, one level down because the course's state dict has it there."""

    def __init__(self, num_tokens: int, d: int) -> None:
        """Make the table (num_tokens, d)."""
        super().__init__()
        self.token2vec = nn.Embedding(num_tokens, d)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Map token ids (B, T) to vectors (B, T, d)."""
        return self.token2vec(token_ids)


class CausalSelfAttention(nn.Module):
    """PyTorch's own multi-head attention, where a position sees itself and the past."""

    def __init__(self, d: int, num_heads: int, dropout: float) -> None:
        """Make the attention; d must be a multiple of num_heads."""
        super().__init__()
        self.MHA = nn.MultiheadAttention(d, num_heads, dropout=dropout, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """Mix hidden states (B, T, d) over time into (B, T, d); padding is attended to."""
        length = hidden.size(1)
        every = torch.ones(length, length, dtype=torch.bool, device=hidden.device)
        is_future = every.triu(diagonal=1)  # (T, T)
        # need_weights stays at its default: without it dropout draws other random numbers.
        mixed, _ = self.MHA(hidden, hidden, hidden, attn_mask=is_future)
        return mixed


class DecoderBlock(nn.Module):
    """Pre-LN attention and a ReLU MLP of width 4d, each added to the residual stream."""

    def __init__(self, d: int, num_heads: int, dropout: float) -> None:
        """Make the block; dropout acts on attention weights and after the ReLU."""
        super().__init__()
        self.MHA = CausalSelfAttention(d, num_heads, dropout)
        self.LN_MHA = nn.LayerNorm(d)
        self.MLP = nn.Sequential(
            nn.Linear(d, 4 * d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * d, d)
        )
        self.LN_MLP = nn.LayerNorm(d)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform hidden states (B, T, d) into (B, T, d)."""
        hidden = hidden + self.MHA(self.LN_MHA(hidden))
        return hidden + self.MLP(self.LN_MLP(hidden))


class NotebookLM(nn.Module):
    """The course's language model, with the state-dict names of its SFT_LM.

    Attributes:
        net_parameters: The constructor's arguments, as the course's checkpoints hold them.
        context_length: The largest number of positions.
        padding: Id of `<PAD>`.
        eos: Id of `<EOS>`.

    Source: cell 7.
    """

    def __init__(
        self,
        num_tokens: int,
        d: int,
        context_length: int,
        num_heads: int,
        dropout: float,
        num_layers: int,
        padding_int: int | Tensor,
        eos_int: int | Tensor,
    ) -> None:
        """Make the model; the two ids may be ints or 1-element tensors."""
        super().__init__()
        self.net_parameters: dict[str, int | float] = {
            "num_tokens": num_tokens,
            "d": d,
            "num_heads": num_heads,
            "context_length": context_length,
            "dropout": dropout,
            "num_layers": num_layers,
            "padding_int": int(padding_int),
            "eos_int": int(eos_int),
        }
        self.context_length = context_length
        self.padding = int(padding_int)
        self.eos = int(eos_int)
        self.token2vec = TokenEmbedding(num_tokens, d)
        self.PE_embedding = nn.Embedding(context_length, d)
        self.transformer_blocks = nn.ModuleList(
            [DecoderBlock(d, num_heads, dropout) for _ in range(num_layers)]
        )
        self.token_prediction = nn.Linear(d, num_tokens)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.token_prediction.weight.device

    def hidden_states(self, token_ids: Tensor) -> Tensor:
        """Compute the last block's hidden states (B, T, d) of token ids (B, T).

        No LayerNorm follows the last block. Positions are 0..T - 1, whatever is padding.

        Raises:
            RuntimeError: T exceeds context_length, as in the notebook.
        """
        # Cutting the table of positions, and not counting to T, makes a longer input crash.
        every = torch.arange(self.context_length, device=token_ids.device)
        positions = every[: token_ids.size(1)]
        hidden = self.token2vec(token_ids) + self.PE_embedding(positions).unsqueeze(0)
        for block in self.transformer_blocks:
            hidden = block(hidden)
        return hidden

    def forward(self, token_ids: Tensor) -> Tensor:
        """Compute the next token's logits (B, T, num_tokens) for token ids (B, T)."""
        return self.token_prediction(self.hidden_states(token_ids))


# Sampling (cell 7)


def pick_greedy(logits: Tensor) -> int:
    """Pick the most likely token, given logits (1, num_tokens); the first of equals."""
    return int(logits[0].argmax())


def pick_sampled(logits: Tensor) -> int:
    """Draw a token from softmax(logits), given logits (1, num_tokens)."""
    return int(torch.multinomial(torch.softmax(logits, dim=1), num_samples=1))


def generate(lm: NotebookLM, prompt_ids: Tensor, max_new_tokens: int, pick: Pick) -> list[int]:
    """Continue a prompt, token by token, up to `<EOS>` or the limit.

    The prompt is right-aligned in a window of context_length, padding on the left, which slides
    on as tokens arrive; of a prompt longer than the context only the end is seen.

    Args:
        lm: The model, used in the mode (train or eval) it is in.
        prompt_ids: Ids of the prompt (T,).
        max_new_tokens: The largest number of tokens to return.
        pick: Chooses each token.

    Returns:
        Ids of the new tokens only, without the `<EOS>` that ended them.
    """
    num_padding = max(0, lm.context_length - prompt_ids.size(0))
    sequence: list[int] = [lm.padding] * num_padding + prompt_ids.tolist()
    completion: list[int] = []
    for _ in range(max_new_tokens):
        last_ids = [sequence[-lm.context_length :]]
        window = torch.tensor(last_ids, device=lm.device)  # (1, context_length)
        last_hidden = lm.hidden_states(window)[:, -1, :]  # (1, d)
        token = pick(lm.token_prediction(last_hidden))
        if token == lm.eos:
            break
        sequence.append(token)
        completion.append(token)
    return completion


# Prompts, their exact series, and gold rewards (cell 10)


def arithmetic_series(max_value: int, start: int, difference: int, terms: int) -> list[int]:
    """List start, start + difference, ...: `terms` of them, without those above max_value."""
    series: list[int] = []
    for index in range(terms):
        value = start + index * difference
        if value > max_value:
            break
        series.append(value)
    return series


def prompt_text(template: int, start: int, difference: int, terms: int) -> str:
    """Word a prompt by template 1, 2 or 3.

    Raises:
        KeyError: There is no such template.
    """
    wordings = {
        1: f"generate an arithmetic series with {terms} terms starting with value {start} "
        f"and common difference {difference}",
        2: f"make a series of arithmetic type which starts at {start} with {terms} elements "
        f"and {difference} common difference value",
        3: f"Let {terms} be the number of terms {start} the starting number "
        f"and {difference} the common difference then write the arithmetic series",
    }
    return wordings[template]


def draw_prompt(max_value: int) -> tuple[int, int, int, int]:
    """Draw (template, start, difference, terms) uniformly and independently.

    Ranges: template 1..3, start 0..max_value - 1, difference 1..9, terms 5..14. Template comes
    first in the result but is drawn last.
    """
    start = int(torch.randint(0, max_value, (1,)))
    difference = int(torch.randint(1, 10, (1,)))
    terms = int(torch.randint(5, 15, (1,)))
    template = int(torch.randint(1, NUM_TEMPLATES + 1, (1,)))
    return template, start, difference, terms


def keep_integers(tokens: list[str], max_value: int) -> list[str]:
    """Keep the tokens that spell an integer 0..max_value - 1, in order: max_value is dropped."""
    integers = [str(value) for value in range(max_value)]
    return [token for token in tokens if token in integers]


def pad_with_last_term(series: Sequence[int], length: int) -> Tensor:
    """Repeat a series' last term up to a length (T,).

    Raises:
        IndexError: The series is empty.
    """
    return torch.tensor([*series, *[series[-1]] * (length - len(series))])


def gold_reward(
    exact: Tensor, completion: Tensor, r_min: float, r_max: float, beta: float
) -> Tensor:
    """Compute r_min + (r_max - r_min) / (1 + beta sqrt(sum |exact - completion|)).

    Args:
        exact: The exact series, padded (T,).
        completion: The generated integers, padded to the same length (T,).
        r_min: Reward in the limit of large errors.
        r_max: Reward of the exact series.
        beta: How fast the reward falls.

    Returns:
        The reward (), float32.
    """
    distance = (exact - completion).abs().float().sum().sqrt()
    return r_min + (r_max - r_min) * (1 + beta * distance) ** (-1)


def gold_rewards(
    exact: Sequence[int],
    first: Sequence[int],
    second: Sequence[int],
    r_min: float = 1,
    r_max: float = 7,
    beta: float = 0.1,
) -> tuple[float, float]:
    """Compute the rewards of two completions of one prompt, in float32.

    All three series are padded to the longest, so one completion's reward can depend on how long
    the other is.

    Raises:
        IndexError: One of the three is empty.
    """
    longest = max(len(exact), len(first), len(second))
    target = pad_with_last_term(exact, longest)
    rewards = [
        gold_reward(target, pad_with_last_term(completion, longest), r_min, r_max, beta)
        for completion in (first, second)
    ]
    return rewards[0].item(), rewards[1].item()


# The training set (cell 10)


def sample_integers(
    lm: NotebookLM, prompt_ids: Tensor, tokens: list[str], max_value: int, max_new_tokens: int
) -> list[str]:
    """Sample a completion of prompt ids (T,) and keep the tokens that are integers."""
    completion = generate(lm, prompt_ids, max_new_tokens, pick_sampled)
    return keep_integers([tokens[token_id] for token_id in completion], max_value)


def sample_two_entries(
    lm: NotebookLM, tokens: list[str], max_value: int, max_new_tokens: int
) -> tuple[Entry, Entry] | None:
    """Draw a prompt, complete it twice, and label both; None if one holds no integer."""

    def ids_of(words: list[str]) -> Tensor:
        return torch.tensor([tokens.index(word) for word in words])

    template, start, difference, terms = draw_prompt(max_value)
    prompt_ids = ids_of(prompt_text(template, start, difference, terms).split())
    first = sample_integers(lm, prompt_ids, tokens, max_value, max_new_tokens)
    second = sample_integers(lm, prompt_ids, tokens, max_value, max_new_tokens)
    if not first or not second:
        return None
    rewards = gold_rewards(
        arithmetic_series(max_value, start, difference, terms),
        [int(token) for token in first],
        [int(token) for token in second],
    )
    return (
        [torch.cat((prompt_ids, ids_of(first))), torch.tensor(rewards[0])],
        [torch.cat((prompt_ids, ids_of(second))), torch.tensor(rewards[1])],
    )


def training_set(
    lm: NotebookLM,
    dictionary_tokens: list[str],
    num_pairs: int,
    max_value: int = 100,
    max_new_tokens: int = 20,
) -> list[list[Entry]]:
    """Sample pairs of completions until num_pairs of them differ in gold reward.

    Args:
        lm: Samples the completions, in the mode (train or eval) it is in.
        dictionary_tokens: The tokens in the order of their ids.
        num_pairs: How many pairs to return. A model whose completions never differ in reward
            keeps this busy for ever.
        max_value: The largest value of an exact series.
        max_new_tokens: The largest number of tokens in a completion, before filtering.

    Returns:
        [list_positive, list_negative], the course's format: entry i of both has the same prompt,
        and the positive one the larger reward. Words a completion contained are left out.
    """
    list_positive: list[Entry] = []
    list_negative: list[Entry] = []
    while len(list_positive) < num_pairs:
        entries = sample_two_entries(lm, dictionary_tokens, max_value, max_new_tokens)
        if entries is None:
            continue
        first, second = entries
        if first[1] > second[1]:
            list_positive.append(first)
            list_negative.append(second)
        elif first[1] < second[1]:
            list_positive.append(second)
            list_negative.append(first)
    return [list_positive, list_negative]


# The reward model (cell 14)


class NotebookRM(nn.Module):
    """A reward read off the last token's hidden state, with the state-dict names of SL_RM.

    The language model is wrapped, not copied: both share its weights.

    Source: cell 14.
    """

    def __init__(self, lm: NotebookLM) -> None:
        """Put a new readout on a language model."""
        super().__init__()
        d = lm.token_prediction.in_features
        self.SFT_LM = lm
        self.reward_prediction = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)
        )

    def right_align(self, sequences: Sequence[Tensor]) -> Tensor:
        """Stack N sequences (T_i,) into (N, T), padding on the left.

        T is the longest T_i or the context length, whichever is larger.
        """
        width = max([self.SFT_LM.context_length, *(len(sequence) for sequence in sequences)])
        size = (len(sequences), width)  # (N, T)
        rows = torch.full(size, self.SFT_LM.padding, device=self.SFT_LM.device)
        for row, sequence in zip(rows, sequences, strict=True):
            row[-len(sequence) :] = sequence
        return rows

    def score(self, sequences: Sequence[Tensor]) -> Tensor:
        """Predict rewards (N, 1) of N sequences (T_i,)."""
        last_hidden = self.SFT_LM.hidden_states(self.right_align(sequences))[:, -1, :]  # (N, d)
        return self.reward_prediction(last_hidden)

    def forward(self, positive: Sequence[Tensor], negative: Sequence[Tensor]) -> Tensor:
        """Predict the rewards of B pairs.

        Args:
            positive: Ids of prompt + response (T_i,), B of them.
            negative: Their rivals (T_i,), B of them.

        Returns:
            Rewards (2B, 1): positive i in row 2i, negative i in row 2i + 1.

        Raises:
            RuntimeError: A sequence is empty or longer than the context.
            ValueError: The lists differ in length.
        """
        pairs = zip(positive, negative, strict=True)
        return self.score([sequence for pair in pairs for sequence in pair])

    def predict(self, sequences: Sequence[Tensor]) -> Tensor:
        """Predict rewards (N,) of N sequences of prompt + response (T_i,), in the present mode.

        Raises:
            RuntimeError: A sequence is empty or longer than the context.
        """
        return self.score(sequences).squeeze(1)  # (N,)


def freeze_backbone(rm: NotebookRM) -> None:
    """Stop gradients to the language model. Its dropout stays as it is: on in train mode."""
    for parameter in rm.SFT_LM.parameters():
        parameter.requires_grad = False


# Training (cells 11 and 14)


def get_batch(batch_size: int, remaining: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a batch of indices, without replacement, from those an epoch has left.

    Args:
        batch_size: The largest number of indices to draw.
        remaining: Indices not yet drawn (N,).

    Returns:
        The drawn indices (min(batch_size, N),) and the others (max(0, N - batch_size),) in their
        old order; when none is left the latter is the notebook's empty float tensor.
    """
    batch_idx = remaining[torch.randperm(remaining.size(0))[:batch_size]]
    if remaining.size(0) <= batch_size:
        return batch_idx, torch.tensor([])
    drawn: list[int] = batch_idx.tolist()
    return batch_idx, torch.tensor([index for index in remaining.tolist() if index not in drawn])


def optimizer_and_scheduler(
    rm: NotebookRM, learning_rate: float = 3e-4, warmup: int = 500
) -> tuple[AdamW, LambdaLR]:
    """Make AdamW over all parameters, frozen ones too, and its linear warm-up.

    Args:
        rm: The reward model; its frozen parameters get no gradient, so they never change.
        learning_rate: The rate after warm-up.
        warmup: Number of steps over which the rate rises from 0; the first step changes nothing.
    """
    optimizer = AdamW(rm.parameters(), lr=learning_rate)
    scheduler = LambdaLR(optimizer, lr_lambda=lambda step: min(step / warmup, 1.0))
    return optimizer, scheduler


def training_loss(rewards: Tensor, labels: Tensor) -> Tensor:
    """Compute 1.0 MSE(rewards, labels) + 0.1 mean(-log(sigmoid(positive - negative))).

    Args:
        rewards: Predictions (2B, 1), positive and negative in turn.
        labels: Gold rewards (2B, 1) in the same order.

    Returns:
        The loss ().
    """
    margins = rewards[0::2] - rewards[1::2]  # (B, 1)
    rank_loss = -torch.log(torch.sigmoid(margins)).mean()
    return 1.0 * nn.functional.mse_loss(rewards, labels) + 0.1 * rank_loss


def training_step(
    rm: NotebookRM,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    positive: Sequence[Entry],
    negative: Sequence[Entry],
) -> float:
    """Take one step on a batch of B pairs in the course's format.

    Returns:
        The loss before the step.
    """
    rewards = rm([entry[0] for entry in positive], [entry[0] for entry in negative])  # (2B, 1)
    pairs = zip(positive, negative, strict=True)
    gold = [[float(entry[1])] for pair in pairs for entry in pair]
    labels = torch.tensor(gold, device=rewards.device)  # (2B, 1)
    loss = training_loss(rewards, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def train_epoch(
    rm: NotebookRM,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    positive: Sequence[Entry],
    negative: Sequence[Entry],
    batch_size: int = 100,
) -> float:
    """Take one step on each of floor(N / batch_size) random batches of N pairs.

    Pairs that fill no whole batch are left out, others in every epoch.

    Returns:
        The mean of the batches' losses.

    Raises:
        ZeroDivisionError: There are fewer pairs than a batch holds.
    """
    num_batches = len(positive) // batch_size
    remaining = torch.arange(len(positive))
    total = 0.0
    for _ in range(num_batches):
        batch_idx, remaining = get_batch(batch_size, remaining)
        batch: list[int] = batch_idx.tolist()
        chosen, rejected = [positive[i] for i in batch], [negative[i] for i in batch]
        total += training_step(rm, optimizer, scheduler, chosen, rejected)
    return total / num_batches


# The course's files (cells 6, 7, 10, 14 and 16)


def save_dictionary(path: Path, tokens: list[str]) -> None:
    """Write step 1's dictionary: (dictionary, num_tokens, token2index, index2token)."""
    token2index = {token: index for index, token in enumerate(tokens)}
    index2token = dict(enumerate(tokens))
    torch.save((list(tokens), len(tokens), token2index, index2token), path)


def save_sft_checkpoint(path: Path, lm: NotebookLM, ids_as_tensors: bool) -> None:
    """Write step 2's checkpoint.

    Args:
        path: The file.
        lm: The model.
        ids_as_tensors: Whether padding_int and eos_int are 1-element tensors (1,), or ints.
    """
    net_parameters: dict[str, Any] = dict(lm.net_parameters)
    if ids_as_tensors:
        for name in ("padding_int", "eos_int"):
            net_parameters[name] = torch.tensor([net_parameters[name]])
    checkpoint = {
        "epoch": 0,
        "tot_time": 0.0,
        "loss": 0.0,
        "net_parameters": net_parameters,
        "SFT_LMnet_dict": lm.state_dict(),
    }
    torch.save(checkpoint, path)


def save_training_set(path: Path, pairs: list[list[Entry]]) -> None:
    """Write step 3's training set, [list_positive, list_negative] of (N,) entries each."""
    torch.save(pairs, path)


def save_rm_checkpoint(
    path: Path,
    rm: NotebookRM,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    epoch: int,
    loss: float,
) -> None:
    """Write step 3's checkpoint, which step 4 loads."""
    checkpoint = {
        "epoch": epoch,
        "tot_time": 0.0,
        "loss": loss,
        "net_parameters": dict(rm.SFT_LM.net_parameters),
        "SL_RMnet_dict": rm.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    torch.save(checkpoint, path)


def load_rm_checkpoint(path: Path, lm: NotebookLM) -> NotebookRM:
    """Load step 3's checkpoint as the notebook and step 4 do, by weights only.

    The file holds the backbone too: `lm` is wrapped and its weights are overwritten.

    Raises:
        RuntimeError: A name or shape in the file is missing, unknown or other than the model's.
    """
    rm = NotebookRM(lm)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    rm.load_state_dict(checkpoint["SL_RMnet_dict"], strict=True)
    return rm

"""What the language model expects to be said: probabilities, and their logarithms in nats."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model.prefix_tree import NO_TOKEN, first_and_numbers, prompt_width, read_shared
from goldrm.reward_model.ragged import Ragged

LOWEST_LOG_PROB = -20.0  # nats: infinities would outweigh all


class _Logits(NamedTuple):
    """What is expected after a completion's prompt, and after each of its tokens.

    Attributes:
        logits: of all tokens, once where completions begin alike.
        rows: which of these belongs to each place, completion after completion.
        next_tokens: what stands there: the completion's tokens and the end.
        counts: how many places each completion has.
    """

    logits: Float[Tensor, "distinct vocabulary"]
    rows: Int[Tensor, " places"]
    next_tokens: Int[Tensor, " places"]
    counts: list[int]


def completion_room(sizes: BackboneSizes) -> int:
    """How many tokens of a completion fit behind a prompt that ends where prompts end."""
    return sizes.context_length - prompt_width(sizes)


@torch.no_grad()
def next_token_probs(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, "_tokens vocabulary"]]:
    """The probability of every token after a completion's prompt and after each of its tokens.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        prompts: token ids of each completion's prompt.
        completions: token ids of each, at least one.
    """
    found = _logits(backbone, prompts, completions)
    probs = found.logits.double().softmax(dim=-1)  # of the unlikeliest token, too
    return list(probs[found.rows].split(found.counts))


@torch.no_grad()
def log_probabilities(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, " _tokens"]]:
    """The log-probability of each completion's tokens and of its end, at least `LOWEST_LOG_PROB`.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        prompts: token ids of each completion's prompt.
        completions: token ids of each, at least one.
    """
    found = _logits(backbone, prompts, completions)
    log_probs = torch.log_softmax(found.logits, dim=-1)[found.rows, found.next_tokens]
    return list(log_probs.clamp(min=LOWEST_LOG_PROB).split(found.counts))


def _logits(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> _Logits:
    """Read completions behind their prompts.

    Where a completion doesn't fit behind, the prompt ends earlier and its first tokens are lost; of
    both the last tokens count.
    """
    sizes, device = backbone.sizes, backbone.token_prediction.weight.device
    cut = [own[-(sizes.context_length - 1) :] for own in completions]
    widths = [min(prompt_width(sizes), sizes.context_length - len(own)) for own in cut]
    sequences = [
        torch.tensor([*[sizes.padding_int] * (width - len(prompt)), *prompt[-width:], *own])
        for prompt, own, width in zip(prompts, cut, widths, strict=True)
    ]
    token_ids = pad_sequence(sequences, batch_first=True, padding_value=NO_TOKEN).to(device)
    read = read_shared(backbone, token_ids, (sizes.num_layers,))
    places = Ragged(torch.tensor([len(own) + 1 for own in cut], device=device))
    last_of_prompt = torch.tensor(widths, device=device) - 1
    nodes = read.nodes[places.owners, last_of_prompt[places.owners] + places.positions]
    first, rows = first_and_numbers(nodes)
    said = chain.from_iterable([*own, sizes.eos_int] for own in cut)
    logits = backbone.token_prediction(read.rows[nodes[first]])
    return _Logits(logits, rows, rows.new_tensor(list(said)), places.lengths.tolist())

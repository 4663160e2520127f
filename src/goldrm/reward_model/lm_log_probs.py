"""What the language model expects to be said: probabilities, and their logarithms in nats."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.completion_reader import CompletionReader

LOWEST_LOG_PROB = -20.0  # nats: infinities would outweigh all


@torch.no_grad()
def next_token_probs(
    reader: CompletionReader, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, "_tokens vocabulary"]]:
    """The probability of every token after a completion's prompt and after each of its tokens.

    Args:
        reader: reads the completions, after the last block.
        prompts: token ids of each completion's prompt.
        completions: token ids of each, at least one.
    """
    read = reader.read(prompts, completions)
    logits = reader.backbone.token_prediction(reader.rows(read.nodes))
    probs = logits.double().softmax(dim=-1)  # of the unlikeliest token, too
    return list(probs[read.token_rows].split(read.token_counts.tolist()))


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
    reader = CompletionReader(backbone)
    read = reader.read(prompts, completions)
    logits = backbone.token_prediction(reader.rows(read.nodes))
    log_probs = torch.log_softmax(logits, dim=-1)[read.token_rows, read.next_tokens]
    return list(log_probs.clamp(min=LOWEST_LOG_PROB).split(read.token_counts.tolist()))

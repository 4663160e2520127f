"""What the language model expects to be said: probabilities, and their logarithms in nats."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.completion_reader import CompletionReader, ReadCompletions

LM_LOG_PROBS = 3  # numbers that `lm_log_probs` gives of each token
LOWEST_LOG_PROB = -20.0  # nats: infinities, and float16's coarse large numbers, would outweigh all


@torch.no_grad()
def lm_log_probs(
    reader: CompletionReader, completions: ReadCompletions
) -> Float[Tensor, "tokens 3"]:
    """What the language model expects after each token of completions.

    Args:
        reader: has read the completions.
        completions: what it has read.

    Returns:
        Log-probabilities of what is said next (after the last token: the end), of the end, and of
        the likeliest token; none is below `LOWEST_LOG_PROB`.
    """
    backbone = reader.backbone
    logits = backbone.token_prediction(reader.top_rows(completions.nodes))
    log_probs = torch.log_softmax(logits, dim=-1)  # (nodes, vocabulary)
    rows = completions.token_rows
    expected = (
        log_probs[rows, completions.next_tokens],
        log_probs[rows, backbone.sizes.eos_int],
        log_probs.max(dim=1).values[rows],
    )
    return torch.stack(expected, dim=1).clamp(min=LOWEST_LOG_PROB)


@torch.no_grad()
def next_token_probs(
    reader: CompletionReader, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, "_tokens vocabulary"]]:
    """The probability of every token after a completion's prompt and after each of its tokens.

    Args:
        reader: reads the completions.
        prompts: token ids of each completion's prompt.
        completions: token ids of each, at least one.
    """
    read = reader.read(prompts, completions)
    logits = reader.backbone.token_prediction(reader.top_rows(read.nodes))
    probs = logits.double().softmax(dim=-1)  # of the unlikeliest token, too
    return list(probs[read.token_rows].split(read.token_counts.tolist()))


def log_probabilities(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, " _tokens"]]:
    """The log-probability of each completion's tokens and of its end.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        prompts: token ids of each completion's prompt.
        completions: token ids of each, at least one.
    """
    reader = CompletionReader(backbone)
    read = reader.read(prompts, completions)
    return list(lm_log_probs(reader, read)[:, 0].split(read.token_counts.tolist()))

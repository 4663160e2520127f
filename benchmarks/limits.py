"""What the machine could do at best: the rate of its matrix products, and how many a task needs.

FLOPs count linear layers' matrix products only, two for a multiply-add.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from goldrm.lm.sizes import BackboneSizes

ON_A_GPU = 50  # times as many products, which else are over before it has got going


@dataclass(frozen=True)
class Product:
    """The matrix product of a linear layer `inner` → `outer` on `rows` rows, so many times."""

    device: torch.device
    dtype: str
    rows: int
    inner: int
    outer: int
    times: int = 100


def multiply(product: Product) -> int:
    """Do it; FLOPs done."""
    inputs, weight = (
        torch.ones(rows, product.inner, dtype=getattr(torch, product.dtype), device=product.device)
        for rows in (product.rows, product.outer)
    )
    times = product.times * (1 if product.device.type == "cpu" else ON_A_GPU)
    for _ in range(times):
        F.linear(inputs, weight)
    return times * 2 * product.rows * product.inner * product.outer


def completion_flops(sizes: BackboneSizes, prompt: int, completion: int, sharing: int = 1) -> float:
    """What sampling needs: the prompt's tokens once, then a token at a time; no padding.

    So many completions share what is read of the prompt, which they can where dropout is off.
    Of the prompt's last block only keys and values are needed, but for the last token. The last
    sampled token is the end; it is predicted and never read.
    """
    token, logits = _token(sizes), _logits(sizes)
    return _read(sizes, prompt) / sharing + completion * token + (completion + 1) * logits


def hidden_state_flops(sizes: BackboneSizes, sequence: int) -> float:
    """What a sequence's last hidden state needs: its tokens once, in the last block only one."""
    return _read(sizes, sequence)


def prompts_flops(sizes: BackboneSizes, prompts: Sequence[Sequence[int]], blocks: int) -> float:
    """What all tokens' hidden states behind so many blocks need, of prompts given as token ids.

    A token is read once for all prompts of one length that are the same up to it: they stand at
    the same positions.
    """
    read = {(len(own), *own[: end + 1]) for own in prompts for end in range(len(own))}
    return len(read) * blocks * _block(sizes)


def policy_step_flops(
    sizes: BackboneSizes, prompts: Sequence[int], completions: Sequence[int]
) -> float:
    """What a step of a policy needs behind the sampling of its completions.

    That is a forward pass of the frozen model and of the policy, and the policy's backward pass,
    which has two products for each of the forward pass's: 4 forward passes. One reads each
    prompt once, then each distinct completion but for its last token, and predicts all its tokens.

    Args:
        sizes: both models'.
        prompts: tokens of each.
        completions: tokens of each distinct one of a prompt, the end token included.
    """
    token, logits = _token(sizes), _logits(sizes)
    of_completions = sum((length - 1) * token + length * logits for length in completions)
    return 4 * (sum(_read(sizes, length) for length in prompts) + of_completions)


def head_step_flops(d: int, rows: int) -> float:
    """What a training step of the last_token readout needs: forward, the weights' gradient."""
    return 2 * rows * 2 * (d * d + d)


def mean_flops(each: Sequence[float]) -> float:
    """The mean."""
    return sum(each) / len(each)


def _read(sizes: BackboneSizes, tokens: int) -> float:
    block, keys_and_values = _block(sizes), 2 * 2 * sizes.d * sizes.d
    return tokens * ((sizes.num_layers - 1) * block + keys_and_values) + block - keys_and_values


def _token(sizes: BackboneSizes) -> float:
    return sizes.num_layers * _block(sizes)


def _block(sizes: BackboneSizes) -> float:
    return 2 * 12 * sizes.d * sizes.d


def _logits(sizes: BackboneSizes) -> float:
    return 2 * sizes.d * sizes.num_tokens

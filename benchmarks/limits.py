"""What the machine could do at best: the rate of its matrix products, and how many a task needs.

FLOPs count matrix products only, two for a multiply-add.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from goldrm.lm.sizes import BackboneSizes


@dataclass(frozen=True)
class Product:
    """The matrix product of a linear layer `inner` → `outer` on `rows` rows, so many times."""

    dtype: str
    rows: int
    inner: int
    outer: int
    times: int = 100


def multiply(product: Product) -> int:
    """Do it; FLOPs done."""
    dtype = getattr(torch, product.dtype)
    inputs = torch.ones(product.rows, product.inner, dtype=dtype)
    weight = torch.ones(product.outer, product.inner, dtype=dtype)
    for _ in range(product.times):
        F.linear(inputs, weight)
    return product.times * 2 * product.rows * product.inner * product.outer


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

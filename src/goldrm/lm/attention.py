"""Causal attention with a cache, computed by `nn.MultiheadAttention`'s parameters."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.lm.cache import Cache
from goldrm.lm.dropout import Dropout
from goldrm.lm.sizes import BackboneSizes


class SelfAttention(nn.Module):
    """Causal multi-head attention with `nn.MultiheadAttention`'s parameters."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """Initialised as PyTorch initialises `nn.MultiheadAttention`."""
        super().__init__()
        self.num_heads = sizes.num_heads
        self.dropout = Dropout(sizes.dropout)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * sizes.d, sizes.d))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * sizes.d))
        self.out_proj = nn.Linear(sizes.d, sizes.d)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        hidden: Float[Tensor, "batch time embd"],
        layer: int,
        cache: Cache | None,
        last_only: bool,
    ) -> Float[Tensor, "batch queried embd"]:
        """Let each position, or the last one only, attend to itself and all before it."""
        d = hidden.shape[-1]
        queried = hidden[:, -1:].contiguous() if last_only else hidden
        if last_only:
            queries = self._project(queried, 0, d)[0]
            keys, values = self._project(hidden, d, 3 * d)
        else:
            queries, keys, values = self._project(hidden, 0, 3 * d)
        if cache is not None:
            keys, values = cache.append(layer, keys, values)
        seen = values.shape[2]
        if self.training:
            weights = self.dropout(_attention_weights(queries, keys, seen))
            attended = weights @ values
        else:
            mask = causal_mask(queries, seen)
            attended = F.scaled_dot_product_attention(queries, keys[:, :, :seen], values, mask)
        return self.out_proj(attended.transpose(1, 2).reshape(queried.shape))

    def _project(
        self, hidden: Float[Tensor, "batch time embd"], first: int, end: int
    ) -> Float[Tensor, "kinds batch heads time head_size"]:
        """Queries, keys or values, or some of them: rows `first` … `end` - 1 of the projection."""
        batch, time, embd = hidden.shape
        projected = F.linear(hidden, self.in_proj_weight[first:end], self.in_proj_bias[first:end])
        kinds = (end - first) // embd
        heads = projected.view(batch, time, kinds, self.num_heads, embd // self.num_heads)
        return heads.permute(2, 0, 3, 1, 4)  # (kinds, B, H, T, D/H)


class MultipleHeadAttention(nn.Module):
    """The notebook's wrapper; it is here for its name in the state dict."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """A `SelfAttention`, called MHA."""
        super().__init__()
        self.MHA = SelfAttention(sizes)


def _attention_weights(
    queries: Float[Tensor, "batch heads time head_size"],
    keys: Float[Tensor, "batch heads positions head_size"],
    seen: int,
) -> Float[Tensor, "batch heads time seen"]:
    """How strongly each query attends to each of the first `seen` positions.

    `scaled_dot_product_attention` doesn't show these weights, on which our own dropout is taken.
    The product is with the keys of positions not seen yet, too: being contiguous, they need no
    copy, which in bfloat16 takes longer than the product.
    """
    scores = (queries @ keys.mT)[..., :seen].float() * queries.shape[-1] ** -0.5
    mask = causal_mask(queries, seen)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1).to(queries.dtype)


def causal_mask(
    queries: Float[Tensor, "batch heads time head_size"], seen: int
) -> Bool[Tensor, "time seen"] | None:
    """Which of the first `seen` positions each query may attend to; None: all of them.

    The queries are of the last of these positions: two queries and three positions give
    [[1, 1, 0], [1, 1, 1]].
    """
    time = queries.shape[2]
    if time == 1:
        return None
    return torch.ones(time, seen, dtype=torch.bool, device=queries.device).tril(seen - time)

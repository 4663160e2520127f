"""The language model: the notebook's transformer, with a key-value cache for decoding.

Pre-LN decoder blocks, learned absolute positions, ReLU MLP, no final LayerNorm. It must not know
files, tokens' meanings or how tokens are picked. Module names are the notebook's (classes
`SFT_LM`, `TransformerBlock`, `multiple_head_attention`, `token2vec`), so that a state dict fits
both.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from goldrm.lm.cache import Cache, KeyValueCache
from goldrm.lm.dropout import Dropout
from goldrm.lm.sizes import BackboneSizes

READ_TOGETHER = 32  # sequences; their activations should fit the processor's cache


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
    ) -> Float[Tensor, "batch asked embd"]:
        """Let each position, or the last one only, attend to itself and all before it."""
        d = hidden.shape[-1]
        asking = hidden[:, -1:].contiguous() if last_only else hidden
        if last_only:
            queries = self._heads(asking, 0, d)[0]
            keys, values = self._heads(hidden, d, 3 * d)
        else:
            queries, keys, values = self._heads(hidden, 0, 3 * d)
        if cache is not None:
            keys, values = cache.append(layer, keys, values)
        seen = values.shape[2]
        if self.training:
            weights = self.dropout(_attention_weights(queries, keys, seen))
            attended = weights @ values
        else:
            mask = causal_mask(queries, seen)
            attended = F.scaled_dot_product_attention(queries, keys[:, :, :seen], values, mask)
        return self.out_proj(attended.transpose(1, 2).reshape(asking.shape))

    def _heads(
        self, hidden: Float[Tensor, "batch time embd"], first: int, end: int
    ) -> Float[Tensor, "kinds batch heads time head_size"]:
        """Some of queries, keys and values: the rows `first` … `end` of their projection."""
        batch, time, embd = hidden.shape
        projected = F.linear(hidden, self.in_proj_weight[first:end], self.in_proj_bias[first:end])
        kinds = (end - first) // embd
        heads = projected.view(batch, time, kinds, self.num_heads, embd // self.num_heads)
        return heads.permute(2, 0, 3, 1, 4)  # (kinds, B, H, T, D/H)


def _attention_weights(
    queries: Float[Tensor, "batch heads time head_size"],
    keys: Float[Tensor, "batch heads positions head_size"],
    seen: int,
) -> Float[Tensor, "batch heads time seen"]:
    """What `scaled_dot_product_attention` doesn't show: each position's weights on those before.

    The product is with the keys of positions not seen yet, too: being one piece of memory, they
    need no copy, which in bfloat16 takes longer than the product.
    """
    scores = (queries @ keys.mT)[..., :seen].float() * queries.shape[-1] ** -0.5
    earlier = causal_mask(queries, seen)
    if earlier is not None:
        scores = scores.masked_fill(~earlier, float("-inf"))
    return torch.softmax(scores, dim=-1).to(queries.dtype)


def causal_mask(
    queries: Float[Tensor, "batch heads time head_size"], seen: int
) -> Bool[Tensor, "time seen"] | None:
    """What the queries, of the last positions seen, may attend to; None: to everything."""
    time = queries.shape[2]
    if time == 1:
        return None
    return torch.ones(time, seen, dtype=torch.bool, device=queries.device).tril(seen - time)


class MultipleHeadAttention(nn.Module):
    """The notebook's wrapper; it is here for its name in the state dict."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """One `SelfAttention`, called MHA."""
        super().__init__()
        self.MHA = SelfAttention(sizes)


class TokenEmbedding(nn.Module):
    """The notebook's wrapper; it is here for its name in the state dict."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """One `nn.Embedding`, called token2vec."""
        super().__init__()
        self.token2vec = nn.Embedding(sizes.num_tokens, sizes.d)


class TransformerBlock(nn.Module):
    """LayerNorm → attention and LayerNorm → MLP, each added to its input."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """The MLP is four times as wide as the hidden states."""
        super().__init__()
        d = sizes.d
        self.MHA = MultipleHeadAttention(sizes)
        self.LN_MHA = nn.LayerNorm(d)
        self.MLP = nn.Sequential(
            nn.Linear(d, 4 * d), nn.ReLU(inplace=True), Dropout(sizes.dropout), nn.Linear(4 * d, d)
        )
        self.LN_MLP = nn.LayerNorm(d)

    def forward(
        self,
        hidden: Float[Tensor, "batch time embd"],
        layer: int,
        cache: Cache | None,
        last_only: bool,
    ) -> Float[Tensor, "batch asked embd"]:
        """One block's output at each position, or at the last one only."""
        attended = self.MHA.MHA(self.LN_MHA(hidden), layer, cache, last_only)
        hidden = attended + (hidden[:, -1:] if last_only else hidden)
        return hidden + self.MLP(self.LN_MLP(hidden))


class Backbone(nn.Module):
    """The SFT language model: frozen when a reward model is built on it."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """10,761,345 parameters with the notebook's sizes."""
        super().__init__()
        self.sizes = sizes
        self.token2vec = TokenEmbedding(sizes)
        self.PE_embedding = nn.Embedding(sizes.context_length, sizes.d)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(sizes) for _ in range(sizes.num_layers)
        )
        self.token_prediction = nn.Linear(sizes.d, sizes.num_tokens)

    def hidden_states(
        self,
        token_ids: Int[Tensor, "batch time"],
        cache: Cache | None = None,
        last_only: bool = False,
        layers: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch asked embds"]:
        """Hidden states after the last block, which are what the output layer reads, or others.

        Args:
            token_ids: tokens at positions 0 … T-1 or, with a cache, at the T positions after the
                cached ones.
            cache: keys and values of the positions before; the new ones are added to it.
            last_only: of the last position only; the deepest block then computes no other.
            layers: after which blocks, ascending, 0 being the embeddings; their states stand
                side by side. Blocks after the deepest aren't computed.
        """
        layers = layers or (self.sizes.num_layers,)
        start = cache.length if cache is not None else 0
        end = start + token_ids.shape[1]
        positions = torch.arange(start, end, device=token_ids.device)
        hidden = self.token2vec.token2vec(token_ids) + self.PE_embedding(positions)
        wanted = [hidden] if 0 in layers else []
        for layer, block in enumerate(self.transformer_blocks[: layers[-1]]):
            hidden = block(hidden, layer, cache, last_only and layer + 1 == layers[-1])
            if layer + 1 in layers:
                wanted.append(hidden)
        if cache is not None:
            cache.advance(token_ids.shape[1])
        return torch.cat([states[:, -1:] if last_only else states for states in wanted], dim=-1)

    def read(
        self,
        sequences: Sequence[list[int]],
        cache: KeyValueCache,
        width: int,
        last_only: bool = True,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Float[Tensor, "_alike asked embds"]]:
        """Read sequences right-aligned into an empty cache.

        The padding on their left attends only to padding, so its keys and values are the same for
        all and are computed once; so is, in training mode, its dropout.

        Args:
            sequences: token ids, those of one length side by side: they are read together.
            cache: with room for `width` positions of so many sequences.
            width: positions; each sequence has 1 to `width` tokens.
            last_only: see `hidden_states`.
            layers: see `hidden_states`.

        Yields:
            Hidden states of the tokens of the next sequences that are of one length.
        """
        device = self.token_prediction.weight.device
        padding = self._padding(width - min(map(len, sequences)))
        end = 0
        for length, alike in groupby(sequences, key=len):
            for part in torch.tensor(list(alike), device=device).split(READ_TOGETHER):
                first, end = end, end + len(part)
                rows = cache.rows(first, end)
                rows.begin_with(padding, width - length)
                yield self.hidden_states(part, rows, last_only, layers)
        cache.advance(width)

    def last_states(self, sequences: Sequence[list[int]]) -> Float[Tensor, "sequences embd"]:
        """The last token's hidden state of each sequence, right-aligned in the context.

        Of a sequence longer than the context the last tokens count.
        """
        width, weight = self.sizes.context_length, self.token_prediction.weight
        cut = [tokens[-width:] for tokens in sequences]
        order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
        states: list[Tensor] = []
        for first in range(0, len(order), READ_TOGETHER):
            part = [cut[i] for i in order[first : first + READ_TOGETHER]]
            cache = KeyValueCache.allocate(self.sizes, len(part), width, like=weight)
            states += [hidden[:, -1] for hidden in self.read(part, cache, width)]
        return torch.cat(states)[torch.tensor(order, device=weight.device).argsort()]

    def _padding(self, length: int) -> KeyValueCache:
        """Keys and values of `length` padding tokens at the first positions."""
        weight = self.token_prediction.weight
        cache = KeyValueCache.allocate(self.sizes, 1, length, like=weight)
        if length:
            token_ids = torch.full((1, length), self.sizes.padding_int, device=weight.device)
            self.hidden_states(token_ids, cache, last_only=True)
        return cache

    def forward(self, token_ids: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocab"]:
        """Logits of the token after each position."""
        return self.token_prediction(self.hidden_states(token_ids))

    def frozen(self) -> "Backbone":
        """This model in evaluation mode, without gradients."""
        return self.eval().requires_grad_(False)


def right_aligned(
    sequences: list[list[int]], width: int, padding_int: int
) -> Int[Tensor, "batch width"]:
    """Sequences as one tensor: padding on the left, and only the last `width` tokens of each."""
    return torch.tensor(
        [[padding_int] * (width - len(tokens)) + tokens[-width:] for tokens in sequences]
    )

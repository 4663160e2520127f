"""The language model: the notebook's transformer, with a key-value cache for decoding.

Pre-LN decoder blocks, learned absolute positions, ReLU MLP, no final LayerNorm. Module names are
the notebook's (classes `SFT_LM`, `TransformerBlock`, `multiple_head_attention`, `token2vec`), so
that a state dict fits both.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from goldrm.common.device import rows_together
from goldrm.lm.attention import MultipleHeadAttention
from goldrm.lm.cache import Cache, KeyValueCache
from goldrm.lm.dropout import Dropout
from goldrm.lm.sizes import BackboneSizes

SEQUENCES_READ_TOGETHER = 32  # on a CPU


class TokenEmbedding(nn.Module):
    """The notebook's wrapper; it is here for its name in the state dict."""

    def __init__(self, sizes: BackboneSizes) -> None:
        """An `nn.Embedding`, called token2vec."""
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
    ) -> Float[Tensor, "batch queried embd"]:
        """The block's output at each position, or at the last one only."""
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
    ) -> Float[Tensor, "batch queried embds"]:
        """Hidden states of tokens after the last block, or after other blocks.

        Args:
            token_ids: tokens at positions 0 … time - 1 or, with a cache, at the positions after
                the cached ones.
            cache: keys and values of the positions before; the new ones are added to it.
            last_only: return the last position's states only; the deepest block then computes no
                others.
            layers: after which blocks, ascending, 0 being the embeddings; a token's states are
                concatenated. Blocks after the deepest of them aren't computed.
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

    def read_right_aligned(
        self,
        sequences: Sequence[list[int]],
        cache: KeyValueCache,
        width: int,
        last_only: bool = True,
        layers: Sequence[int] | None = None,
        share_beginnings: bool = False,
    ) -> Iterator[Float[Tensor, "_batch queried embds"]]:
        """Read sequences that all end at position `width` - 1, with padding on their left.

        The padding attends only to padding, so that its keys and values are the same for all
        sequences. They are computed once; in training mode so is their dropout.

        Args:
            sequences: token ids, 1 to `width` of each sequence. Neighbours of one length are read
                together.
            cache: an empty one with room for at least `width` positions of all sequences.
            width: number of positions.
            last_only: see `hidden_states`.
            layers: see `hidden_states`.
            share_beginnings: read what all that are read together begin with once. Not in training
                mode, where each sequence has dropout of its own; and only of the last token are
                there states then.

        Yields:
            Hidden states of the tokens of the next sequences, which are all of one length.
        """
        device = self.token_prediction.weight.device
        padding = self._read_padding(width - min(map(len, sequences)))
        end = 0
        for length, of_length in groupby(sequences, key=len):
            token_ids = torch.tensor(np.array(list(of_length)), device=device)  # faster of an array
            for batch in token_ids.split(rows_together(device, SEQUENCES_READ_TOGETHER)):
                first, end = end, end + len(batch)
                rows = cache.view_rows(first, end)
                rows.copy_prefix(padding, width - length)
                if share_beginnings and len(batch) > 1:
                    batch = self._without_beginning(batch, rows)
                yield self.hidden_states(batch, rows, last_only, layers)
        cache.advance(width)

    def last_states(self, sequences: Sequence[list[int]]) -> Float[Tensor, "sequences embd"]:
        """The last token's hidden state of each sequence, right-aligned in the context.

        Of a sequence longer than the context the last tokens count.
        """
        width, weight = self.sizes.context_length, self.token_prediction.weight
        cut = [tokens[-width:] for tokens in sequences]
        # Those that begin alike side by side, where what they begin with can be shared.
        order = sorted(
            range(len(cut)), key=lambda i: (len(cut[i]), [] if self.training else cut[i])
        )
        states: list[Tensor] = []
        together = rows_together(weight.device, SEQUENCES_READ_TOGETHER)
        for first in range(0, len(order), together):
            batch = [cut[i] for i in order[first : first + together]]
            cache = KeyValueCache.allocate(self.sizes, len(batch), width, like=weight)
            read = self.read_right_aligned(batch, cache, width, share_beginnings=not self.training)
            states += [hidden[:, -1] for hidden in read]
        return torch.cat(states)[torch.tensor(order, device=weight.device).argsort()]

    def _without_beginning(
        self, token_ids: Int[Tensor, "batch time"], cache: KeyValueCache
    ) -> Int[Tensor, "batch rest"]:
        """What is left of sequences, at least a token, after reading what all begin with."""
        is_common = (token_ids[:, :-1] == token_ids[0, :-1]).all(dim=0)
        count = int(is_common.cumprod(dim=0).sum())
        if count:
            first = cache.copy_rows(torch.zeros(1, dtype=torch.int64, device=token_ids.device))
            self.hidden_states(token_ids[:1, :count], first, last_only=True)
            cache.copy_prefix(first, first.length)
        return token_ids[:, count:]

    def _read_padding(self, length: int) -> KeyValueCache:
        """A cache of `length` padding tokens at the context's first positions."""
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
        """This model, put into evaluation mode and without gradients."""
        return self.eval().requires_grad_(False)


def right_aligned(
    sequences: list[list[int]], width: int, padding_int: int
) -> Int[Tensor, "batch width"]:
    """Sequences as a tensor: the last `width` tokens of each, with padding on the left.

    With width 3 and padding 9, [1, 2] becomes 9 1 2 and [1, 2, 3, 4] becomes 2 3 4.
    """
    rows = [[padding_int] * (width - len(tokens)) + tokens[-width:] for tokens in sequences]
    return torch.from_numpy(np.array(rows))

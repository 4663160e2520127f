"""Completions from the language model, of many prompts at once.

The caller decides about dropout, by the model's mode, and sets the random stream.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.generation.params import DecoderName
from goldrm.lm.cache import KeyValueCache
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes


class Decoder(Protocol):
    """Sequences that grow by a token at a time, and the logits of their next tokens."""

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        ...

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append a token to every sequence."""
        ...

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows` only, in that order: see `KeyValueCache.keep_rows`."""
        ...


class CachedDecoder:
    """Computes keys and values once a token, because every token keeps its position.

    All prompts end at the position that leaves room for the longest completion, with padding on
    the left, which is attended to as in the notebook.
    """

    def __init__(self, backbone: Backbone, prompts: list[list[int]], max_new_tokens: int) -> None:
        """Read the prompts: neighbours of one length together, and without dropout equal ones once.

        Raises:
            GoldrmError: when prompt and completion don't fit the context.
        """
        sizes = backbone.sizes
        # The last new token is never read, only predicted.
        width = sizes.context_length - max_new_tokens + 1
        refuse_longer(max(map(len, prompts)), width, sizes, max_new_tokens)
        self._backbone = backbone
        distinct = [list(prompt) for prompt in dict.fromkeys(map(tuple, prompts))]
        to_read = prompts if backbone.training else distinct
        self._cache = KeyValueCache.allocate(
            sizes, len(to_read), sizes.context_length, like=backbone.token_prediction.weight
        )
        read = backbone.read_right_aligned(to_read, self._cache, width)
        self._last = torch.cat(list(read))[:, -1]  # the sequences' last hidden states
        if len(to_read) < len(prompts):
            row_of = {tuple(prompt): row for row, prompt in enumerate(to_read)}
            rows = torch.tensor([row_of[tuple(p)] for p in prompts], device=self._last.device)
            self._cache, self._last = self._cache.copy_rows(rows), self._last[rows]

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        return self._backbone.token_prediction(self._last)

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append a token to every sequence."""
        hidden = self._backbone.hidden_states(token_ids[:, None], self._cache)
        self._last = hidden[:, -1]

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows` only, in that order."""
        self._cache.keep_rows(rows)
        self._last = self._last[rows]


def refuse_longer(longest: int, width: int, sizes: BackboneSizes, max_new_tokens: int) -> None:
    """Refuse a longest prompt that doesn't fit in `width` positions."""
    if longest > width:
        room = max(sizes.context_length - longest + 1, 0)
        raise GoldrmError(
            f"sampling.max_new_tokens is {max_new_tokens}, but a prompt of {longest} tokens "
            f"leaves room for {room} in the model's context of {sizes.context_length}. "
            f"{'Lower it, or set' if room else 'Set'} sampling.decoder to sliding_window."
        )


class SlidingWindowDecoder:
    """The notebook's way: predicts every token from the context's last position.

    The window moves along, so that every token's position changes at every step, and all but the
    padding on the left is computed anew.
    """

    def __init__(self, backbone: Backbone, prompts: list[list[int]]) -> None:
        """Right-align the prompts in the context; of longer ones the last tokens count."""
        self._backbone = backbone
        self._sequences = prompts

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        return self._backbone.token_prediction(self._backbone.last_states(self._sequences))

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append a token to every sequence."""
        both = zip(self._sequences, token_ids.tolist(), strict=True)
        self._sequences = [[*sequence, token] for sequence, token in both]

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows` only, in that order."""
        self._sequences = [self._sequences[row] for row in rows.tolist()]


@torch.inference_mode()
def complete(
    backbone: Backbone,
    prompts: list[list[int]],
    decoder_name: DecoderName,
    temperature: float,
    max_new_tokens: int,
) -> list[list[int]]:
    """A completion of each prompt, without the token that ends it.

    Args:
        backbone: the language model; its dropout is on exactly when it is in training mode.
        prompts: token ids of each prompt, at least one.
        decoder_name: kv_cache (fixed positions) or sliding_window (the notebook's).
        temperature: of the softmax; 0 takes the likeliest token.
        max_new_tokens: longest completion.

    Returns:
        Token ids of each completion, 0 to `max_new_tokens` of them.

    Raises:
        GoldrmError: when prompt and completion don't fit the context of a cached decoder.
    """
    # By length, because neighbours of one length are read together.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    unfinished = torch.tensor(order, device=backbone.token_prediction.weight.device)
    by_length = [prompts[i] for i in order]
    decoder: Decoder = (
        CachedDecoder(backbone, by_length, max_new_tokens)
        if decoder_name == "kv_cache"
        else SlidingWindowDecoder(backbone, by_length)
    )
    eos_int = backbone.sizes.eos_int
    completions = unfinished.new_full((len(prompts), max_new_tokens), eos_int)
    for step in range(max_new_tokens):
        token_ids = pick_tokens(decoder.logits(), temperature)
        completions[unfinished, step] = token_ids
        rows = compacted_rows(token_ids != eos_int)
        if not len(rows) or step == max_new_tokens - 1:
            break
        unfinished, token_ids = unfinished[rows], token_ids[rows]
        decoder.keep_rows(rows)
        decoder.extend(token_ids)
    lengths = (completions != eos_int).sum(dim=1).tolist()  # nothing follows the first end
    return [row[:length] for row, length in zip(completions.tolist(), lengths, strict=True)]


def pick_tokens(logits: Float[Tensor, "batch vocab"], temperature: float) -> Int[Tensor, " batch"]:
    """Sample a token from each row's softmax at a temperature; at 0 take the likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probabilities, num_samples=1).squeeze(1)


def compacted_rows(is_kept: Bool[Tensor, " batch"]) -> Int[Tensor, " kept"]:
    """The rows that are kept, in an order in which few of them move.

    The last ones fill the gaps: where rows 0, 2 and 3 of four are kept, the order is 0, 3, 2.
    """
    count = int(is_kept.sum())
    rows = torch.arange(count, device=is_kept.device)
    rows[~is_kept[:count]] = count + is_kept[count:].nonzero().flatten()
    return rows

"""Completions from the language model, many prompts at once.

It must not know what tokens mean, nor rewards, nor files. The caller sets the random stream and
whether dropout is on.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.generation.params import DecoderName
from goldrm.lm.cache import KeyValueCache
from goldrm.lm.model import Backbone


class Decoder(Protocol):
    """Where decoding stands: the sequences so far, of which it knows the next token's logits."""

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        ...

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append one token to every sequence."""
        ...

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows` only, in that order: see `KeyValueCache.keep`."""
        ...


class CachedDecoder:
    """Fixed positions, so that keys and values are computed once a token.

    All prompts end at the position that leaves room for the longest completion, with padding on
    the left, which is attended to as in the notebook.
    """

    def __init__(self, backbone: Backbone, prompts: list[list[int]], max_new_tokens: int) -> None:
        """Read the prompts, of which those of one length should be side by side.

        Without dropout, equal prompts are read once.

        Raises:
            GoldrmError: when prompt and completion don't fit the context.
        """
        sizes = backbone.sizes
        # The last new token is never read, only predicted.
        width = sizes.context_length - max_new_tokens + 1
        longest = max(map(len, prompts))
        if longest > width:
            room = max(sizes.context_length - longest + 1, 0)
            raise GoldrmError(
                f"sampling.max_new_tokens is {max_new_tokens}, but a prompt of {longest} tokens "
                f"leaves room for {room} in the model's context of {sizes.context_length}. "
                f"{'Lower it, or set' if room else 'Set'} sampling.decoder to sliding_window."
            )
        self._backbone = backbone
        number = {prompt: n for n, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        read = prompts if backbone.training else list(map(list, number))
        self._cache = KeyValueCache.allocate(
            sizes, len(read), sizes.context_length, like=backbone.token_prediction.weight
        )
        self._last = torch.cat(list(backbone.read(read, self._cache, width)))[:, -1]
        if len(read) < len(prompts):
            numbers = [number[tuple(prompt)] for prompt in prompts]
            rows = torch.tensor(numbers, device=self._last.device)
            self._cache, self._last = self._cache.of(rows), self._last[rows]

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        return self._backbone.token_prediction(self._last)

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append one token to every sequence."""
        hidden = self._backbone.hidden_states(token_ids[:, None], self._cache)
        self._last = hidden[:, -1]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows` only, in that order."""
        self._cache.keep(rows)
        self._last = self._last[rows]


class SlidingWindowDecoder:
    """The notebook's way: every token is predicted from the context's last position.

    The window moves along, so every position changes with every token and all is computed anew,
    but for the padding on the left.
    """

    def __init__(self, backbone: Backbone, prompts: list[list[int]]) -> None:
        """Right-align the prompts in the context; of longer ones the last tokens count."""
        self._backbone = backbone
        self._sequences = prompts

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of every sequence's next token."""
        return self._backbone.token_prediction(self._backbone.last_states(self._sequences))

    def extend(self, token_ids: Int[Tensor, " batch"]) -> None:
        """Append one token to every sequence."""
        both = zip(self._sequences, token_ids.tolist(), strict=True)
        self._sequences = [[*sequence, token] for sequence, token in both]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
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
    """One completion for each prompt, without the token that ends it.

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
    # Those of one length side by side: they are read together.
    unfinished = torch.tensor(sorted(range(len(prompts)), key=lambda i: len(prompts[i])))
    in_order = [prompts[i] for i in unfinished.tolist()]
    decoder: Decoder = (
        CachedDecoder(backbone, in_order, max_new_tokens)
        if decoder_name == "kv_cache"
        else SlidingWindowDecoder(backbone, in_order)
    )
    completions: list[list[int]] = [[] for _ in prompts]
    for step in range(max_new_tokens):
        picked = pick(decoder.logits(), temperature)
        rows = filled_from_the_end(picked != backbone.sizes.eos_int)
        unfinished, picked = unfinished[rows.cpu()], picked[rows]
        for prompt, token_id in zip(unfinished.tolist(), picked.tolist(), strict=True):
            completions[prompt].append(token_id)
        if not len(rows) or step == max_new_tokens - 1:
            break
        decoder.keep(rows)
        decoder.extend(picked)
    return completions


def filled_from_the_end(kept: Bool[Tensor, " batch"]) -> Int[Tensor, " kept"]:
    """The rows to keep, in an order in which few change places.

    The places of rows that aren't kept are taken by the last ones that are.
    """
    count = int(kept.sum())
    rows = torch.arange(count, device=kept.device)
    rows[~kept[:count]] = count + kept[count:].nonzero().flatten()
    return rows


def pick(logits: Float[Tensor, "batch vocab"], temperature: float) -> Int[Tensor, " batch"]:
    """Sample a token from each row's softmax at a temperature; at 0 take the likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probabilities, num_samples=1).squeeze(1)

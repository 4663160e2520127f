"""Frozen features of prompt + completion, in evaluation mode.

It must not know rewards nor readouts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.backbone import Backbone, KeyValueCache

T = TypeVar("T")

BATCH = 32  # sequences read together; their activations should fit the processor's cache
OUTLOOK = 3  # numbers that `outlook` tells of each token
UNLIKELY = -20.0  # nats
PROMPTS = 128  # prompts whose keys and values are in memory together


@torch.no_grad()
def last_hidden_states(
    backbone: Backbone, sequences: Sequence[list[int]]
) -> Float[Tensor, "sequences embd"]:
    """The last token's final hidden state of each sequence.

    As in the notebook: right-aligned in the context, padding on the left attended to. Unlike it,
    without dropout, and of a sequence longer than the context the last tokens count.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        sequences: token ids of prompt + completion of each, none empty.
    """
    backbone.eval()
    width = backbone.sizes.context_length
    cut = [tokens[-width:] for tokens in sequences]
    order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
    hidden = torch.cat(
        [
            states[:, -1]
            for batch in _parts(order, BATCH)
            for states in backbone.read(
                [cut[i] for i in batch], _cache(backbone, len(batch), width), width
            )
        ]
    )
    return hidden[torch.tensor(order).argsort().to(hidden.device)]


@dataclass(frozen=True)
class CompletionStates:
    """Hidden states of completions and of the prompts that they answer.

    Attributes:
        completions: of each completion's tokens, and of the prompt's last token before them.
        prompts: of each distinct prompt's tokens.
        prompt: which of these each completion answers.
    """

    completions: list[Float[Tensor, "_tokens embds"]]
    prompts: list[Float[Tensor, "_tokens prompt_embds"]]
    prompt: list[int]


@dataclass(frozen=True)
class _Placed:
    """A prompt and completion, cut to what fits the context.

    Attributes:
        index: which of the completions asked for.
        width: positions that the prompt ends at, padding on its left.
        prompt: its last tokens.
        completion: its last tokens.
    """

    index: int
    width: int
    prompt: tuple[int, ...]
    completion: list[int]


@torch.no_grad()
def completion_hidden_states(
    backbone: Backbone,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    layers: Sequence[int],
    prompt_layers: Sequence[int],
) -> CompletionStates:
    """Hidden states of the tokens of prompts and completions.

    Prompts end just behind the middle of the context, with padding on their left, so that the
    completions of one prompt share what is computed of it. (The course's longest prompts have 21
    tokens.) Where a completion doesn't fit behind, the prompt ends earlier and its first tokens
    are lost; of both the last tokens count.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        prompts: token ids of each completion's prompt.
        completions: token ids of each.
        layers: after which blocks, ascending; a completion's states stand side by side.
        prompt_layers: the same of a prompt's.
    """
    backbone.eval()
    pairs = zip(prompts, completions, strict=True)
    placed = [_place(backbone, i, *pair) for i, pair in enumerate(pairs)]
    placed.sort(key=lambda one: (one.width, len(one.prompt), one.prompt))
    states: dict[int, Tensor] = {}
    of_prompts: list[Tensor] = []
    prompt: dict[int, int] = {}
    reading = _Reading(backbone, sorted({*layers, *prompt_layers}))
    for width, alike in groupby(placed, key=lambda one: one.width):
        by_prompt = [list(same) for _, same in groupby(alike, key=lambda one: one.prompt)]
        for part in _parts(by_prompt, PROMPTS):
            cache = _cache(backbone, len(part), width)
            read = reading.prompts(part, cache, width)
            for number, same in enumerate(part, start=len(of_prompts)):
                prompt |= {one.index: number for one in same}
            of_prompts += [reading.of(prompt_layers, each) for each in read]
            last = reading.of(layers, torch.stack([each[-1] for each in read]))
            states |= _read(reading, part, cache, last, layers)
    order = range(len(placed))
    return CompletionStates([states[i] for i in order], of_prompts, [prompt[i] for i in order])


@torch.no_grad()
def log_probabilities(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, " _tokens"]]:
    """The language model's log-probability of each completion's tokens and of its end, in nats."""
    top = (backbone.sizes.num_layers,)
    states = completion_hidden_states(backbone, prompts, completions, top, top).completions
    return [
        outlook(backbone, hidden, completion)[:, 0]
        for hidden, completion in zip(states, completions, strict=True)
    ]


@torch.no_grad()
def outlook(
    backbone: Backbone, top: Float[Tensor, "tokens embd"], completion: list[int]
) -> Float[Tensor, "tokens 3"]:
    """What the language model expects at a completion's tokens, from its last block's states.

    Args:
        backbone: the language model.
        top: states of the prompt's last token and of the completion's.
        completion: its token ids.

    Returns:
        Log-probabilities, in nats: of what is said next (after the last token: the end), of the
        end, and of the likeliest token. None is below `UNLIKELY`.
    """
    log_softmax = torch.log_softmax(backbone.token_prediction(top), dim=-1)
    end = backbone.sizes.eos_int
    said = torch.tensor([*completion, end][-len(top) :], device=top.device)
    expected = (
        log_softmax.gather(1, said[:, None])[:, 0],
        log_softmax[:, end],
        log_softmax.max(dim=1).values,
    )
    return torch.stack(expected, dim=1).clamp(min=UNLIKELY)


@dataclass(frozen=True)
class _Reading:
    """A language model and the layers that its states are taken of, ascending."""

    backbone: Backbone
    layers: list[int]

    def of(self, wanted: Sequence[int], states: Float[Tensor, "*shape embds"]) -> Tensor:
        """The states of some of the layers."""
        parts = states.unflatten(-1, (len(self.layers), -1))
        return parts[..., [self.layers.index(layer) for layer in wanted], :].flatten(-2)

    def prompts(
        self, by_prompt: list[list[_Placed]], cache: KeyValueCache, width: int
    ) -> list[Float[Tensor, "_tokens embds"]]:
        """All layers' states of each prompt's tokens; the completions of a prompt are one list."""
        sequences = [list(same[0].prompt) for same in by_prompt]
        read = self.backbone.read(sequences, cache, width, last_only=False, layers=self.layers)
        return [each for alike in read for each in alike]

    def completions(
        self, completions: list[list[int]], cache: KeyValueCache
    ) -> Float[Tensor, "batch time embds"]:
        """All layers' states of completions behind what the cache holds, padded on the right."""
        longest = max(map(len, completions))
        padding = self.backbone.sizes.padding_int
        padded = [each + [padding] * (longest - len(each)) for each in completions]
        device = self.backbone.token_prediction.weight.device
        token_ids = torch.tensor(padded, dtype=torch.int64, device=device)
        return self.backbone.hidden_states(token_ids, cache, layers=self.layers)


def _place(backbone: Backbone, index: int, prompt: list[int], completion: list[int]) -> _Placed:
    context = backbone.sizes.context_length
    completion = completion[-(context - 1) :]
    width = min(context // 2 + 1, context - len(completion))
    padded = prompt or [backbone.sizes.padding_int]
    return _Placed(index, width, tuple(padded[-width:]), completion)


def _read(
    reading: _Reading,
    by_prompt: list[list[_Placed]],
    cache: KeyValueCache,
    before: Float[Tensor, "prompts embds"],
    layers: Sequence[int],
) -> dict[int, Tensor]:
    """States by index: of the prompt's last token, and of the completion's behind it."""
    rows = [(row, nested) for row, same in enumerate(by_prompt) for nested in _nested(same)]
    rows.sort(key=lambda each: len(each[1][0].completion))
    states: dict[int, Tensor] = {}
    for part in _parts(rows, BATCH):
        owners = torch.tensor([row for row, _ in part], device=before.device)
        completions = [nested[0].completion for _, nested in part]
        longest = len(completions[-1])
        after = before.new_empty((len(part), 0, before.shape[1]))
        if longest:
            copies = cache.repeated(owners, cache.length + longest)
            after = reading.of(layers, reading.completions(completions, copies))
        both = torch.cat((before[owners][:, None], after), dim=1)
        states |= {
            one.index: both[row, : len(one.completion) + 1]
            for row, (_, nested) in enumerate(part)
            for one in nested
        }
    return states


def _nested(same: list[_Placed]) -> list[list[_Placed]]:
    """One prompt's completions, each with those that it begins with: their states are its first."""
    found: list[list[_Placed]] = []
    # In this order a completion comes right behind those that begin with it.
    for one in sorted(same, key=lambda one: one.completion, reverse=True):
        if found and found[-1][0].completion[: len(one.completion)] == one.completion:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _cache(backbone: Backbone, batch: int, width: int) -> KeyValueCache:
    weight = backbone.token_prediction.weight
    return KeyValueCache.allocate(backbone.sizes, batch, width, like=weight)


def _parts(items: list[T], size: int) -> Iterable[list[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))

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

BATCH = 64  # sequences read together; their activations should fit the processor's cache
PROMPTS = 32  # prompts whose keys and values are in memory together


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
            backbone.read([cut[i] for i in batch], _cache(backbone, len(batch), width), width)
            for batch in _parts(order, BATCH)
        ]
    )
    return hidden[torch.tensor(order).argsort().to(hidden.device)]


@torch.no_grad()
def log_probabilities(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, " _tokens"]]:
    """The language model's log-probability of each completion's tokens and of its end, in nats."""
    after_last = (backbone.sizes.num_layers,)
    states = completion_hidden_states(backbone, prompts, completions, after_last)
    found: list[Tensor] = []
    for hidden, completion in zip(states, completions, strict=True):
        log_softmax = torch.log_softmax(backbone.token_prediction(hidden), dim=-1)
        said = [*completion, backbone.sizes.eos_int][-len(hidden) :]
        found.append(log_softmax[torch.arange(len(hidden)), said])
    return found


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
) -> list[Float[Tensor, "_tokens embds"]]:
    """Hidden states of each completion's tokens, and of the prompt's last token before them.

    Prompts end just behind the middle of the context, with padding on their left, so that the
    completions of one prompt share what is computed of it. (The course's longest prompts have 21
    tokens.) Where a completion doesn't fit behind, the prompt ends earlier and its first tokens
    are lost; of both the last tokens count.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        prompts: token ids of each completion's prompt.
        completions: token ids of each.
        layers: after which blocks, ascending; their states stand side by side.
    """
    backbone.eval()
    placed = [
        _place(backbone, i, *pair) for i, pair in enumerate(zip(prompts, completions, strict=True))
    ]
    placed.sort(key=lambda one: (one.width, len(one.prompt), one.prompt))
    states: dict[int, Tensor] = {}
    for width, alike in groupby(placed, key=lambda one: one.width):
        by_prompt = [list(same) for _, same in groupby(alike, key=lambda one: one.prompt)]
        for part in _parts(by_prompt, PROMPTS):
            states |= _read(backbone, width, part, layers)
    return [states[i] for i in range(len(placed))]


def _place(backbone: Backbone, index: int, prompt: list[int], completion: list[int]) -> _Placed:
    context = backbone.sizes.context_length
    completion = completion[-(context - 1) :]
    width = min(context // 2 + 1, context - len(completion))
    padded = prompt or [backbone.sizes.padding_int]
    return _Placed(index, width, tuple(padded[-width:]), completion)


def _read(
    backbone: Backbone, width: int, by_prompt: list[list[_Placed]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """States by index; the completions of a prompt are one list."""
    cache = _cache(backbone, len(by_prompt), width)
    before = backbone.read([list(same[0].prompt) for same in by_prompt], cache, width, layers)
    rows = [(row, one) for row, same in enumerate(by_prompt) for one in same]
    rows.sort(key=lambda each: len(each[1].completion))
    states: dict[int, Tensor] = {}
    for part in _parts(rows, BATCH):
        owners = torch.tensor([row for row, _ in part], device=before.device)
        longest = len(part[-1][1].completion)
        token_ids = torch.tensor(
            [
                one.completion + [backbone.sizes.padding_int] * (longest - len(one.completion))
                for _, one in part
            ],
            dtype=torch.int64,
            device=before.device,
        )
        after = before.new_empty((len(part), 0, before.shape[1]))
        if longest:
            copies = cache.repeated(owners, width + longest)
            after = backbone.hidden_states(token_ids, copies, layers=layers)
        both = torch.cat((before[owners][:, None], after), dim=1)
        states |= {
            one.index: both[row, : len(one.completion) + 1] for row, (_, one) in enumerate(part)
        }
    return states


def _cache(backbone: Backbone, batch: int, width: int) -> KeyValueCache:
    weight = backbone.token_prediction.weight
    return KeyValueCache.allocate(backbone.sizes, batch, width, like=weight)


def _parts(items: list[T], size: int) -> Iterable[list[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))

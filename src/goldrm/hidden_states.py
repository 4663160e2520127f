"""Frozen features of prompt + completion, in evaluation mode.

It must not know rewards nor readouts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.backbone import Backbone, KeyValueCache
from goldrm.series import common_beginning

T = TypeVar("T")
Further = Callable[[int, Float[Tensor, "tokens embds"]], list[list[int]]]

BATCH = 32  # sequences read together; their activations should fit the processor's cache
OUTLOOK = 3  # numbers that `outlook` tells of each token
UNLIKELY = -20.0  # nats
PROMPTS = 256  # whose keys and values are in memory together
BEHIND = 16  # completions read together behind their prompts, padded to the longest


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
        rows: of the prompts' last tokens and of the completions' tokens; what a completion has in
            common with the first of its prompt's is here once.
        places: which rows are each completion's: that of the prompt's last token, then its own.
        prompts: of each distinct prompt's tokens.
        prompt: which of these each completion answers.
    """

    rows: Float[Tensor, "rows embds"]
    places: list[Int[Tensor, " _tokens"]]
    prompts: list[Float[Tensor, "_tokens prompt_embds"]]
    prompt: list[int]

    @property
    def completions(self) -> list[Float[Tensor, "_tokens embds"]]:
        """The rows of each completion."""
        return [self.rows[each] for each in self.places]


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
    further: Further | None = None,
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
        further: gives more completions of a prompt, at most a token longer than its first one. It
            is asked once a prompt, where the context has room behind that one, with its number and
            its states: of the prompt's last token and of its own. What it gives follows the other
            completions, in the order that it was asked in.
    """
    backbone.eval()
    pairs = zip(prompts, completions, strict=True)
    placed = [_place(backbone, i, *pair) for i, pair in enumerate(pairs)]
    placed.sort(key=lambda one: (one.width, len(one.prompt), one.prompt))
    numbers = count(len(placed))  # of what `further` gives
    rows: list[Tensor] = []
    size = 0  # of them
    places: dict[int, Tensor] = {}
    of_prompts: list[Tensor] = []
    prompt: dict[int, int] = {}
    reading = _Reading(backbone, sorted({*layers, *prompt_layers}))
    for width, alike in groupby(placed, key=lambda one: one.width):
        by_prompt = [list(same) for _, same in groupby(alike, key=lambda one: one.prompt)]
        for part in _parts(by_prompt, PROMPTS):
            cache = _cache(backbone, len(part), width)
            states = reading.prompts(part, cache, width)
            last = [reading.of(layers, each[-1:]) for each in states]
            read = _read(reading, part, cache, last, layers, further, numbers)
            for number, own in enumerate(read, start=len(of_prompts)):
                prompt |= dict.fromkeys(own.places, number)
                places |= {index: size + each for index, each in own.places.items()}
                rows += own.parts
                size += own.count
            of_prompts += [reading.of(prompt_layers, each) for each in states]
    order = range(len(places))
    return CompletionStates(
        torch.cat(rows), [places[i] for i in order], of_prompts, [prompt[i] for i in order]
    )


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

    def behind(
        self, cache: KeyValueCache, tokens: list[list[int]], wanted: Sequence[int]
    ) -> list[Float[Tensor, "_tokens embds"]]:
        """Some layers' states of tokens behind what the cache has seen of each sequence."""
        longest = max(map(len, tokens))
        padding = self.backbone.sizes.padding_int
        padded = [each + [padding] * (longest - len(each)) for each in tokens]
        device = self.backbone.token_prediction.weight.device
        token_ids = torch.tensor(padded, dtype=torch.int64, device=device)
        read = self.of(wanted, self.backbone.hidden_states(token_ids, cache, layers=self.layers))
        return [states[: len(each)] for states, each in zip(read, tokens, strict=True)]


def _place(backbone: Backbone, index: int, prompt: list[int], completion: list[int]) -> _Placed:
    context = backbone.sizes.context_length
    completion = completion[-(context - 1) :]
    width = min(context // 2 + 1, context - len(completion))
    padded = prompt or [backbone.sizes.padding_int]
    return _Placed(index, width, tuple(padded[-width:]), completion)


@dataclass
class _Rows:
    """What is read of one prompt's completions.

    Attributes:
        parts: the rows, that of the prompt's last token first.
        places: which of them are each completion's, by its index.
        count: of the rows.
    """

    parts: list[Float[Tensor, "_tokens embds"]]
    places: dict[int, Int[Tensor, " _tokens"]] = field(default_factory=dict)
    count: int = 1

    def add(self, index: int, common: int, states: Float[Tensor, "_tokens embds"]) -> None:
        """A completion, of which the first `common` tokens are those of the first one added."""
        own = torch.arange(self.count, self.count + len(states))
        self.places[index] = torch.cat((torch.arange(common + 1), own))
        self.parts.append(states)
        self.count += len(states)


def _read(
    reading: _Reading,
    by_prompt: list[list[_Placed]],
    cache: KeyValueCache,
    before: list[Float[Tensor, "1 embds"]],
    layers: Sequence[int],
    further: Further | None,
    numbers: Iterator[int],
) -> list[_Rows]:
    """Read each prompt's completions: the first one whole, of the others what is different.

    Args:
        reading: by what.
        by_prompt: the completions of each prompt.
        cache: has seen the prompts.
        before: states of their last tokens.
        layers: whose states are wanted.
        further: gives more completions of each.
        numbers: what these are numbered by.
    """
    rows = [_Rows([state]) for state in before]
    width, firsts = cache.length, [same[0].completion for same in by_prompt]
    order = sorted(range(len(firsts)), key=lambda prompt: len(firsts[prompt]))
    seen = cache.repeated(torch.tensor(order), width, width + len(firsts[order[-1]]))
    for part in _parts(list(enumerate(order)), BEHIND):
        own = seen.rows(part[0][0], part[-1][0] + 1)
        read = reading.behind(own, [firsts[prompt] for _, prompt in part], layers)
        for (_, prompt), states in zip(part, read, strict=True):
            rows[prompt].add(by_prompt[prompt][0].index, 0, states)
    room = reading.backbone.sizes.context_length - width
    rest_of = [same[1:] for same in by_prompt]
    for prompt, (first, *_) in enumerate(by_prompt):
        if further is not None and len(first.completion) < room:
            rest_of[prompt] += [
                replace(first, index=next(numbers), completion=completion)
                for completion in further(first.index, torch.cat(rows[prompt].parts))
            ]
    others = [
        (common_beginning(one.completion, firsts[prompt]), place, one)
        for place, prompt in enumerate(order)
        for one in rest_of[prompt]
    ]
    others.sort(key=lambda each: (each[0], len(each[2].completion)))
    for common, alike in groupby(others, key=lambda each: each[0]):
        for part in _parts(list(alike), BEHIND):
            rest = [one.completion[common:] for _, _, one in part]
            owners = torch.tensor([place for _, place, _ in part])
            end = width + common
            read = reading.behind(seen.repeated(owners, end, end + len(rest[-1])), rest, layers)
            for (_, place, one), states in zip(part, read, strict=True):
                rows[order[place]].add(one.index, common, states)
    return rows


def _cache(backbone: Backbone, batch: int, width: int) -> KeyValueCache:
    weight = backbone.token_prediction.weight
    return KeyValueCache.allocate(backbone.sizes, batch, width, like=weight)


def _parts(items: list[T], size: int) -> Iterable[list[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))

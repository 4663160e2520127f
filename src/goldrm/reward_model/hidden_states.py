"""Frozen features of prompt + completion, in evaluation mode.

It must not know rewards nor readouts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.prefix_tree import PrefixTree

Further = Callable[[int, Float[Tensor, "tokens embds"]], list[list[int]]]

OUTLOOK = 3  # numbers that `outlook` tells of each token
UNLIKELY = -20.0  # nats


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
    return backbone.last_states(sequences)


@dataclass(frozen=True)
class CompletionStates:
    """Hidden states of completions and of the prompts that they answer.

    Attributes:
        rows: of the prompts' last tokens and of the completions' tokens; what completions of a
            prompt begin with in common is here once.
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
    """A prompt and a completion in a tree, cut to what fits the context.

    Attributes:
        before: token ids that the completion follows: padding, then the prompt.
        prompt: the prompt's nodes.
        completion: the completion's nodes.
    """

    before: list[int]
    prompt: list[int]
    completion: list[int]

    @property
    def judged(self) -> list[int]:
        """The prompt's last node and the completion's."""
        return [self.prompt[-1], *self.completion]

    def with_completion(self, tree: PrefixTree, completion: list[int]) -> "_Placed":
        """Another completion of the prompt."""
        path = tree.add([*self.before, *completion])
        return replace(self, completion=path[len(self.before) :])


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

    Prompts end just behind the middle of the context, with padding on their left, so that what is
    computed of their beginnings is shared. (The course's longest prompts have 21 tokens.) Where a
    completion doesn't fit behind, the prompt ends earlier and its first tokens are lost; of both
    the last tokens count.

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
    of_layers = sorted({*layers, *prompt_layers})
    tree = PrefixTree(backbone, of_layers)
    placed = [_place(tree, backbone, *pair) for pair in zip(prompts, completions, strict=True)]
    states = tree.read()

    def of(wanted: Sequence[int], nodes: Sequence[int]) -> Tensor:
        """The states of some of the layers."""
        rows = states[torch.tensor(nodes, device=states.device)].unflatten(1, (len(of_layers), -1))
        return rows[:, [of_layers.index(layer) for layer in wanted]].flatten(1)

    firsts: dict[int, int] = {}  # of the completions of each prompt, which its last node names
    for number, one in enumerate(placed):
        firsts.setdefault(one.prompt[-1], number)
    if further is not None:
        for number in firsts.values():
            first = placed[number]
            if len(first.before) + len(first.completion) < backbone.sizes.context_length:
                found = further(number, of(layers, first.judged))
                placed += [first.with_completion(tree, completion) for completion in found]
        states = tree.read()
    numbers = {node: prompt for prompt, node in enumerate(firsts)}
    prompt = [numbers[one.prompt[-1]] for one in placed]
    # Each node once, those of a prompt's completions side by side.
    order = sorted(range(len(placed)), key=prompt.__getitem__)
    nodes = list(dict.fromkeys(node for number in order for node in placed[number].judged))
    row = {node: row for row, node in enumerate(nodes)}
    return CompletionStates(
        of(layers, nodes),
        [torch.tensor([row[node] for node in one.judged]) for one in placed],
        [of(prompt_layers, placed[first].prompt) for first in firsts.values()],
        prompt,
    )


def _place(
    tree: PrefixTree, backbone: Backbone, prompt: list[int], completion: list[int]
) -> _Placed:
    context, padding = backbone.sizes.context_length, backbone.sizes.padding_int
    completion = completion[-(context - 1) :]
    width = min(context // 2 + 1, context - len(completion))
    prompt = (prompt or [padding])[-width:]
    before = [padding] * (width - len(prompt)) + prompt
    path = tree.add([*before, *completion])
    return _Placed(before, path[width - len(prompt) : width], path[width:])


@torch.no_grad()
def log_probabilities(
    backbone: Backbone, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> list[Float[Tensor, " _tokens"]]:
    """The language model's log-probability of each completion's tokens and of its end, in nats."""
    top = (backbone.sizes.num_layers,)
    states = completion_hidden_states(backbone, prompts, completions, top, top)
    expected = outlook(backbone, states.rows, states.places, completions)
    return list(expected[:, 0].split(list(map(len, states.places))))


@torch.no_grad()
def outlook(
    backbone: Backbone,
    top: Float[Tensor, "rows embd"],
    places: Sequence[Int[Tensor, " _tokens"]],
    completions: Sequence[list[int]],
) -> Float[Tensor, "tokens 3"]:
    """What the language model expects at completions' tokens, from its last block's states.

    Args:
        backbone: the language model.
        top: the states.
        places: which are each completion's: that of the prompt's last token, then its own.
        completions: token ids of each.

    Returns:
        Log-probabilities, in nats: of what is said next (after the last token: the end), of the
        end, and of the likeliest token. None is below `UNLIKELY`.
    """
    log_softmax = torch.log_softmax(backbone.token_prediction(top), dim=-1)
    end, device = backbone.sizes.eos_int, top.device
    said = [
        token
        for place, completion in zip(places, completions, strict=True)
        for token in [*completion, end][-len(place) :]
    ]
    place = torch.cat(list(places)).to(device)
    expected = (
        log_softmax[place, torch.tensor(said, device=device)],
        log_softmax[place, end],
        log_softmax.max(dim=1).values[place],
    )
    return torch.stack(expected, dim=1).clamp(min=UNLIKELY)

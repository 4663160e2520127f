"""Completions read by the language model, behind prompts, in evaluation mode."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.prefix_tree import PrefixTree

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class ReadCompletions:
    """Which nodes of a reader's tree the tokens of completions and prompts are.

    A completion's first token is its prompt's last one, then come its own; see `States`.

    Attributes:
        nodes: the distinct nodes of the completions' tokens.
        token_rows: which of these each token is, completion after completion.
        next_tokens: the token that follows each; after a completion's last one, the end.
        token_counts: how many tokens each completion has.
        prompt_nodes: the nodes of the distinct prompts' tokens, prompt after prompt.
        prompt_token_counts: how many tokens each prompt has.
        prompt: the number of the prompt that each completion answers, from 0.
    """

    nodes: list[int]
    token_rows: Int[Tensor, " tokens"]
    next_tokens: Int[Tensor, " tokens"]
    token_counts: Int[Tensor, " completions"]
    prompt_nodes: list[int]
    prompt_token_counts: Int[Tensor, " prompts"]
    prompt: Int[Tensor, " completions"]


class _Path(NamedTuple):
    """The nodes of a completion's tokens and of its prompt's, and which tokens follow the former.

    A completion read behind its prompt has the prompt's last node as its first one.
    """

    tokens: list[int]
    prompt: tuple[int, ...]
    next_tokens: list[int]


class CompletionReader:
    """Reads completions, and keeps what it has read: what begins as before isn't read again.

    Prompts end just behind the middle of the context, with padding on their left, so that what is
    computed of their beginnings is shared. (The course's longest prompts have 21 tokens.) Where a
    completion doesn't fit behind, the prompt ends earlier and its first tokens are lost; of both
    the last tokens count.
    """

    def __init__(self, backbone: Backbone, layers: Sequence[int] = ()) -> None:
        """Nothing read yet.

        Args:
            backbone: the frozen language model; it is put into evaluation mode.
            layers: after which blocks hidden states are kept, ascending; none: after the last one.
        """
        self.backbone = backbone.eval()
        self._layers = layers or (backbone.sizes.num_layers,)
        self._tree = PrefixTree(backbone, self._layers)

    @property
    def room(self) -> int:
        """How many tokens of a completion fit behind a prompt that ends where prompts end."""
        return self.backbone.sizes.context_length - self.prompt_width

    @property
    def prompt_width(self) -> int:
        """How many tokens of a prompt are read where its completion fits behind."""
        return self.backbone.sizes.context_length // 2 + 1

    @torch.no_grad()
    def read(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> ReadCompletions:
        """Read completions behind their prompts.

        Args:
            prompts: token ids of each completion's prompt.
            completions: token ids of each, at least one.
        """
        paths = [self._add(*texts) for texts in zip(prompts, completions, strict=True)]
        self._tree.read()
        nodes, token_rows = numbered(node for path in paths for node in path.tokens)
        distinct_prompts, prompt = numbered(path.prompt for path in paths)
        return ReadCompletions(
            nodes=nodes,
            token_rows=self._tensor(token_rows),
            next_tokens=self._tensor([token for path in paths for token in path.next_tokens]),
            token_counts=self._tensor([len(path.tokens) for path in paths]),
            prompt_nodes=[node for own in distinct_prompts for node in own],
            prompt_token_counts=self._tensor([len(own) for own in distinct_prompts]),
            prompt=self._tensor(prompt),
        )

    def _add(self, prompt: list[int], completion: list[int]) -> "_Path":
        sizes = self.backbone.sizes
        completion = completion[-(sizes.context_length - 1) :]
        width = min(self.prompt_width, sizes.context_length - len(completion))
        nodes = self._tree.add([*self._right_aligned(prompt, width), *completion])
        first = max(width - max(len(prompt), 1), 0)  # of an empty prompt a padding token counts
        return _Path(nodes[width - 1 :], tuple(nodes[first:width]), [*completion, sizes.eos_int])

    def _right_aligned(self, prompt: list[int], width: int) -> list[int]:
        """The last `width` tokens, behind padding where there are fewer."""
        return [self.backbone.sizes.padding_int] * (width - len(prompt)) + prompt[-width:]

    def rows(self, nodes: Sequence[int]) -> Float[Tensor, "nodes embds"]:
        """Hidden states of nodes after the layers that are kept, side by side."""
        return self._tree.states.index_select(0, self._tensor(nodes))

    def token_ids(self, nodes: Sequence[int]) -> Int[Tensor, " nodes"]:
        """The token of each node."""
        return self._tensor([self._tree.tokens[node] for node in nodes])

    def _tensor(self, numbers: Sequence[int]) -> Int[Tensor, " numbers"]:
        return torch.tensor(numbers, dtype=torch.int64, device=self._tree.states.device)


def numbered(keys: Iterable[Key]) -> tuple[list[Key], list[int]]:
    """The distinct keys in their order, and which of them each key is."""
    numbers: dict[Key, int] = {}
    which = [numbers.setdefault(key, len(numbers)) for key in keys]
    return list(numbers), which

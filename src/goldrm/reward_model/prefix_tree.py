"""Token sequences of which many begin alike, read by the language model in evaluation mode.

What sequences begin with in common is read once: each node of the tree is a token behind those on
the path to it, from the context's first position on. Nodes of one position are read together, each
attending to the nodes on its own path.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.common.device import rows_together
from goldrm.lm.cache import Cache
from goldrm.lm.model import Backbone

NODES_READ_TOGETHER = 128  # on a CPU


class PrefixTree:
    """Sequences of tokens, and the hidden states of every token of them.

    Attributes:
        tokens: the token of each node.
    """

    def __init__(self, backbone: Backbone, layers: Sequence[int]) -> None:
        """An empty tree.

        Args:
            backbone: the frozen language model, in evaluation mode.
            layers: after which blocks, ascending; a token's states stand side by side. Their
                deepest is the deepest that is computed.
        """
        self._backbone, self._layers = backbone, layers
        self._nodes: dict[tuple[int, int], int] = {}  # what a token behind a node is
        self.tokens: list[int] = []
        self._paths: list[list[int]] = []  # to each node, itself included
        weight, sizes = backbone.token_prediction.weight, backbone.sizes
        heads = (2, sizes.num_heads, sizes.d // sizes.num_heads)
        self._keys_and_values = weight.new_empty((sizes.num_layers, 0, *heads))
        self._states = weight.new_empty((0, len(layers) * sizes.d))

    def add(self, tokens: Sequence[int]) -> list[int]:
        """The nodes of a sequence's tokens; those that are new are not read yet.

        Args:
            tokens: at the context's first positions, at most as many as it has.
        """
        path: list[int] = []
        for token in tokens:
            node = self._nodes.setdefault((path[-1] if path else -1, token), len(self.tokens))
            if node == len(self.tokens):
                self.tokens.append(token)
                self._paths.append([*path, node])
            path.append(node)
        return path

    @property
    def states(self) -> Float[Tensor, "nodes embds"]:
        """The hidden states of the nodes that were read."""
        return self._states

    def read(self) -> None:
        """Read the nodes that are new."""
        new = range(len(self._states), len(self.tokens))
        self._keys_and_values = _longer(self._keys_and_values, 1, len(new))
        self._states = _longer(self._states, 0, len(new))
        ascending = sorted(new, key=self._depth)
        for _, alike in groupby(ascending, key=self._depth):
            nodes = torch.tensor(list(alike), device=self._states.device)
            for part in nodes.split(rows_together(nodes.device, NODES_READ_TOGETHER)):
                self._states[part] = self._hidden_states(part.tolist())

    def _depth(self, node: int) -> int:
        return len(self._paths[node])

    def _hidden_states(self, nodes: list[int]) -> Float[Tensor, "nodes embds"]:
        """What the language model makes of new nodes of one depth, whose paths were read before."""
        device = self._states.device
        tokens = torch.tensor([[self.tokens[node]] for node in nodes], device=device)
        paths = torch.tensor([self._paths[node] for node in nodes], device=device)
        cache = _PathCache(self._keys_and_values, paths)
        return self._backbone.hidden_states(tokens, cache, layers=self._layers).squeeze(1)


class _PathCache(Cache):
    """A cache of which each sequence is the path to a node, the last one being new."""

    def __init__(
        self,
        keys_and_values: Float[Tensor, "layers nodes 2 heads head_size"],
        paths: Int[Tensor, "batch time"],
    ) -> None:
        super().__init__(length=paths.shape[1] - 1)
        self._keys_and_values, self._paths = keys_and_values, paths

    def append(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads 1 head_size"],
        values: Float[Tensor, "batch heads 1 head_size"],
    ) -> tuple[Float[Tensor, "batch heads seen head_size"], ...]:
        """Store a layer's new keys and values; all of the paths, the new ones last."""
        of_nodes = self._keys_and_values[layer]
        of_nodes[self._paths[:, -1]] = torch.stack((keys, values), dim=1).squeeze(3)
        seen = of_nodes.index_select(0, self._paths.flatten()).unflatten(0, self._paths.shape)
        return tuple(seen.permute(2, 0, 3, 1, 4))


def _longer(tensor: Tensor, dim: int, by: int) -> Tensor:
    """The same with room for more."""
    shape = list(tensor.shape)
    shape[dim] += by
    longer = tensor.new_empty(shape)
    longer.narrow(dim, 0, tensor.shape[dim]).copy_(tensor)
    return longer

"""Token sequences of which many begin alike, read by the language model in evaluation mode.

What sequences begin with in common is read once: each node of their tree is a token behind those on
the path to it, from the context's first position on. Nodes of one position are read together, each
attending to the nodes on its own path.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.common.device import rows_together
from goldrm.lm.cache import Cache
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes

NODES_READ_TOGETHER = 128  # on a CPU
NO_TOKEN = -1  # stands behind the end of a sequence that is shorter than others


def prompt_width(sizes: BackboneSizes) -> int:
    """The position behind which prompts end, with padding on their left: the context's middle.

    All end there, so that what is computed of their beginnings is shared. (The course's longest
    prompts have 21 tokens.)
    """
    return sizes.context_length // 2 + 1


class SharedStates(NamedTuple):
    """Hidden states of sequences' tokens, each distinct one once.

    The sequences 5 6 7 and 5 6 8, for example, have the nodes 0 1 2 and 0 1 3.

    Attributes:
        nodes: the node of each token; `NO_TOKEN` behind a sequence's end.
        rows: each node's hidden states.
    """

    nodes: Int[Tensor, "sequences time"]
    rows: Float[Tensor, "nodes embds"]


@torch.no_grad()
def read_shared(
    backbone: Backbone, token_ids: Int[Tensor, "sequences time"], layers: Sequence[int]
) -> SharedStates:
    """Read sequences that stand at the context's first positions.

    Args:
        backbone: the frozen language model; it is put into evaluation mode.
        token_ids: of each sequence, `NO_TOKEN` behind its end.
        layers: after which blocks, ascending; a token's states stand side by side. Blocks after
            the deepest of them aren't computed.
    """
    backbone.eval()
    nodes = torch.full_like(token_ids, NO_TOKEN)
    levels = list(_number_nodes(nodes, token_ids))
    weight, sizes = backbone.token_prediction.weight, backbone.sizes
    count = sum(map(len, levels))
    heads = (2, sizes.num_heads, sizes.d // sizes.num_heads)
    keys_and_values = weight.new_empty((layers[-1], count, *heads))
    rows = weight.new_empty((count, len(layers) * sizes.d))
    for time, sequences in enumerate(levels):
        for part in sequences.split(rows_together(weight.device, NODES_READ_TOGETHER)):
            paths = nodes[part, : time + 1]
            tokens = token_ids[part, time : time + 1]
            cache = _PathCache(keys_and_values, paths)
            rows[paths[:, -1]] = backbone.hidden_states(tokens, cache, layers=layers).squeeze(1)
    return SharedStates(nodes, rows)


def _number_nodes(
    nodes: Int[Tensor, "sequences time"], token_ids: Int[Tensor, "sequences time"]
) -> Iterator[Int[Tensor, " nodes"]]:
    """Fill in the nodes of sequences' tokens, position by position.

    Yields:
        Of each position a sequence through each of its nodes, the first one there is.
    """
    count = 0
    above = int(token_ids.max()) + 1
    behind = torch.zeros_like(token_ids[:, 0])  # the node before, of each sequence
    for time in range(token_ids.shape[1]):
        (reached,) = (token_ids[:, time] != NO_TOKEN).nonzero(as_tuple=True)
        first, numbers = first_and_numbers(behind[reached] * above + token_ids[reached, time])
        behind[reached] = nodes[reached, time] = count + numbers
        count += len(first)
        yield reached[first]


def first_and_numbers(
    keys: Int[Tensor, " keys"],
) -> tuple[Int[Tensor, " distinct"], Int[Tensor, " keys"]]:
    """Where each distinct key stands first, and which of them each key is.

    Example:
        Of keys 7 5 7 9: 0 1 3, and 0 1 0 2.
    """
    distinct, inverse = keys.unique(return_inverse=True)
    positions = torch.arange(len(keys), device=keys.device)
    first = torch.full_like(distinct, len(keys)).scatter_reduce(0, inverse, positions, "amin")
    first, order = first.sort()
    return first, order.argsort()[inverse]


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

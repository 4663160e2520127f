"""Frozen features of prompt + completion: computed once, in evaluation mode.

It must not know rewards nor readouts.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.backbone import Backbone, KeyValueCache

BATCH = 64  # sequences read together; their activations should fit the processor's cache


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
    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    hidden = torch.cat([_read(backbone, [cut[i] for i in batch], width) for batch in batches])
    return hidden[torch.tensor(order).argsort().to(hidden.device)]


def _read(backbone: Backbone, sequences: list[list[int]], width: int) -> Tensor:
    weight = backbone.token_prediction.weight
    cache = KeyValueCache.allocate(backbone.sizes, len(sequences), width, like=weight)
    return backbone.read(sequences, cache, width)

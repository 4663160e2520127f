"""Frozen features of prompt + completion: computed once, in evaluation mode.

It must not know rewards nor readouts.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.backbone import Backbone, right_aligned


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
    sizes = backbone.sizes
    token_ids = right_aligned(list(sequences), sizes.context_length, sizes.padding_int)
    device = backbone.token_prediction.weight.device
    return backbone.hidden_states(token_ids.to(device))[:, -1]

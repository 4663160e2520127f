"""Small language models, and the notebook's states to compare with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from notebook_reference import NotebookLM
from torch import Tensor

from goldrm.lm.sizes import BackboneSizes
from goldrm.task.dictionary import Dictionary

ROOT = Path(__file__).parent.parent


def sizes_for(dictionary: Dictionary) -> BackboneSizes:
    """The notebook's context and vocabulary, but narrow and shallow."""
    return BackboneSizes(
        num_tokens=len(dictionary),
        d=24,
        num_heads=3,
        context_length=40,
        dropout=0.1,
        num_layers=2,
        padding_int=dictionary.pad_id,
        eos_int=dictionary.eos_id,
    )


@torch.no_grad()
def layer_states(lm: NotebookLM, token_ids: Tensor, layers: Sequence[int]) -> Tensor:
    """States after some of the notebook's blocks, side by side; 0: what the first block reads."""
    states: list[Tensor] = []
    hooks = [
        lm.transformer_blocks[0].register_forward_pre_hook(lambda _, args: states.append(args[0]))
    ]
    hooks += [
        block.register_forward_hook(lambda _, args, output: states.append(output))
        for block in lm.transformer_blocks
    ]
    lm.hidden_states(token_ids)
    for hook in hooks:
        hook.remove()
    return torch.cat([states[layer] for layer in layers], dim=-1)

"""A language model whose completions are known."""

from dataclasses import replace

import torch
from torch import nn

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes


def successor_model(sizes: BackboneSizes, successors: dict[int, int], scale: float) -> Backbone:
    """A model that knows the last token only: its successor has logit `scale`, all others 0."""
    model = Backbone(replace(sizes, d=sizes.num_tokens, num_heads=1, num_layers=1))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    nn.init.eye_(model.token2vec.token2vec.weight)
    with torch.no_grad():
        for token_id, successor in successors.items():
            model.token_prediction.weight[successor, token_id] = scale
    return model.frozen()

"""OPT's weights are the backbone's, by other names; `test_transformers.py` loads them."""

from copy import deepcopy

import pytest
import torch

from goldrm.common.errors import GoldrmError
from goldrm.huggingface.opt import opt_state
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes


@torch.no_grad()
def test_a_constant_of_the_last_block_does_what_the_output_bias_does(wide_backbone: Backbone):
    changed = deepcopy(wide_backbone)
    state = opt_state(wide_backbone)
    changed.transformer_blocks[1].MLP[3].bias.copy_(state["model.decoder.layers.1.fc2.bias"])
    changed.token_prediction.bias.zero_()
    token_ids = torch.arange(120).view(3, 40)
    assert wide_backbone.token_prediction.bias.abs().max() > 0.05
    torch.testing.assert_close(changed(token_ids), wide_backbone(token_ids), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        changed.double()(token_ids), deepcopy(wide_backbone).double()(token_ids), atol=1e-6, rtol=0
    )


def test_queries_keys_and_values_are_the_parts_of_the_packed_projection(wide_backbone: Backbone):
    attention = wide_backbone.transformer_blocks[1].MHA.MHA
    state = opt_state(wide_backbone)
    for name, packed in (("weight", attention.in_proj_weight), ("bias", attention.in_proj_bias)):
        parts = [
            state[f"model.decoder.layers.1.self_attn.{kind}_proj.{name}"]
            for kind in ("q", "k", "v")
        ]
        assert torch.equal(torch.cat(parts), packed)


def test_positions_begin_behind_two_unused_rows(wide_backbone: Backbone):
    positions = opt_state(wide_backbone)["model.decoder.embed_positions.weight"]
    assert torch.equal(positions[2:], wide_backbone.PE_embedding.weight)
    assert not positions[:2].any()


def test_a_model_too_narrow_for_its_tokens_is_refused(small_sizes: BackboneSizes):
    torch.manual_seed(0)
    with pytest.raises(GoldrmError, match="129 tokens and hidden states of 24 numbers"):
        opt_state(Backbone(small_sizes))

"""The language model as transformers' stock `OPTForCausalLM`: its configuration and its weights.

OPT has the notebook's architecture but for two things. It keeps two unused rows in front of the
positions, and its output layer has no bias. There being no LayerNorm behind the last block, a
constant that the last block adds does what the bias does.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone, TransformerBlock
from goldrm.lm.sizes import BackboneSizes

UNUSED_POSITIONS = 2  # rows that OPT keeps in front of its positions
HIGHEST_ERROR = 1e-6  # of the output bias, in logits


def opt_config(sizes: BackboneSizes) -> dict[str, Any]:
    """What stands in config.json.

    Dropout is 0: OPT has it elsewhere than this model, which was trained with its own.
    """
    return {
        "model_type": "opt",
        "architectures": ["OPTForCausalLM"],
        "vocab_size": sizes.num_tokens,
        "hidden_size": sizes.d,
        "word_embed_proj_dim": sizes.d,
        "ffn_dim": 4 * sizes.d,
        "num_hidden_layers": sizes.num_layers,
        "num_attention_heads": sizes.num_heads,
        "max_position_embeddings": sizes.context_length,
        "activation_function": "relu",
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": True,
        "tie_word_embeddings": False,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "layerdrop": 0.0,
        "pad_token_id": sizes.padding_int,
        "bos_token_id": None,
        "eos_token_id": sizes.eos_int,
        "dtype": "float32",
    }


@torch.no_grad()
def opt_state(backbone: Backbone) -> dict[str, Tensor]:
    """The weights by OPT's names; its logits are the backbone's, to rounding.

    Raises:
        GoldrmError: when no constant does what the output bias does.
    """
    positions = backbone.PE_embedding.weight
    state = {
        "model.decoder.embed_tokens.weight": backbone.token2vec.token2vec.weight,
        "model.decoder.embed_positions.weight": torch.cat(
            (positions.new_zeros(UNUSED_POSITIONS, positions.shape[1]), positions)
        ),
        "lm_head.weight": backbone.token_prediction.weight,
    }
    for layer, block in enumerate(backbone.transformer_blocks):
        assert isinstance(block, TransformerBlock)
        own = _block_state(block)
        state |= {f"model.decoder.layers.{layer}.{name}": own[name] for name in own}
    last_bias = f"model.decoder.layers.{backbone.sizes.num_layers - 1}.fc2.bias"
    state[last_bias] = state[last_bias] + _absorbed_bias(backbone.token_prediction)
    return state


def _block_state(block: TransformerBlock) -> dict[str, Tensor]:
    attention = block.MHA.MHA
    kinds = ("q_proj", "k_proj", "v_proj")
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    state = {f"self_attn.{kind}.weight": part for kind, part in zip(kinds, weights, strict=True)}
    state |= {f"self_attn.{kind}.bias": part for kind, part in zip(kinds, biases, strict=True)}
    modules = {
        "self_attn.out_proj": attention.out_proj,
        "self_attn_layer_norm": block.LN_MHA,
        "fc1": block.MLP[0],
        "fc2": block.MLP[3],
        "final_layer_norm": block.LN_MLP,
    }
    for name, module in modules.items():
        state |= {f"{name}.{key}": tensor for key, tensor in module.named_parameters()}
    return state


def _absorbed_bias(output: torch.nn.Linear) -> Float[Tensor, " embd"]:
    """The shortest constant whose logits are the output layer's bias."""
    weight, bias = output.weight.cpu().double(), output.bias.cpu().double()
    constant = torch.linalg.pinv(weight) @ bias
    error = float((weight @ constant - bias).abs().max())
    if error > HIGHEST_ERROR:
        raise GoldrmError(
            f"the language model has {len(bias)} tokens and hidden states of {weight.shape[1]} "
            f"numbers, too few for OPT, which has no output bias, to have the same logits (they "
            f"would differ by {error:.2g}). Train one whose d is {len(bias)} or more."
        )
    return constant.to(output.weight)

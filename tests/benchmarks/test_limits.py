"""How many FLOPs a task needs, counted by hand for a model of width 2 with two blocks.

There a block takes 2·12·2² = 96 a token, of which keys and values take 2·2·2² = 16, and three
tokens' logits take 2·2·3 = 12. Reading n tokens takes a block and keys and values of each, and the
rest of the last block, 80, once: 112 n + 80.
"""

import pytest
import torch
from limits import Product, multiply, policy_step_flops, prompts_flops

from goldrm.lm.sizes import BackboneSizes

SIZES = BackboneSizes(
    num_tokens=3, d=2, num_heads=1, context_length=8, dropout=0.0, num_layers=2, padding_int=0,
    eos_int=1,
)  # fmt: skip


def test_products_are_counted():
    cpu = torch.device("cpu")
    assert multiply(Product(cpu, "float32", rows=3, inner=2, outer=4, times=5)) == 5 * 2 * 3 * 2 * 4


def test_a_policys_step_takes_four_forward_passes():
    """A prompt of 3 tokens; completions of 2, of which one is read, and of the end alone."""
    prompt, completions = 112 * 3 + 80, (2 * 96 + 2 * 12) + 12
    assert policy_step_flops(SIZES, [3], [2, 1]) == 4 * (prompt + completions)


@pytest.mark.parametrize(
    ("prompts", "tokens"),
    [
        ([[5, 6]], 2),
        ([[5, 6], [5, 6]], 2),
        ([[5, 6], [5, 7]], 3),
        ([[5, 6], [7, 6]], 4),
        ([[5, 6], [5, 6, 7]], 5),  # another length: other positions
    ],
)
def test_what_prompts_begin_with_is_read_once(prompts: list[list[int]], tokens: int):
    assert prompts_flops(SIZES, prompts, blocks=1) == tokens * 96
    assert prompts_flops(SIZES, prompts, blocks=2) == tokens * 2 * 96

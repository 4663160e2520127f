"""The exported model's decoding, against one prompt at a time from the context's first position."""

import torch
from exported_models import PROMPTS

from goldrm.huggingface.decoding import LEADING_PADDING, complete_as_exported
from goldrm.lm.model import Backbone
from goldrm.task.dictionary import Dictionary


@torch.no_grad()
def one_by_one(backbone: Backbone, prompt: list[int]) -> list[int]:
    """The likeliest token, again and again, all logits computed anew each time."""
    sizes = backbone.sizes
    read = [sizes.padding_int] * LEADING_PADDING + prompt
    first = len(read)
    while len(read) <= sizes.context_length:
        token = int(backbone(torch.tensor([read]))[0, -1].argmax())
        if token == sizes.eos_int:
            break
        read.append(token)
    return read[first:]


def test_prompts_of_all_lengths_are_read_from_the_first_position_on(
    wide_backbone: Backbone, dictionary: Dictionary
):
    prompts = [dictionary.encode(prompt) for prompt in [*PROMPTS, PROMPTS[0], PROMPTS[1]]]
    expected = [one_by_one(wide_backbone, prompt) for prompt in prompts]
    assert len({tuple(completion) for completion in expected}) == 3
    assert complete_as_exported(wide_backbone, prompts) == expected

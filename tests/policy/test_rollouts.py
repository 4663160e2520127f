"""The logits of a pass over whole completions are those that the decoder samples by."""

import torch
from successor_model import successor_model

from goldrm.common.random_streams import random_stream
from goldrm.generation.decoding import CachedDecoder
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.policy.rollouts import Rollouts, action_logits, sample

PROMPTS = [[5, 6, 7], [1, 2, 3, 4, 5, 6, 7], [9]]


def sampled(backbone: Backbone, max_new_tokens: int = 6) -> Rollouts:
    with random_stream(0, "test"):
        return sample(backbone, PROMPTS, 4, 1.0, max_new_tokens)


def test_logits_are_the_decoders(backbone: Backbone):
    """Token by token, each completion decoded by itself."""
    rollouts = sampled(backbone)
    assert len({len(own) for own in rollouts.actions}) > 1 or len(rollouts.actions) > 3
    logits = action_logits(backbone, rollouts)
    for row, (prompt, actions) in enumerate(
        zip(rollouts.prompt.tolist(), rollouts.actions, strict=True)
    ):
        decoder = CachedDecoder(backbone, [PROMPTS[prompt]], rollouts.max_new_tokens)
        for time, action in enumerate(actions):
            torch.testing.assert_close(logits[row, time], decoder.logits()[0], atol=1e-5, rtol=1e-5)
            if time + 1 < len(actions):
                decoder.extend(torch.tensor([action]))


def test_gradients_are_those_of_reading_everything_anew(backbone: Backbone):
    """Each prompt is read once, whatever is read behind it; here it is, for every completion."""
    rollouts = sampled(backbone)
    backbone.requires_grad_(True)
    width = backbone.sizes.context_length - rollouts.max_new_tokens + 1
    weights = torch.randn(action_logits(backbone, rollouts).shape)
    weights *= rollouts.is_action[..., None]

    def gradient(logits: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((logits * weights).sum(), list(backbone.parameters())))

    padding = backbone.sizes.padding_int
    whole = torch.tensor(
        [
            [padding] * (width - len(PROMPTS[prompt])) + PROMPTS[prompt] + ids[:-1]
            for prompt, ids in zip(
                rollouts.prompt.tolist(), rollouts.action_ids(padding).tolist(), strict=True
            )
        ]
    )
    for fast, slow in zip(
        gradient(action_logits(backbone, rollouts)),
        gradient(backbone(whole)[:, width - 1 :]),
        strict=True,
    ):
        torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)


def test_the_end_is_an_action_where_the_policy_ended(small_sizes: BackboneSizes):
    """1 → 2 → 3 → end; 7 → 8 → 7 → … is cut off, and has none."""
    end = small_sizes.eos_int
    model = successor_model(small_sizes, {1: 2, 2: 3, 3: end, 7: 8, 8: 7}, scale=1e4)
    rollouts = sample(model, [[1], [7]], copies=2, temperature=1.0, max_new_tokens=4)
    assert rollouts.actions == [(2, 3, end), (8, 7, 8, 7)]
    assert rollouts.without_end(end) == [[2, 3], [8, 7, 8, 7]]
    assert rollouts.prompt.tolist() == [0, 1]
    assert rollouts.sampled.tolist() == [[0, 0], [1, 1]]
    assert rollouts.is_action.tolist() == [[True, True, True, False], [True] * 4]
    assert rollouts.action_ids(0).tolist() == [[2, 3, end, 0], [8, 7, 8, 7]]


def test_equal_completions_of_two_prompts_are_two(small_sizes: BackboneSizes):
    end = small_sizes.eos_int
    model = successor_model(small_sizes, {1: 2, 5: 2, 2: end}, scale=1e4)
    rollouts = sample(model, [[1], [5]], copies=2, temperature=1.0, max_new_tokens=4)
    assert rollouts.actions == [(2, end), (2, end)]
    assert rollouts.sampled.tolist() == [[0, 0], [1, 1]]


def test_an_empty_completion_is_one_action(small_sizes: BackboneSizes):
    end = small_sizes.eos_int
    model = successor_model(small_sizes, {1: end}, scale=1e4)
    rollouts = sample(model, [[1]], copies=2, temperature=1.0, max_new_tokens=4)
    assert rollouts.actions == [(end,)]
    assert int(action_logits(model, rollouts)[0, 0].argmax()) == end

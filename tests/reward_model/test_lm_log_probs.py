"""What the language model expects is its plain softmax, of whole sequences."""

import pytest
import torch
from notebook_reference import NotebookLM
from small_states import EOS, in_context, texts_of_every_length
from torch import Tensor

from goldrm.lm.model import Backbone
from goldrm.reward_model.lm_log_probs import (
    LOWEST_LOG_PROB,
    completion_room,
    log_probabilities,
    next_token_probs,
)

Texts = tuple[list[list[int]], list[list[int]]]


@pytest.fixture
def texts() -> Texts:
    return texts_of_every_length()


@torch.no_grad()
def notebooks_log_probs(lm: NotebookLM, prompt: list[int], completion: list[int]) -> Tensor:
    """Of every token after the prompt and after each of the completion's."""
    token_ids, last_of_prompt = in_context(prompt, completion)
    return torch.log_softmax(lm(token_ids)[0, last_of_prompt:], dim=1)


def test_log_probabilities_are_those_of_whole_sequences(
    backbone: Backbone, reference_lm: NotebookLM, texts: Texts
):
    """Of each token after those before it, and of the end after all."""
    found = log_probabilities(backbone, *texts)
    for prompt, completion, logs in zip(*texts, found, strict=True):
        expected = notebooks_log_probs(reference_lm, prompt, completion)
        tokens = [*completion[-39:], EOS]
        assert logs.tolist() == pytest.approx(
            [float(row[token]) for row, token in zip(expected, tokens, strict=True)], abs=1e-5
        )


def test_next_tokens_probabilities_are_those_of_whole_sequences(
    backbone: Backbone, reference_lm: NotebookLM, texts: Texts
):
    """Of every token, also of one so unlikely that a float32 softmax would say 0."""
    for model in (backbone, reference_lm):
        model.token_prediction.bias.data[3] = -400.0
    found = next_token_probs(backbone, *texts)
    for prompt, completion, probs in zip(*texts, found, strict=True):
        expected = notebooks_log_probs(reference_lm, prompt, completion)
        torch.testing.assert_close(probs.log().float(), expected, atol=1e-4, rtol=1e-6)
        torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)).double())


def test_the_courses_longest_prompt_is_whole_before_so_many_tokens(
    backbone: Backbone, reference_lm: NotebookLM
):
    """Of 21 tokens; before one token more it loses its first one."""
    prompt, room = list(range(21)), completion_room(backbone.sizes)
    assert room == 19
    found = next_token_probs(backbone, [prompt, prompt], [[5] * room, [5] * (room + 1)])
    for probs, kept in zip(found, (prompt, prompt[1:]), strict=True):
        expected = notebooks_log_probs(reference_lm, kept, [5] * (len(probs) - 1))
        torch.testing.assert_close(probs.log().float(), expected, atol=1e-4, rtol=1e-6)


def test_none_is_below_the_lowest(backbone: Backbone):
    """Infinities would outweigh all else."""
    backbone.token_prediction.weight.data.zero_()
    backbone.token_prediction.bias.data[[7, EOS]] = torch.tensor([1000.0, -torch.inf])
    found = log_probabilities(backbone, [[1], [1]], [[5, 7], []])
    low = LOWEST_LOG_PROB
    assert [logs.tolist() for logs in found] == [[low, 0.0, low], [low]]


def test_log_probabilities_carry_no_gradient(backbone: Backbone, texts: Texts):
    backbone.requires_grad_(True)
    assert not any(logs.requires_grad for logs in log_probabilities(backbone, *texts))
    assert not next_token_probs(backbone, [[1]], [[2]])[0].requires_grad

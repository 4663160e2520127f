"""Many prompts at once, with a cache or without: the completions are the notebook's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from notebook_reference import NotebookLM, generate, pick_greedy
from scipy import stats
from successor_model import successor_model
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.generation.decoding import (
    CachedDecoder,
    Decoder,
    SlidingWindowDecoder,
    compacted_rows,
    complete,
    pick_tokens,
)
from goldrm.generation.params import DecoderName
from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes

DECODERS: tuple[DecoderName, ...] = ("kv_cache", "sliding_window")


@pytest.fixture(scope="module")
def counting() -> Backbone:
    """After n it says n + 1, up to 8 and the end; its context is 12 positions."""
    sizes = BackboneSizes(
        num_tokens=10,
        d=10,
        num_heads=1,
        context_length=12,
        dropout=0.0,
        num_layers=1,
        padding_int=0,
        eos_int=9,
    )
    return successor_model(sizes, {n: n + 1 for n in range(9)}, scale=1.0)


def some_prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(127, (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture
def reference_lm(reference_lm: NotebookLM) -> NotebookLM:
    """Attends strongly, so that all tokens and positions count, and ends at many lengths."""
    with torch.no_grad():
        for block in reference_lm.transformer_blocks:
            block.MHA.MHA.in_proj_weight *= 3
            block.MHA.MHA.out_proj.weight *= 3
        reference_lm.token_prediction.bias[128] += 3
    return reference_lm


@torch.no_grad()
def recomputed(lm: NotebookLM, prompt: list[int], max_new_tokens: int) -> list[int]:
    """Greedy decoding at the positions of a cached decoder, everything computed for each token."""
    width = 40 - max_new_tokens + 1
    sequence = [127] * (width - len(prompt)) + prompt
    completion: list[int] = []
    while len(completion) < max_new_tokens:
        token_id = int(lm(torch.tensor([sequence + completion]))[0, -1].argmax())
        if token_id == 128:
            break
        completion.append(token_id)
    return completion


@torch.no_grad()
def test_sliding_window_is_the_notebooks(backbone: Backbone, reference_lm: NotebookLM):
    prompts = some_prompts(1, 2, 5, 9, 15, 21, 39, 40, 41, 55)
    completions = complete(backbone, prompts, "sliding_window", 0.0, 20)
    assert completions == [
        generate(reference_lm, torch.tensor(prompt), 20, pick_greedy) for prompt in prompts
    ]
    assert len(set(map(len, completions))) > 4, "they should end at different lengths"


def test_cached_decoding_is_a_full_recomputation(backbone: Backbone, reference_lm: NotebookLM):
    prompts = some_prompts(1, 2, 3, 4, 5, 8, 13, 15, 18, 21)
    completions = complete(backbone, prompts, "kv_cache", 0.0, 20)
    assert completions == [recomputed(reference_lm, prompt, 20) for prompt in prompts]
    assert len(set(map(len, completions))) > 4, "they should end at different lengths"


@pytest.mark.parametrize("decoder", DECODERS)
def test_completion_does_not_depend_on_its_company(backbone: Backbone, decoder: DecoderName):
    prompts = some_prompts(3, 21, 9, 14, 1, 17)
    together = complete(backbone, prompts, decoder, 0.0, 20)
    assert together == [complete(backbone, [prompt], decoder, 0.0, 20)[0] for prompt in prompts]
    assert together[::-1] == complete(backbone, prompts[::-1], decoder, 0.0, 20)


@pytest.mark.parametrize("decoder", DECODERS)
def test_end_token_ends_a_completion_and_is_not_part_of_it(
    counting: Backbone, decoder: DecoderName
):
    prompts = [[3], [7, 1], [8], [1, 2, 6], [5, 5]]
    completions = [[4, 5, 6, 7, 8], [2, 3, 4, 5, 6, 7, 8], [], [7, 8], [6, 7, 8]]
    assert complete(counting, prompts, decoder, 0.0, 8) == completions


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("max_new_tokens", "completion"), [(1, [2]), (3, [2, 3, 4])])
def test_completion_is_no_longer_than_max_new_tokens(
    counting: Backbone, decoder: DecoderName, max_new_tokens: int, completion: list[int]
):
    assert complete(counting, [[1]], decoder, 0.0, max_new_tokens) == [completion]


@pytest.mark.parametrize("max_new_tokens", [4, 5])
def test_prompt_and_completion_may_fill_the_context(counting: Backbone, max_new_tokens: int):
    """8 + 4 tokens fill the 12 positions; a fifth is predicted from the last and never read."""
    prompt = [7, 6, 5, 4, 3, 2, 1, 1]
    completion = complete(counting, [[1], prompt], "kv_cache", 0.0, max_new_tokens)[1]
    assert completion == [2, 3, 4, 5, 6][:max_new_tokens]


def test_prompt_too_long_for_the_cache_is_refused(counting: Backbone):
    prompt = [7, 6, 5, 4, 3, 2, 1, 1]
    with pytest.raises(GoldrmError, match=r"sampling\.max_new_tokens is 6.* 8 tokens .* 5 in"):
        complete(counting, [[1], prompt], "kv_cache", 0.0, 6)
    assert complete(counting, [prompt], "sliding_window", 0.0, 6) == [[2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("max_new_tokens", [12, 13, 14, 100])
def test_max_new_tokens_beyond_the_context_is_refused(counting: Backbone, max_new_tokens: int):
    with pytest.raises(GoldrmError, match=rf"sampling\.max_new_tokens is {max_new_tokens}"):
        complete(counting, [[1, 2]], "kv_cache", 0.0, max_new_tokens)


@pytest.mark.parametrize(
    "decoder_of",
    [lambda model, prompts: CachedDecoder(model, prompts, 5), SlidingWindowDecoder],
    ids=DECODERS,
)
@torch.no_grad()
def test_decoder_has_logits_of_the_kept_rows(
    counting: Backbone, decoder_of: Callable[[Backbone, list[list[int]]], Decoder]
):
    decoder = decoder_of(counting, [[1], [2], [3], [4]])
    decoder.keep_rows(torch.tensor([3, 1]))
    assert decoder.logits().argmax(dim=1).tolist() == [5, 3]
    decoder.extend(torch.tensor([6, 7]))
    assert decoder.logits().argmax(dim=1).tolist() == [7, 8]


@pytest.mark.parametrize(("training", "reads"), [(False, 3), (True, 7)])
def test_equal_prompts_are_read_once_without_dropout(
    small_sizes: BackboneSizes,
    reference_lm: NotebookLM,
    monkeypatch: pytest.MonkeyPatch,
    training: bool,
    reads: int,
):
    """Wherever they stand; each completion is that of its own prompt."""
    read: list[int] = []
    method = Backbone.read_right_aligned

    def noted(self: Backbone, sequences: list[list[int]], *args: Any) -> Iterator[Tensor]:
        read.append(len(sequences))
        return method(self, sequences, *args)

    monkeypatch.setattr(Backbone, "read_right_aligned", noted)
    model = Backbone(replace(small_sizes, dropout=0.0)).train(training)
    model.load_state_dict(reference_lm.state_dict())
    first, second, third = some_prompts(5, 5, 14)
    prompts = [first, second, first, third, third, second, first]
    completions = complete(model, prompts, "kv_cache", 0.0, 20)
    assert completions == [recomputed(reference_lm, prompt, 20) for prompt in prompts]
    assert len(set(map(tuple, completions))) == 3
    assert read == [reads]


@pytest.mark.parametrize(
    ("is_kept", "rows"),
    [([1, 0, 1, 1], [0, 3, 2]), ([1, 1, 0], [0, 1]), ([0, 0, 1, 0, 1], [2, 4]), ([0, 0], [])],
)
def test_compacted_rows_by_hand(is_kept: list[int], rows: list[int]):
    assert compacted_rows(torch.tensor(is_kept) == 1).tolist() == rows


def test_pick_at_temperature_0_takes_the_likeliest():
    logits = torch.tensor([[0.0, 3.0, 2.9], [-1.0, -2.0, -3.0], [0.0, 0.0, 1e-6]])
    assert pick_tokens(logits, 0.0).tolist() == [1, 0, 2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_pick_follows_the_softmax(temperature: float):
    draws = 20_000
    # exp(logit / temperature) by hand: powers of 2, 1 and 1/2 of these weights.
    weights = torch.tensor([1.0, 2.0, 3.0, 6.0])
    expected = weights ** (1 / temperature)
    with random_stream(0, "test pick"):
        picked = pick_tokens(weights.log().repeat(draws, 1), temperature)
    counts = torch.bincount(picked, minlength=4)
    expected_counts = (expected / expected.sum() * draws).double().numpy()
    expected_counts *= draws / expected_counts.sum()
    assert stats.chisquare(counts.numpy(), expected_counts).pvalue > 1e-3


def test_low_temperature_sharpens():
    logits = torch.tensor([0.0, 1.0, 2.0]).repeat(2000, 1)
    with random_stream(0, "test pick"):
        shares = [
            float((pick_tokens(logits, temperature) == 2).float().mean())
            for temperature in (0.1, 0.5, 1.0, 4.0)
        ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99


@pytest.mark.parametrize("decoder", DECODERS)
def test_each_completion_is_sampled_on_its_own(backbone: Backbone, decoder: DecoderName):
    with random_stream(0, "test sampling"):
        completions = complete(backbone, some_prompts(9) * 6, decoder, 1.0, 20)
    assert len(set(map(tuple, completions))) > 3


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_alone_tells_copies_of_a_prompt_apart(
    small_sizes: BackboneSizes, decoder: DecoderName, dropout: bool
):
    with random_stream(0, "test dropout"):
        model = Backbone(replace(small_sizes, dropout=0.5)).train(dropout)
        completions = complete(model, some_prompts(9) * 6, decoder, 0.0, 20)
    assert len(set(map(tuple, completions))) == (6 if dropout else 1)


@pytest.mark.parametrize("training", [True, False])
def test_completing_leaves_the_mode_as_it_is(backbone: Backbone, training: bool):
    backbone.train(training)
    complete(backbone, some_prompts(3), "kv_cache", 0.0, 2)
    assert backbone.training == training

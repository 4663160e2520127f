"""The backbone is the notebook's model; its cache changes the speed and nothing else."""

from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import NotebookLM, NotebookRM
from torch import Tensor, nn

from goldrm.backbone import Backbone, BackboneSizes, KeyValueCache, right_aligned

NOTEBOOK = BackboneSizes(
    num_tokens=129,
    d=384,
    num_heads=6,
    context_length=40,
    dropout=0.1,
    num_layers=6,
    padding_int=127,
    eos_int=128,
)


def some_ids(batch: int, time: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(NOTEBOOK.num_tokens, (batch, time), generator=generator)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("time", [1, 17, 40])
@torch.no_grad()
def test_logits_are_the_notebooks(backbone: Backbone, reference_lm: NotebookLM, time: int):
    token_ids = some_ids(5, time)
    torch.testing.assert_close(backbone(token_ids), reference_lm(token_ids), atol=1e-5, rtol=0)


@torch.no_grad()
def test_logits_in_training_mode_without_dropout_are_the_notebooks(
    small_sizes: BackboneSizes, reference_lm: NotebookLM
):
    model = Backbone(replace(small_sizes, dropout=0.0)).train()
    model.load_state_dict(reference_lm.state_dict())
    token_ids = some_ids(5, 40)
    torch.testing.assert_close(model(token_ids), reference_lm(token_ids), atol=1e-5, rtol=0)


def test_state_dict_fits_both_ways(small_sizes: BackboneSizes):
    ours, notebooks = Backbone(small_sizes), NotebookLM(**asdict(small_sizes))
    assert list(ours.state_dict()) == list(notebooks.state_dict())
    notebooks.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(notebooks.state_dict(), strict=True)


def test_full_size_has_the_notebooks_parameters():
    with torch.device("meta"):
        backbone = Backbone(NOTEBOOK)
        reference = NotebookLM(**asdict(NOTEBOOK))
    assert parameters(backbone) == parameters(reference) == 10_761_345
    with torch.device("meta"):
        assert parameters(NotebookRM(reference)) == 10_910_338


@torch.no_grad()
def test_cached_hidden_states_are_the_full_ones_at_every_step(backbone: Backbone):
    token_ids = some_ids(4, 40)
    cache = KeyValueCache.allocate(backbone.sizes, 4, 40, like=backbone.token_prediction.weight)
    full = backbone.hidden_states(token_ids)
    prefilled = backbone.hidden_states(token_ids[:, :21], cache)
    torch.testing.assert_close(prefilled, full[:, :21], atol=1e-5, rtol=0)
    for position in range(21, 40):
        step = backbone.hidden_states(token_ids[:, position : position + 1], cache)
        torch.testing.assert_close(step[:, 0], full[:, position], atol=1e-5, rtol=0)


@torch.no_grad()
def test_cache_serves_the_kept_rows_only(backbone: Backbone):
    token_ids = some_ids(5, 40)
    cache = KeyValueCache.allocate(backbone.sizes, 5, 40, like=backbone.token_prediction.weight)
    full = backbone.hidden_states(token_ids)
    backbone.hidden_states(token_ids[:, :10], cache)
    left = torch.arange(5)
    for position, kept in [(10, [0, 4, 2, 3]), (11, [3, 1]), (12, [1])]:
        cache.keep(torch.tensor(kept))
        left = left[kept]
        step = backbone.hidden_states(token_ids[left, position : position + 1], cache)
        torch.testing.assert_close(step[:, 0], full[left, position], atol=1e-5, rtol=0)


@torch.no_grad()
def test_cached_decoding_in_training_mode_without_dropout_is_the_full_one(
    small_sizes: BackboneSizes, backbone: Backbone
):
    model = Backbone(replace(small_sizes, dropout=0.0)).train()
    model.load_state_dict(backbone.state_dict())
    token_ids = some_ids(3, 12)
    cache = KeyValueCache.allocate(model.sizes, 3, 12, like=model.token_prediction.weight)
    steps = [model.hidden_states(token_ids[:, :9], cache)]
    steps += [model.hidden_states(token_ids[:, i : i + 1], cache) for i in range(9, 12)]
    full = backbone.hidden_states(token_ids)
    torch.testing.assert_close(torch.cat(steps, dim=1), full, atol=1e-5, rtol=0)


def silence_attention(model: Backbone) -> None:
    for block in model.transformer_blocks:
        nn.init.zeros_(block.MHA.MHA.out_proj.weight)


def silence_mlp(model: Backbone) -> None:
    for block in model.transformer_blocks:
        nn.init.zeros_(block.MLP[3].weight)


@pytest.mark.parametrize("silence", [silence_attention, silence_mlp])
@torch.no_grad()
def test_mlp_and_attention_each_drop_out_in_training_mode_only(backbone: Backbone, silence):
    silence(backbone)
    token_ids = some_ids(4, 40)
    assert torch.equal(backbone(token_ids), backbone(token_ids))
    backbone.train()
    assert not torch.equal(backbone(token_ids), backbone(token_ids))


@torch.no_grad()
def test_dropout_in_attention_keeps_the_mean(small_sizes: BackboneSizes):
    """Its output is linear in the weights that are dropped, so the mean is the full output."""
    copies = 4000
    attention = Backbone(replace(small_sizes, dropout=0.3)).transformer_blocks[0].MHA.MHA
    torch.manual_seed(3)
    hidden = torch.randn(1, 6, small_sizes.d)
    exact = attention.eval()(hidden, 0, None, False)[0]
    dropped = attention.train()(hidden.repeat(copies, 1, 1), 0, None, False)
    error = (dropped.mean(0) - exact).abs()
    assert (error < 5 * dropped.std(0) / copies**0.5 + 1e-6).all()


def test_frozen_model_has_neither_gradients_nor_dropout(small_sizes: BackboneSizes):
    frozen = Backbone(small_sizes).frozen()
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_right_aligned_by_hand():
    rows = right_aligned([[1, 2], [1, 2, 3], [1, 2, 3, 4, 5]], width=3, padding_int=9)
    assert rows.tolist() == [[9, 1, 2], [1, 2, 3], [3, 4, 5]]


@given(st.lists(st.lists(st.integers(0, 126), min_size=1, max_size=60), min_size=1, max_size=6))
def test_right_aligned_keeps_each_rows_last_tokens(sequences: list[list[int]]):
    for row, tokens in zip(right_aligned(sequences, 40, 127).tolist(), sequences, strict=True):
        assert len(row) == 40
        assert [token for token in row if token != 127] == tokens[-40:]
        assert row[-1] == tokens[-1]

"""The backbone is the notebook's model; its cache changes the speed and nothing else."""

from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import NotebookLM, NotebookRM
from small_models import layer_states
from torch import Tensor, nn

from goldrm.lm.cache import KeyValueCache
from goldrm.lm.model import Backbone, right_aligned
from goldrm.lm.sizes import BackboneSizes

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
    cache = cache_for(backbone, 4)
    full = backbone.hidden_states(token_ids)
    prefilled = backbone.hidden_states(token_ids[:, :21], cache)
    torch.testing.assert_close(prefilled, full[:, :21], atol=1e-5, rtol=0)
    for position in range(21, 40):
        step = backbone.hidden_states(token_ids[:, position : position + 1], cache)
        torch.testing.assert_close(step[:, 0], full[:, position], atol=1e-5, rtol=0)


def cache_for(model: Backbone, batch: int, positions: int = 40) -> KeyValueCache:
    """In memory that holds, as fresh memory may, what isn't a number."""
    sizes = model.sizes
    shape = (sizes.num_layers, 2, batch, sizes.num_heads, positions, sizes.d // sizes.num_heads)
    return KeyValueCache(torch.full(shape, float("nan")))


@pytest.mark.parametrize("layers", [[0], [1], [2], [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_states_of_any_layers_of_all_positions_or_the_last(
    small_sizes: BackboneSizes, reference_lm: NotebookLM, layers: list[int], mode: str
):
    """With a cache or without; the keys of positions that aren't asked for are in it too."""
    model = Backbone(replace(small_sizes, dropout=0.0)).train(mode == "train")
    model.load_state_dict(reference_lm.state_dict())
    token_ids = some_ids(4, 21)
    expected = layer_states(reference_lm, token_ids, layers)
    close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)
    close(model.hidden_states(token_ids, layers=layers), expected)
    close(model.hidden_states(token_ids, last_only=True, layers=layers), expected[:, -1:])
    cache = cache_for(model, 4)
    for first, end in [(0, 9), (9, 10), (10, 18), (18, 21)]:
        part = token_ids[:, first:end]
        found = model.hidden_states(part, cache, last_only=True, layers=layers)
        close(found, expected[:, end - 1 : end])


def test_no_more_is_computed_than_asked_for(backbone: Backbone):
    """Neither blocks after the deepest layer nor, in that one, positions before the last."""
    first, second = backbone.transformer_blocks
    positions: list[int] = []
    first.register_forward_hook(lambda _, args, output: positions.append(output.shape[1]))
    second.register_forward_hook(lambda *_: pytest.fail("computed"))
    backbone.hidden_states(some_ids(2, 5), layers=[0, 1])
    backbone.hidden_states(some_ids(2, 5), last_only=True, layers=[0, 1])
    assert positions == [5, 1]


@torch.no_grad()
def test_sequences_of_a_cache_may_be_copied_and_go_on_by_themselves(backbone: Backbone):
    read, more = some_ids(2, 7), some_ids(4, 3, seed=1)
    cache = cache_for(backbone, 2)
    backbone.hidden_states(read, cache)
    rows = torch.tensor([1, 0, 1, 1])
    found = backbone.hidden_states(more, cache.copy_rows(rows))
    whole = backbone.hidden_states(torch.cat((read[rows], more), dim=1))
    torch.testing.assert_close(found, whole[:, 7:], atol=1e-5, rtol=0)
    assert cache.length == 7


@torch.no_grad()
def test_rows_of_a_cache_begin_with_a_prefix_and_are_written_in_it(backbone: Backbone):
    """Rows 0 and 1 begin with seven tokens of the prefix, rows 2 to 4 with three; ten in all."""
    prefix_ids, more = some_ids(1, 8), some_ids(5, 11, seed=1)
    prefix, cache = cache_for(backbone, 1, positions=8), cache_for(backbone, 5)
    backbone.hidden_states(prefix_ids, prefix)
    token_ids = more.clone()
    for first, end, length in [(0, 2, 7), (2, 5, 3)]:
        token_ids[first:end, :length] = prefix_ids[0, :length]
        rows = cache.view_rows(first, end)
        rows.copy_prefix(prefix, length)
        backbone.hidden_states(token_ids[first:end, length:10], rows)
        assert (rows.length, cache.length) == (10, 0)
    cache.advance(10)
    after = backbone.hidden_states(token_ids[:, 10:], cache)
    whole = backbone.hidden_states(token_ids)
    torch.testing.assert_close(after, whole[:, 10:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "lengths", [[20, 7, 7, 3, 3, 3, 1], [3, 20, 3, 19], [20, 20], [1]], ids=str
)
@pytest.mark.parametrize(("layers", "last_only"), [(None, True), ([0, 2], True), ([0, 2], False)])
@torch.no_grad()
def test_reading_is_a_plain_right_aligned_forward(
    backbone: Backbone,
    reference_lm: NotebookLM,
    lengths: list[int],
    layers: list[int] | None,
    last_only: bool,
):
    """And decoding goes on from it as if the padding had been read with each sequence."""
    sequences = [row[:n].tolist() for n, row in zip(lengths, some_ids(7, 20), strict=False)]
    aligned = right_aligned(sequences, 20, NOTEBOOK.padding_int)
    cache = cache_for(backbone, len(lengths), positions=22)
    read = backbone.read_right_aligned(sequences, cache, 20, last_only, layers)
    found = [states for batch in read for states in batch]
    expected = layer_states(reference_lm, aligned, layers or [2])
    for tokens, states, whole in zip(sequences, found, expected, strict=True):
        asked = whole[-1:] if last_only else whole[-len(tokens) :]
        torch.testing.assert_close(states, asked, atol=1e-5, rtol=0)
    assert cache.length == 20
    more = some_ids(len(lengths), 2, seed=1)
    after = backbone.hidden_states(more, cache, layers=layers)
    expected = layer_states(reference_lm, torch.cat((aligned, more), dim=1), layers or [2])
    torch.testing.assert_close(after, expected[:, 20:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_sequences_that_begin_alike_have_the_states_that_each_has_alone(backbone: Backbone):
    """Equal ones, beginnings of different lengths, nothing in common, a token, a full context."""
    beginning = list(range(20, 33))
    sequences = [
        *([*beginning, 5, 6], [*beginning, 5, 7], [*beginning, 5, 6], [*beginning, 8, 6]),
        *([*reversed(beginning), 1], [3], [4], [3], list(range(40)), [9, *range(39)]),
    ]
    read: list[int] = []
    hook = backbone.token2vec.token2vec.register_forward_hook(
        lambda _, args, output: read.append(args[0].numel())
    )
    with torch.no_grad():
        together = backbone.last_states(sequences)
        hook.remove()
        alone = [backbone.last_states([sequence])[0] for sequence in sequences]
        plain = [backbone.hidden_states(torch.tensor([[127] * 25 + sequences[0]]))[0, -1]]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[:1], torch.stack(plain), atol=1e-5, rtol=0)
    # Padding; three single tokens; 14; 13 in common and 4 times 2 behind; twice 40.
    assert sum(read) == 39 + 3 + 14 + 13 + 8 + 80


def test_cache_serves_the_kept_rows_only(backbone: Backbone):
    token_ids = some_ids(5, 40)
    cache = cache_for(backbone, 5)
    full = backbone.hidden_states(token_ids)
    backbone.hidden_states(token_ids[:, :10], cache)
    left = torch.arange(5)
    for position, kept in [(10, [0, 4, 2, 3]), (11, [3, 1]), (12, [1])]:
        cache.keep_rows(torch.tensor(kept))
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
    cache = cache_for(model, 3, positions=14)
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

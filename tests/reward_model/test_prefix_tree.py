"""A tree of sequences reads what they begin with once, and as if it were read with each of them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import NotebookLM
from small_models import layer_states
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model import prefix_tree
from goldrm.reward_model.prefix_tree import NO_TOKEN, first_and_numbers, read_shared

SEQUENCES = [[5, 6, 7], [5, 6, 8, 9], [7], [5, 6], [7, 7, 7, 7, 7], [9, *[1] * 39]]


def padded(sequences: Sequence[list[int]]) -> Tensor:
    rows = [torch.tensor(sequence, dtype=torch.int64) for sequence in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1))
def test_a_node_is_what_a_sequence_begins_with(
    small_sizes: BackboneSizes, sequences: list[list[int]]
):
    read = read_shared(Backbone(small_sizes), padded(sequences), [1])
    node_of: dict[tuple[int, ...], int] = {}
    for sequence, nodes in zip(sequences, read.nodes.tolist(), strict=True):
        for end, node in enumerate(nodes[: len(sequence)], start=1):
            assert node_of.setdefault(tuple(sequence[:end]), node) == node
        assert set(nodes[len(sequence) :]) <= {NO_TOKEN}
    assert sorted(node_of.values()) == list(range(len(read.rows)))


@given(st.lists(st.integers(0, 4)))
def test_where_a_key_stands_first(keys: list[int]):
    first, numbers = first_and_numbers(torch.tensor(keys, dtype=torch.int64))
    distinct = list(dict.fromkeys(keys))
    assert first.tolist() == [keys.index(key) for key in distinct]
    assert numbers.tolist() == [distinct.index(key) for key in keys]


@pytest.mark.parametrize("together", [128, 2])
@pytest.mark.parametrize("layers", [[2], [1], [0], [0, 2], [0, 1, 2]], ids=str)
def test_states_are_those_of_whole_sequences(
    backbone: Backbone,
    reference_lm: NotebookLM,
    monkeypatch: pytest.MonkeyPatch,
    layers: list[int],
    together: int,
):
    """They don't depend on the company, on its order, nor on how many are read together."""
    monkeypatch.setattr(prefix_tree, "NODES_READ_TOGETHER", together)
    for sequences in (SEQUENCES, SEQUENCES[::-1]):
        read = read_shared(backbone, padded(sequences), layers)
        assert len(read.rows) == 3 + 2 + 1 + 4 + 40
        for sequence, nodes in zip(sequences, read.nodes, strict=True):
            expected = layer_states(reference_lm, torch.tensor([sequence]), layers)[0]
            found = read.rows[nodes[: len(sequence)]]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_sequences_begin_with_is_read_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    tokens: list[int] = []
    hidden_states = Backbone.hidden_states

    def noted(self: Backbone, token_ids: Tensor, *args: Any, **options: Any) -> Tensor:
        tokens.extend(token_ids.flatten().tolist())
        return hidden_states(self, token_ids, *args, **options)

    monkeypatch.setattr(Backbone, "hidden_states", noted)
    read_shared(backbone, padded(SEQUENCES), [2])
    assert sorted(tokens) == sorted([5, 6, 7, 8, 9, *[7] * 5, 9, *[1] * 39])


def test_dropout_is_off_whatever_mode_the_backbone_is_in(backbone: Backbone):
    """LLaMA-Factory's issue 10779: dropout left on while pairs were scored."""
    token_ids = padded(SEQUENCES)
    rows = [read_shared(m, token_ids, [0, 2]).rows for m in (backbone, backbone.train())]
    assert torch.equal(*rows)


def test_hidden_states_carry_no_gradient(backbone: Backbone):
    backbone.requires_grad_(True)
    assert not read_shared(backbone, padded(SEQUENCES), [2]).rows.requires_grad


def test_blocks_above_what_is_asked_for_are_not_computed(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backbone.transformer_blocks[1], "forward", None)
    assert len(read_shared(backbone, padded([[1, 2]]), [1]).rows) == 2

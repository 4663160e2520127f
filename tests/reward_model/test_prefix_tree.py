"""A tree of sequences reads what they begin with once, and as if it were read with each of them."""

from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebook_reference import NotebookLM
from small_models import layer_states

from goldrm.lm.model import Backbone
from goldrm.lm.sizes import BackboneSizes
from goldrm.reward_model import prefix_tree
from goldrm.reward_model.prefix_tree import PrefixTree

SEQUENCES = [[5, 6, 7], [5, 6, 8, 9], [7], [5, 6], [7, 7, 7, 7, 7], [9, *[1] * 39]]


@pytest.fixture
def tree(backbone: Backbone) -> PrefixTree:
    return PrefixTree(backbone.eval(), [0, 2])


@given(st.lists(st.lists(st.integers(0, 2), max_size=6)))
def test_a_node_is_what_a_sequence_begins_with(
    small_sizes: BackboneSizes, sequences: list[list[int]]
):
    tree = PrefixTree(Backbone(small_sizes), [2])
    node_of: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        beginnings = [tuple(each) for each in accumulate([token] for token in sequence)]
        for beginning, node in zip(beginnings, tree.add(sequence), strict=True):
            assert node_of.setdefault(beginning, node) == node
    assert sorted(node_of.values()) == list(range(len(node_of)))


@pytest.mark.parametrize("together", [128, 2])
@torch.no_grad()
def test_states_are_those_of_whole_sequences(
    tree: PrefixTree,
    reference_lm: NotebookLM,
    monkeypatch: pytest.MonkeyPatch,
    together: int,
):
    """Also of what is added after others were read."""
    monkeypatch.setattr(prefix_tree, "NODES_READ_TOGETHER", together)
    paths = [tree.add(sequence) for sequence in SEQUENCES[:3]]
    tree.read()
    earlier = tree.states
    paths += [tree.add(sequence) for sequence in SEQUENCES[3:]]
    tree.read()
    states = tree.states
    assert torch.equal(states[: len(earlier)], earlier)
    assert len(states) == 3 + 2 + 1 + 4 + 40
    for sequence, path in zip(SEQUENCES, paths, strict=True):
        expected = layer_states(reference_lm, torch.tensor([sequence]), [0, 2])[0]
        torch.testing.assert_close(states[path], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_nothing_to_read(tree: PrefixTree):
    assert tree.add([]) == []
    tree.read()
    assert tree.states.shape == (0, 2 * 24)

"""Items of different lengths, against lists."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from goldrm.reward_model.ragged import Ragged, distinct

LENGTHS = st.lists(st.integers(0, 4), min_size=1)


def test_the_docstrings_example():
    ragged = Ragged(torch.tensor([2, 0, 3]))
    assert len(ragged) == 3
    assert ragged.offsets.tolist() == [0, 2, 2]
    assert ragged.owners.tolist() == [0, 0, 2, 2, 2]
    assert ragged.positions.tolist() == [0, 1, 0, 1, 2]
    elements, chosen = ragged.select(torch.tensor([2, 0]))
    assert elements.tolist() == [2, 3, 4, 0, 1]
    assert chosen.lengths.tolist() == [3, 2]
    found = distinct(torch.tensor([7, 5, 7, 7]), torch.tensor([0, 0, 0, 1]))
    assert found.values.tolist() == [5, 7, 7]
    assert found.owners.tolist() == [0, 0, 1]
    assert found.index.tolist() == [1, 0, 1, 0]


@given(LENGTHS)
def test_each_element_has_its_owner_and_its_position(lengths: list[int]):
    ragged = Ragged(torch.tensor(lengths))
    expected = [(item, at) for item, length in enumerate(lengths) for at in range(length)]
    found = zip(ragged.owners.tolist(), ragged.positions.tolist(), strict=True)
    assert list(found) == expected
    assert ragged.offsets.tolist() == [sum(lengths[:item]) for item in range(len(lengths))]


@given(LENGTHS, st.data())
def test_chosen_items_are_their_elements(lengths: list[int], data: st.DataObject):
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1)))
    elements, there = Ragged(torch.tensor(lengths)).select(torch.tensor(chosen, dtype=torch.int64))
    of_items = list(torch.arange(sum(lengths)).split(lengths))
    assert elements.tolist() == [element for item in chosen for element in of_items[item].tolist()]
    assert there.lengths.tolist() == [lengths[item] for item in chosen]


@given(LENGTHS)
def test_padded_values_are_each_items(lengths: list[int]):
    values = torch.arange(float(2 * sum(lengths))).view(-1, 2)
    padded = Ragged(torch.tensor(lengths)).to_padded(values, padding=-1.0)
    assert padded.shape == (len(lengths), max(lengths), 2)
    for row, own in zip(padded, values.split(lengths), strict=True):
        assert torch.equal(row[: len(own)], own)
        assert bool((row[len(own) :] == -1).all())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1))
def test_distinct_values_of_each_owner(pairs: list[tuple[int, int]]):
    owners, values = torch.tensor(pairs).unbind(1)
    found = distinct(values, owners)
    both = zip(found.owners.tolist(), found.values.tolist(), strict=True)
    assert list(both) == sorted(set(pairs))
    for (owner, value), number in zip(pairs, found.index.tolist(), strict=True):
        assert int(found.values[found.owners == owner][number]) == value

"""Spans, against lists."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from goldrm.reward_model.ragged import apart, chosen_spans, distinct, places

LENGTHS = st.lists(st.integers(0, 4), min_size=1)


@given(LENGTHS, st.data())
def test_chosen_spans_are_their_rows(lengths: list[int], data: st.DataObject):
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1)))
    ends = torch.tensor(lengths).cumsum(0)
    rows, owner = chosen_spans(ends, torch.tensor(chosen, dtype=torch.int64))
    of_spans = [
        range(end - length, end) for end, length in zip(ends.tolist(), lengths, strict=True)
    ]
    assert rows.tolist() == [row for one in chosen for row in of_spans[one]]
    assert owner.tolist() == [place for place, one in enumerate(chosen) for _ in of_spans[one]]


@given(LENGTHS.filter(any))
def test_rows_apart_are_padded_on_the_right(lengths: list[int]):
    lengths = lengths + [1]  # the last span may not be empty: nothing would tell that it is there
    rows = torch.arange(float(2 * sum(lengths))).view(-1, 2)
    placed = places(torch.tensor(lengths))
    found = apart(rows, placed, padding=-1.0)
    assert found.shape == (len(lengths), max(lengths), 2)
    assert torch.equal(found[placed], rows)
    for span, own in zip(found, rows.split(lengths), strict=True):
        assert torch.equal(span[: len(own)], own)
        assert bool((span[len(own) :] == -1).all())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1))
def test_distinct_values_of_each_owner(pairs: list[tuple[int, int]]):
    owner, values = torch.tensor(pairs).unbind(1)
    found, owners, which = distinct(values, owner)
    assert list(zip(owners.tolist(), found.tolist(), strict=True)) == sorted(set(pairs))
    for (own, value), number in zip(pairs, which.tolist(), strict=True):
        assert int(found[owners == own][number]) == value

"""A random stream belongs to a purpose and an index, never to the order of execution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.common.random_streams import random_stream, stream_seed

KEYS = st.tuples(st.integers(0, 2**63 - 1), st.text(max_size=20), st.integers(0, 2**31))


def drawn(seed: int, purpose: str, index: int) -> list[float]:
    with random_stream(seed, purpose, index):
        return torch.rand(5).tolist()


def test_seed_is_the_same_on_every_machine():
    """By `printf 0/pairs/17 | b2sum --length 64`, its top 63 bits."""
    assert stream_seed(0, "pairs", 17) == 0x5B70C750B3A3D86C >> 1


@settings(max_examples=50)
@given(KEYS, KEYS)
def test_different_streams_have_different_seeds(first, second):
    assert (stream_seed(*first) == stream_seed(*second)) == (first == second)
    assert 0 <= stream_seed(*first) < 2**63


def test_stream_does_not_depend_on_what_was_drawn_before():
    torch.manual_seed(1)
    first = drawn(0, "pairs", 17)
    torch.manual_seed(2)
    torch.rand(100)
    drawn(0, "pairs", 16)
    assert drawn(0, "pairs", 17) == first


@pytest.mark.parametrize("other", [(1, "pairs", 17), (0, "batches", 17), (0, "pairs", 18)])
def test_seed_purpose_and_index_each_make_another_stream(other: tuple[int, str, int]):
    assert drawn(*other) != drawn(0, "pairs", 17)


def test_streams_of_neighbouring_indices_are_independent():
    rows = torch.tensor([drawn(0, "pairs", index) for index in range(800)])
    correlations = torch.corrcoef(torch.stack((rows[:-1, 0], rows[1:, 0], rows[1:, 1])))
    # The standard error of a correlation of 800 independent numbers is 1 / sqrt(800).
    assert (correlations - torch.eye(3)).abs().max() < 4 / 800**0.5
    assert abs(rows.mean() - 0.5) < 4 * (1 / 12 / 4000) ** 0.5


def test_global_stream_goes_on_as_if_nothing_had_been_drawn():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    drawn(0, "pairs", 17)
    assert torch.equal(torch.rand(4), expected)


def fail_inside() -> None:
    with random_stream(0, "pairs", 17):
        torch.rand(1)
        raise InterruptedError


def test_global_stream_is_restored_after_an_error():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with pytest.raises(InterruptedError):
        fail_inside()
    assert torch.equal(torch.rand(4), expected)


def test_streams_nest():
    with random_stream(0, "outer"):
        expected = torch.rand(4)[2:].tolist()
    with random_stream(0, "outer"):
        torch.rand(2)
        drawn(0, "inner", 1)
        assert torch.rand(2).tolist() == expected

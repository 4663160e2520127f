"""Spans of rows that lie side by side in one tensor; it must not know what the rows are."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Places = tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]


def starts(lengths: Int[Tensor, " spans"]) -> Int[Tensor, " spans"]:
    """The first row of each span, where spans of such lengths lie side by side."""
    return torch.cumsum(lengths, 0) - lengths


def chosen_spans(
    ends: Int[Tensor, " all"], chosen: Int[Tensor, " spans"]
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
    """The rows of the chosen ones of all spans, which end there; and whose span each row is."""
    first = torch.cat((ends.new_zeros(1), ends))[chosen]
    owner, place = places(ends[chosen] - first)
    return first[owner] + place, owner


def places(lengths: Int[Tensor, " spans"]) -> Places:
    """The span of each row, and its place there, where spans of such lengths lie side by side."""
    owner = torch.repeat_interleave(lengths)
    return owner, torch.arange(len(owner), device=lengths.device) - starts(lengths)[owner]


def apart(
    rows: Float[Tensor, "rows features"], placed: Places, padding: float = 0.0
) -> Float[Tensor, "spans longest features"]:
    """The rows of each span by themselves, padded on the right."""
    owner, place = placed
    shape = (int(owner[-1]) + 1, int(place.max()) + 1, rows.shape[1])
    return rows.new_full(shape, padding).index_put(placed, rows)


def distinct(
    values: Int[Tensor, " rows"], owner: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, " distinct"], Int[Tensor, " distinct"], Int[Tensor, " rows"]]:
    """What differs among the values of each owner.

    Args:
        values: not negative, at least one.
        owner: of each, a number from 0.

    Returns:
        The distinct values, by owner and ascending; whose each is; and for each row which of its
        owner's its value is.
    """
    above = int(values.max()) + 1
    found, inverse = torch.unique(owner * above + values, return_inverse=True)
    owners = found // above
    return found % above, owners, inverse - starts(torch.bincount(owners))[owner]

"""Items of different lengths whose elements lie side by side in one tensor."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ragged:
    """Which elements belong to which item.

    Items of lengths 2, 0 and 3 have the offsets 0, 2 and 2:

        element   0 1 2 3 4
        owner     0 0 2 2 2
        position  0 1 0 1 2

    Attributes:
        lengths: how many elements each item has.
    """

    lengths: Int[Tensor, " items"]

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def offsets(self) -> Int[Tensor, " items"]:
        """The first element of each item."""
        return torch.cumsum(self.lengths, 0) - self.lengths

    @cached_property
    def owners(self) -> Int[Tensor, " elements"]:
        """The item of each element."""
        return torch.repeat_interleave(self.lengths)

    @cached_property
    def positions(self) -> Int[Tensor, " elements"]:
        """The position of each element within its item."""
        return self._elements - self.offsets[self.owners]

    @property
    def _elements(self) -> Int[Tensor, " elements"]:
        return torch.arange(len(self.owners), device=self.lengths.device)

    def select(self, items: Int[Tensor, " chosen"]) -> tuple[Int[Tensor, " elements"], "Ragged"]:
        """The elements of the chosen items, item after item, and how they lie in that order.

        Of the items above, 2 and 0 have the elements 2 3 4 0 1; their lengths are then 3 and 2.
        """
        chosen = Ragged(self.lengths[items])
        shift = self.offsets[items] - chosen.offsets
        return chosen._elements + shift[chosen.owners], chosen

    def to_padded(
        self, values: Float[Tensor, "elements features"], padding: float = 0.0
    ) -> Float[Tensor, "items longest features"]:
        """The values of each item in a row of its own, padded on the right; at least one item."""
        shape = (len(self), int(self.lengths.max()), values.shape[1])
        return values.new_full(shape, padding).index_put((self.owners, self.positions), values)


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct values of each owner, in the order of the owners and ascending.

    Owner 0's values 7 5 7 and owner 1's value 7 are the distinct values 5 7 7 of the owners 0 0 1;
    the index is 1 0 1 0.

    Attributes:
        values: the distinct values.
        owners: the owner of each distinct value.
        index: of each given value, which of its owner's distinct values it is.
    """

    values: Int[Tensor, " distinct"]
    owners: Int[Tensor, " distinct"]
    index: Int[Tensor, " given"]


def distinct(values: Int[Tensor, " given"], owners: Int[Tensor, " given"]) -> Distinct:
    """The distinct values of each owner.

    Args:
        values: at least one, none negative.
        owners: the owner of each value, a number from 0.
    """
    above = int(values.max()) + 1
    keys, inverse = torch.unique(owners * above + values, return_inverse=True)
    key_owners = keys // above
    offsets = Ragged(torch.bincount(key_owners)).offsets
    return Distinct(keys % above, key_owners, inverse - offsets[owners])

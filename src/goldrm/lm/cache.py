"""Keys and values of the tokens that were read before."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.lm.sizes import BackboneSizes


class Cache(ABC):
    """Keys and values of the positions before those that are read."""

    def __init__(self, length: int = 0) -> None:
        """They are of `length` positions."""
        self.length = length

    def advance(self, time: int) -> None:
        """Count `time` positions as seen, after every layer has appended them."""
        self.length += time

    @abstractmethod
    def append(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads time head_size"],
        values: Float[Tensor, "batch heads time head_size"],
    ) -> tuple[Float[Tensor, "batch heads _positions head_size"], ...]:
        """Store a layer's new keys and values.

        Returns:
            The keys of all positions that there is room for, those not seen yet anything; and the
            values of those seen, the new ones last.
        """


class KeyValueCache(Cache):
    """Keys and values of the positions seen so far, of all layers, preallocated."""

    def __init__(self, states: Float[Tensor, "layers 2 batch heads positions head_size"]) -> None:
        """An empty cache that will be written into `states`."""
        super().__init__()
        self._states = states

    @classmethod
    def allocate(
        cls, sizes: BackboneSizes, batch: int, positions: int, like: Tensor
    ) -> "KeyValueCache":
        """Room for `positions` of `batch` sequences, on `like`'s device, in its dtype."""
        head_size = sizes.d // sizes.num_heads
        shape = (sizes.num_layers, 2, batch, sizes.num_heads, positions, head_size)
        return cls(like.new_empty(shape))

    def rows(self, first: int, end: int) -> "KeyValueCache":
        """A cache of some of the sequences; what is written there is written here."""
        rows = KeyValueCache(self._states[:, :, first:end])
        rows.length = self.length
        return rows

    def of(self, rows: Int[Tensor, " copies"]) -> "KeyValueCache":
        """A cache of its own of the sequences `rows`, any of them several times."""
        copies = KeyValueCache(self._states.index_select(2, rows))
        copies.length = self.length
        return copies

    def begin_with(self, prefix: "KeyValueCache", length: int) -> None:
        """Let every sequence begin with the first `length` positions of another cache's one."""
        self._states[:, :, :, :, :length] = prefix._states[:, :, :, :, :length]
        self.length = length

    def append(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads time head_size"],
        values: Float[Tensor, "batch heads time head_size"],
    ) -> tuple[Float[Tensor, "batch heads _positions head_size"], ...]:
        """Store a layer's new keys and values; all keys that there is room for, all values seen."""
        end = self.length + keys.shape[2]
        states = self._states[layer]
        states[0, :, :, self.length : end] = keys
        states[1, :, :, self.length : end] = values
        return states[0], states[1, :, :, :end]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sequences `rows`, in that order; only those that change places are copied."""
        places = torch.arange(len(rows), device=rows.device)
        moved = places[rows != places]
        seen = self._states[:, :, :, :, : self.length]
        for place, row in zip(moved.tolist(), rows[moved].tolist(), strict=True):
            seen[:, :, place] = seen[:, :, row]
        self._states = self._states[:, :, : len(rows)]

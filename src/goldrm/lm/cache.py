"""Keys and values of the positions that the language model has read."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goldrm.lm.sizes import BackboneSizes


class Cache(ABC):
    """Keys and values of the positions that come before those that are read next.

    Attributes:
        length: number of these positions.
    """

    def __init__(self, length: int = 0) -> None:
        """A cache in which `length` positions have been read."""
        self.length = length

    def advance(self, time: int) -> None:
        """Count `time` positions as read, after all layers have appended theirs."""
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
            Keys of all positions for which there is room; those behind the new ones are arbitrary.
            Values of the positions read so far, the new ones last.
        """


class KeyValueCache(Cache):
    """A cache in memory that is allocated once, for so many positions of so many sequences."""

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

    def view_rows(self, first: int, end: int) -> "KeyValueCache":
        """The sequences `first` … `end` - 1 as a cache; what is appended to it is in this one."""
        view = KeyValueCache(self._states[:, :, first:end])
        view.length = self.length
        return view

    def copy_rows(self, rows: Int[Tensor, " copies"]) -> "KeyValueCache":
        """A new cache of the sequences `rows`, any of them several times."""
        copy = KeyValueCache(self._states.index_select(2, rows))
        copy.length = self.length
        return copy

    def copy_prefix(self, prefix: "KeyValueCache", length: int) -> None:
        """Begin every sequence with the first `length` positions of the only one in `prefix`."""
        self._states[:, :, :, :, :length] = prefix._states[:, :, :, :, :length]
        self.length = length

    def append(
        self,
        layer: int,
        keys: Float[Tensor, "batch heads time head_size"],
        values: Float[Tensor, "batch heads time head_size"],
    ) -> tuple[Float[Tensor, "batch heads _positions head_size"], ...]:
        """Store a layer's new keys and values, and return what `Cache.append` says."""
        end = self.length + keys.shape[2]
        states = self._states[layer]
        states[0, :, :, self.length : end] = keys
        states[1, :, :, self.length : end] = values
        return states[0], states[1, :, :, :end]

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep some sequences; only those that move are copied.

        Args:
            rows: sequence `rows[i]` becomes the i-th, where `rows[i]` ≥ i: of four sequences, 0, 3
                and 2 keep all but the second, whose row the last one takes.
        """
        new_rows = torch.arange(len(rows), device=rows.device)
        moved = new_rows[rows != new_rows]
        read = self._states[:, :, :, :, : self.length]
        read.index_copy_(2, moved, read.index_select(2, rows[moved]))
        self._states = self._states[:, :, : len(rows)]

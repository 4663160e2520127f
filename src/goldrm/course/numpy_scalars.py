"""NumPy's scalars in a pickle, read as Python's numbers and texts without any of NumPy's code.

A training loop easily leaves one: the mean of some losses is a numpy.float64. NumPy's own
constructors take whatever types a pickle describes, so they aren't for files from outside.
"""

import struct
from collections.abc import Callable
from typing import Any

from goldrm.common.errors import GoldrmError

# NumPy's name of a type → struct's.
FORMATS = {
    **{"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q"},
    **{"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f2": "e", "f4": "f", "f8": "d"},
}


class ScalarType:
    """Stands in for numpy.dtype."""

    def __init__(self, name: str, *_: Any) -> None:
        """The type of a name such as f8, or U3: a text of three characters.

        Raises:
            GoldrmError: when it is of neither a number nor a text.
        """
        if name not in FORMATS and not name.startswith("U"):
            raise GoldrmError(f"it holds a NumPy scalar of type {name:.20}. Save a plain number.")
        self.name, self.byte_order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Only the byte order is taken; the name says the rest."""
        self.byte_order = ">" if state[1] == ">" else "<"


def scalar(of: ScalarType, raw: bytes) -> float | str:
    """Stands in for numpy's scalar: a number or a text from its bytes."""
    if of.name.startswith("U"):
        return raw.decode("utf-32-be" if of.byte_order == ">" else "utf-32-le").rstrip("\0")
    return struct.unpack(of.byte_order + FORMATS[of.name], raw)[0]


# What `torch.serialization.safe_globals` takes: what stands in, and for which name.
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (ScalarType, "numpy.dtype"),
    (scalar, "numpy._core.multiarray.scalar"),
    (scalar, "numpy.core.multiarray.scalar"),  # before NumPy 2
]

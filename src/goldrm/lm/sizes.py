"""The sizes of the language model, read from what a checkpoint declares."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from goldrm.common.errors import GoldrmError


@dataclass(frozen=True)
class BackboneSizes:
    """The sizes of the language model, which the notebook calls net_parameters.

    Attributes:
        num_tokens: size of the vocabulary.
        d: width of the hidden states.
        num_heads: attention heads; d is a multiple of it.
        context_length: number of positions.
        dropout: probability, after the ReLU and in attention.
        num_layers: transformer blocks.
        padding_int: id of the padding token.
        eos_int: id of the end-of-sequence token.
    """

    num_tokens: int
    d: int
    num_heads: int
    context_length: int
    dropout: float
    num_layers: int
    padding_int: int
    eos_int: int


# Far above what this project is for, and far below what would fill the memory.
MAX_SIZES = {"num_layers": 1000, "d": 65_536, "context_length": 1_000_000, "num_tokens": 10_000_000}


def sizes_from(declared: Mapping[str, Any], name: str) -> BackboneSizes:
    """Model sizes as a checkpoint declares them, checked.

    Args:
        declared: the notebook's net_parameters; other keys are ignored.
        name: what to call the checkpoint in messages.

    Raises:
        GoldrmError: when a size is missing, isn't a number, or is impossible.
    """
    sizes: dict[str, Any] = {}
    for field in fields(BackboneSizes):
        value = declared.get(field.name)
        kind = (int, float) if field.name == "dropout" else int
        if value is None:
            raise GoldrmError(
                f"{name} doesn't say its {field.name}, as a checkpoint of the course's step 2 does "
                "in net_parameters, and one of goldrm's in its metadata. Save it so."
            )
        if not isinstance(value, kind) or isinstance(value, bool) or value < 0:
            raise GoldrmError(
                f"{name} declares {field.name} = {value!r}, which must be a whole number "
                "(dropout: a probability). It isn't a checkpoint of the course's step 2."
            )
        sizes[field.name] = float(value) if field.name == "dropout" else value
    _refuse_impossible(sizes, name)
    return BackboneSizes(**sizes)


def _refuse_impossible(sizes: Mapping[str, Any], name: str) -> None:
    if not 0 <= sizes["dropout"] < 1 or not all(
        sizes[key] for key in ("num_tokens", "d", "num_heads", "context_length", "num_layers")
    ):
        raise GoldrmError(f"{name} declares impossible sizes: {sizes}. Get the file again.")
    for key, most in MAX_SIZES.items():
        if sizes[key] > most:
            raise GoldrmError(
                f"{name} declares {key} = {sizes[key]}, more than {most}. Get the file again."
            )
    if sizes["d"] % sizes["num_heads"]:
        raise GoldrmError(
            f"{name} declares d = {sizes['d']}, not a multiple of num_heads = "
            f"{sizes['num_heads']}. Get the file again."
        )

"""Reads the course's own files: torch.save archives of the notebook's steps 1, 2 and 3.

Only tensors and plain containers are read; nothing in the files is executed.
"""

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.course.limits import OPENING_BYTES, run_limited

INTEGER_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def read_dictionary_tokens(path: Path) -> object:
    """The token list of a step-1 dictionary: `(dictionary, num_tokens, token2index, index2token)`.

    Raises:
        GoldrmError: when the file isn't such a dictionary.
    """
    content = _load(path, str(path))
    if not isinstance(content, tuple | list) or len(content) != 4:
        raise GoldrmError(
            f"{path} is not the course's step-1 dictionary: expected (dictionary, num_tokens, "
            f"token2index, index2token), found {_kind_of(content)}."
        )
    return content[0]


def read_sft_checkpoint(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The net_parameters, with ids as integers, and the state dict of a step-2 checkpoint.

    Args:
        path: the file.
        name: what to call it in messages.

    Raises:
        GoldrmError: when the file isn't such a checkpoint.
    """
    content = _load(path, name)
    expected = ("net_parameters", "SFT_LMnet_dict")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), dict) for key in expected
    ):
        raise GoldrmError(
            f"{name} is not the course's step-2 checkpoint: expected a dict with "
            f"{' and '.join(expected)}, found {_kind_of(content)}."
        )
    state = content["SFT_LMnet_dict"]
    if not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise GoldrmError(f"{name}: SFT_LMnet_dict holds other things than named tensors.")
    _refuse_more_than_the_file_holds(state.values(), path, name)
    try:
        return {key: _as_number(value) for key, value in content["net_parameters"].items()}, state
    except RuntimeError:  # of a tensor without values
        raise GoldrmError(f"{name}: net_parameters holds tensors that aren't numbers.") from None


def _as_number(value: Any) -> Any:
    """The number that a tensor of one element holds; anything else as it is."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def read_training_set(path: Path) -> list[tuple[list[int], list[int]]]:
    """Token ids of prompt + completion, of both completions of each pair of a step-3 training set.

    The rewards in it aren't read, because they depend on the rival completion's length.

    Raises:
        GoldrmError: when the file isn't `[positives, negatives]` with entries `[ids, reward]`.
    """
    content = _load(path, str(path))
    try:
        positives, negatives = content
        pairs = [
            (_token_ids(positive), _token_ids(negative))
            for positive, negative in zip(positives, negatives, strict=True)
        ]
        _refuse_more_than_the_file_holds((ids for pair in pairs for ids in pair), path, str(path))
        return [(chosen.tolist(), rejected.tolist()) for chosen, rejected in pairs]
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):
        raise GoldrmError(
            f"{path} is not the course's step-3 training set: expected "
            f"[list_positive_response, list_negative_response] of one length with entries "
            f"[token ids, reward], found {_kind_of(content)}."
        ) from None


def _token_ids(entry: Any) -> Tensor:
    token_ids, _ = entry
    if (
        not isinstance(token_ids, Tensor)
        or token_ids.ndim != 1
        or token_ids.dtype not in INTEGER_DTYPES
    ):
        raise TypeError
    return token_ids


def _load(path: Path, name: str) -> Any:
    """The content of an archive, after loading it in a child process within limits.

    `weights_only` keeps an archive from running code. It doesn't keep it from taking all memory
    (compressed zeros, a call of bytearray), nor from never ending (a key of tuples in tuples).
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise GoldrmError(f"{name} doesn't exist. Correct the path in params.yaml.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(name, str(error)) from None

    def load() -> Any:
        return torch.load(path, map_location="cpu", weights_only=True)

    reason = run_limited(load, OPENING_BYTES + 3 * size)
    if reason is not None:
        raise _unreadable(name, reason)
    return load()


def _unreadable(name: str, reason: str) -> GoldrmError:
    return GoldrmError(
        f"{name} can't be read as plain tensors and containers, and nothing else is ever "
        f"loaded: {reason}. Get the file again from the course."
    )


def _refuse_more_than_the_file_holds(tensors: Iterable[Tensor], path: Path, name: str) -> None:
    """Refuse tensors that are larger than their file.

    Strides of 0 and shared storages let a small file hold tensors of any size.
    """
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    size = path.stat().st_size
    if claimed > size:
        raise GoldrmError(
            f"{name} shows {claimed} bytes of tensors, but the file has {size}. Get the file again "
            "from the course."
        )


def _kind_of(content: object) -> str:
    if isinstance(content, dict):
        return f"a dict with {', '.join(map(_shown, list(content)[:8])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _shown(key: object) -> str:
    return f"{key:.40}" if isinstance(key, str) else f"{reprlib.repr(key):.40}"

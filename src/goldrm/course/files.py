"""Reads the course's own files: torch.save archives of the notebook's steps 1, 2 and 3."""

import reprlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.course.archive import load_archive

INTEGER_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def read_dictionary_tokens(path: Path) -> object:
    """The token list of a step-1 dictionary: `(dictionary, num_tokens, token2index, index2token)`.

    Raises:
        GoldrmError: when the file isn't such a dictionary.
    """
    content = load_archive(path, str(path))
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
    content = load_archive(path, name)
    expected = ("net_parameters", "SFT_LMnet_dict")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), dict) for key in expected
    ):
        raise GoldrmError(
            f"{name} is not the course's step-2 checkpoint: expected a dict with "
            f"{' and '.join(expected)}, found {_kind_of(content)}."
        )
    state = content["SFT_LMnet_dict"]
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise GoldrmError(
                f"{name}: SFT_LMnet_dict holds {_kind_of(value)} under {_shown(key)}, which "
                "should be a tensor under a name. Save the model's state_dict there."
            )
    _refuse_more_than_the_file_holds(sum(map(_bytes_of, state.values())), path, name)
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
    content = load_archive(path, str(path))
    try:
        positives, negatives = content
        pairs = [
            (_token_ids(positive), _token_ids(negative))
            for positive, negative in zip(positives, negatives, strict=True)
        ]
        claimed = sum(_bytes_of(token_ids) for pair in pairs for token_ids in pair)
        _refuse_more_than_the_file_holds(claimed, path, str(path))
        return [(_numbers(chosen), _numbers(rejected)) for chosen, rejected in pairs]
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):
        raise GoldrmError(
            f"{path} is not the course's step-3 training set: expected "
            f"[list_positive_response, list_negative_response] of one length with entries "
            f"[token ids, reward], found {_kind_of(content)}."
        ) from None


def _token_ids(entry: Any) -> Tensor | list[int]:
    token_ids, _ = entry
    if isinstance(token_ids, Tensor):
        is_right = token_ids.ndim == 1 and token_ids.dtype in INTEGER_DTYPES
    else:
        is_right = isinstance(token_ids, list) and all(type(number) is int for number in token_ids)
    if not is_right:
        raise TypeError
    return token_ids


def _numbers(token_ids: Tensor | list[int]) -> list[int]:
    return token_ids.tolist() if isinstance(token_ids, Tensor) else token_ids


def _bytes_of(numbers: Tensor | list[int]) -> int:
    """How many bytes of a file some numbers take, at least."""
    if isinstance(numbers, Tensor):
        return numbers.numel() * numbers.element_size()
    return len(numbers)


def _refuse_more_than_the_file_holds(claimed: int, path: Path, name: str) -> None:
    """Refuse numbers that take far more bytes than their file has; tensors may share some.

    Strides of 0 and shared storages let a small file hold tensors of any size.
    """
    size = path.stat().st_size
    if claimed > 2 * size:
        raise GoldrmError(
            f"{name} shows {claimed} bytes of numbers, but the file has {size}. Get the file again "
            "from the course."
        )


def _kind_of(content: object) -> str:
    if isinstance(content, dict):
        return f"a dict with {', '.join(map(_shown, list(content)[:8])) or 'nothing'}"
    size = f" of {len(content)}" if isinstance(content, list | tuple) else ""
    return f"a {type(content).__name__}{size}"


def _shown(key: object) -> str:
    return f"{key:.40}" if isinstance(key, str) else f"{reprlib.repr(key):.40}"

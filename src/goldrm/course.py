"""Reads the course's own files: torch.save archives of the notebook's steps 1, 2 and 3.

They are read as weights only: nothing in them is executed. It must not know stages or paths.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goldrm.errors import GoldrmError

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def read_dictionary_tokens(path: Path) -> object:
    """The token list of a step-1 dictionary: `(dictionary, num_tokens, token2index, index2token)`.

    Raises:
        GoldrmError: when the file isn't one.
    """
    content = _load(path, str(path))
    if not isinstance(content, tuple | list) or len(content) != 4:
        raise GoldrmError(
            f"{path} is not the course's step-1 dictionary: expected (dictionary, num_tokens, "
            f"token2index, index2token), found {_described(content)}."
        )
    return content[0]


def read_sft_checkpoint(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """net_parameters (ids as ints) and state dict of a step-2 checkpoint.

    Args:
        path: the file.
        name: what to call it in messages.

    Raises:
        GoldrmError: when the file isn't one.
    """
    content = _load(path, name)
    expected = ("net_parameters", "SFT_LMnet_dict")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(name), dict) for name in expected
    ):
        raise GoldrmError(
            f"{name} is not the course's step-2 checkpoint: expected a dict with "
            f"{' and '.join(expected)}, found {_described(content)}."
        )
    net_parameters = {
        name: value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        for name, value in content["net_parameters"].items()
    }
    state = content["SFT_LMnet_dict"]
    if not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise GoldrmError(f"{name}: SFT_LMnet_dict holds other things than named tensors.")
    return net_parameters, state


def read_training_set(path: Path) -> list[tuple[list[int], list[int]]]:
    """Token ids (prompt + completion) of a step-3 training set's pairs.

    Its rewards aren't read: they depend on the rival completion, see `preferences`.

    Raises:
        GoldrmError: when the file isn't `[positives, negatives]` with entries `[ids, reward]`.
    """
    content = _load(path, str(path))
    try:
        positives, negatives = content
        return [
            (_token_ids(positive), _token_ids(negative))
            for positive, negative in zip(positives, negatives, strict=True)
        ]
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):
        raise GoldrmError(
            f"{path} is not the course's step-3 training set: expected "
            f"[list_positive_response, list_negative_response] of one length with entries "
            f"[token ids, reward], found {_described(content)}."
        ) from None


def _token_ids(entry: Any) -> list[int]:
    token_ids, _ = entry
    if not isinstance(token_ids, Tensor) or token_ids.ndim != 1 or token_ids.dtype not in INTEGERS:
        raise TypeError
    return token_ids.tolist()


def _load(path: Path, name: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise GoldrmError(f"{name} doesn't exist. Correct the path in params.yaml.") from None
    except Exception as error:  # whatever a damaged or hostile archive provokes
        reason = str(error).split("\n")[0]
        raise GoldrmError(
            f"{name} can't be read as plain tensors and containers, and nothing else is ever "
            f"loaded: {type(error).__name__}: {reason:.160}. Get the file again from the course."
        ) from None


def _described(content: object) -> str:
    if isinstance(content, dict):
        return f"a dict with {', '.join(map(str, list(content)[:8])) or 'nothing'}"
    return f"a {type(content).__name__}"

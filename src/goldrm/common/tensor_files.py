"""The project's own tensor files: .safetensors with a checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic

# One key, because safetensors doesn't write several in a fixed order (its issue 584).
METADATA_KEY = "goldrm"
DIGEST_KEY = "sha256"  # in that metadata, of the tensors


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write tensors and what describes them as .safetensors; the same bytes for the same input.

    Raises:
        GoldrmError: when the file can't be written.
    """
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    described = json.dumps({**(metadata or {}), DIGEST_KEY: _digest(contiguous)})
    write_atomic(path, safetensors.torch.save(contiguous, {METADATA_KEY: described}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file that goldrm wrote; its metadata have no checksum.

    Raises:
        GoldrmError: when the file is missing or damaged.
    """
    tensors, _ = _read(path, str(path), needs_checksum=True)
    return tensors


def read_tensors_of_others(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that may be goldrm's or not; of others' there are no metadata.

    Args:
        path: the file.
        name: what to call it in messages.

    Raises:
        GoldrmError: when the file is missing or damaged, as far as that shows.
    """
    return _read(path, name, needs_checksum=False)


def _read(path: Path, name: str, needs_checksum: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:  # pyright: ignore
            described: dict[str, str] = file.metadata() or {}
            # Copies: the file may change while the tensors are in use.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        metadata = json.loads(described.get(METADATA_KEY, "{}"))
        if not isinstance(metadata, dict):
            raise ValueError(f"its metadata is {metadata!r:.80}")
        digest = metadata.pop(DIGEST_KEY, None)
        if (needs_checksum or digest is not None) and digest != _digest(tensors):
            raise ValueError("its tensors aren't those that were written")
        return tensors, metadata
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise GoldrmError(
            f"{name} is not a whole .safetensors file ({error}). Delete it and make it or "
            "get it again."
        ) from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """A checksum of names, types, shapes and values: .safetensors itself has none."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

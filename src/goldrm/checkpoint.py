"""Files that appear whole or not at all, and the project's own tensor files.

It must not know what the tensors mean; the course's formats are `course.py`'s.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from goldrm.errors import GoldrmError

# One key, because safetensors doesn't write several in a fixed order (its issue 584).
METADATA_KEY = "goldrm"
DIGEST_KEY = "sha256"  # in that metadata, of the tensors
DIGEST_BYTES = hashlib.sha256().digest_size


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves the old one or the new one, never a part.

    Not for two processes that write one file at once: a stage's lock keeps the second one waiting.

    Raises:
        GoldrmError: when it can't be written.
    """
    # One name, not a random one: what a SIGKILL leaves behind goes when the file is written again.
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> GoldrmError:
    """What to say when a file can't be written."""
    return GoldrmError(
        f"{path} can't be written: {error.strerror}. Make room or allow writing there, "
        "then run again; finished work is kept."
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, one key a line, in its order; raises like `write_whole`."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write tensors and what describes them as .safetensors; the same bytes for the same input.

    Raises:
        GoldrmError: when the file can't be written.
    """
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    described = json.dumps({**(metadata or {}), DIGEST_KEY: _digest(contiguous)})
    write_whole(path, safetensors.torch.save(contiguous, {METADATA_KEY: described}))


def read_tensors(path: Path, name: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a .safetensors file; metadata is empty where goldrm wrote none.

    Args:
        path: the file.
        name: what to call it in messages, where that isn't its path.

    Raises:
        GoldrmError: when the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:  # pyright: ignore
            described: dict[str, str] = file.metadata() or {}
            # Copies: the file may change while the tensors are in use.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        metadata = json.loads(described.get(METADATA_KEY, "{}"))
        if not isinstance(metadata, dict):
            raise ValueError(f"its metadata is {metadata!r:.80}")
        digest = metadata.pop(DIGEST_KEY, None)
        if digest is not None and digest != _digest(tensors):
            raise ValueError("its tensors aren't those that were written")
        return tensors, metadata
    except FileNotFoundError:
        raise GoldrmError(f"{path} doesn't exist. `dvc repro` makes it.") from None
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise GoldrmError(
            f"{name or path} is not a whole .safetensors file ({error}). Delete it and make it or "
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


class ResumePoint:
    """The one checkpoint from which interrupted work goes on, replaced as the work proceeds."""

    def __init__(self, path: Path) -> None:
        """`path` lies in a folder that belongs to the work's inputs, code and parameters."""
        self._path = path

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint; a kill while this runs leaves the one before."""
        # Through memory: torch.save(path) writes the file's name into the file.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        # A checksum first: torch.load doesn't look at its archive's own.
        write_whole(self._path, hashlib.sha256(content).digest() + content)

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, or None where there is none.

        Raises:
            GoldrmError: when it is damaged.
        """
        try:
            stored = self._path.read_bytes()
            digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("its checksum is another")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise GoldrmError(
                f"{self._path} is damaged ({type(error).__name__}). Delete it: the work starts "
                "again from its beginning."
            ) from None

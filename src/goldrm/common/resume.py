"""The checkpoint from which interrupted work goes on."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic

DIGEST_BYTES = hashlib.sha256().digest_size


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
        write_atomic(self._path, hashlib.sha256(content).digest() + content)

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

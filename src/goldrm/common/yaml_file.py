"""YAML files, read as YAML 1.2: 1e-4 is a number there, as `dvc exp run -S` writes it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from goldrm.common.errors import GoldrmError, shown

MAX_BYTES = 100_000  # the parser takes seconds, and a thousand times the memory, for 1 MB


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping; a key that stands twice is refused.

    Raises:
        GoldrmError: when the file is missing, unreadable or not such a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise GoldrmError(
            f"{path} doesn't exist here. Run from the project's root folder, or restore it "
            f"with `git checkout -- {path}`."
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    return parse_yaml(content, path)


def load_yaml(text: str) -> Any:
    """What a text holds in YAML 1.2."""
    with warnings.catch_warnings(action="ignore"):  # of an anchor that is used again, say
        return YAML(typ="safe", pure=True).load(text)


def parse_yaml(
    content: bytes,
    path: Path,
    max_bytes: int = MAX_BYTES,
    load: Callable[[str], Any] = load_yaml,
) -> dict[str, Any]:
    """What a YAML file holds, whose content was read before; raises like `read_yaml`.

    Args:
        content: the file's.
        path: its name, for messages.
        max_bytes: it is refused if it has more.
        load: what a text holds; its ValueError says why a text can't be read.
    """
    try:
        if len(content) > max_bytes:
            raise ValueError(f"it has more than {max_bytes} bytes")
        values = load(content.decode())
    except (ValueError, LookupError, TypeError, AttributeError, YAMLError) as error:
        raise _unreadable(path, error) from None
    except (RecursionError, AssertionError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise GoldrmError(f"{path} must hold sections (`name: value`), found {shown(values)}.")
    return values


def _unreadable(path: Path, error: BaseException) -> GoldrmError:
    # A doubled key's message ends with advice on how to allow it.
    reason = " ".join(str(error).partition("To suppress this check")[0].split())
    return GoldrmError(
        f"{path} can't be read as YAML: {reason or type(error).__name__:.300}. Correct that place."
    )

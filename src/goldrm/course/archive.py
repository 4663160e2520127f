"""Opens torch.save archives from outside: only tensors and plain containers, nothing is executed.

NumPy's scalars, which training loops leave in them, become Python's numbers and texts.
"""

import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from goldrm.common.errors import GoldrmError
from goldrm.course.kinds import kind_of_archive, kind_of_other
from goldrm.course.limits import OPENING_BYTES, run_limited
from goldrm.course.numpy_scalars import STAND_INS

DAMAGED = "it is damaged or cut short. Get it again."
ZIP_START = b"PK\x03\x04"  # by which torch.load, too, knows an archive of PyTorch 1.6 or later
FOLDER = 0x10  # among a part's attributes; of it torch.load gives what the memory held before


def load_archive(path: Path, name: str) -> Any:
    """The content of an archive, after opening it in a process of its own within limits.

    `weights_only` keeps an archive from running code. It doesn't keep it from taking all memory
    (compressed zeros, a call of bytearray), nor from never ending (a key of tuples in tuples).

    Args:
        path: the file.
        name: what to call it in messages.

    Raises:
        GoldrmError: when it is missing, damaged, takes too much, or holds anything else.
    """
    try:
        size = path.stat().st_size
        found = (
            kind_of_other(path, ".pkl")
            if path.is_file()
            else "it is no file. Name the file itself."
        )
    except FileNotFoundError:
        raise GoldrmError(f"{name} doesn't exist. Correct the path in params.yaml.") from None
    except OSError as error:
        raise _unreadable(
            name, f"{error.strerror}. Correct the path, or allow reading it."
        ) from None
    except ValueError:
        raise _unreadable(name, "no file has such a name. Correct the path.") from None
    found = found or run_limited(open_archive, path, OPENING_BYTES + 3 * size)
    if found is not None:
        raise _unreadable(name, found)
    return open_archive(path)


def open_archive(path: Path) -> Any:
    """The content of an archive, without limits.

    Raises:
        GoldrmError: when it can't be read: what it is instead, and what to do.
    """
    try:
        _check_parts(path)
        with torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, GoldrmError):
        raise
    except Exception as error:
        raise GoldrmError(kind_of_archive(path) or _kind_of_object(error) or DAMAGED) from None


def _check_parts(path: Path) -> None:
    """Check the parts of an archive by the checksums that torch.save gave them.

    torch.load doesn't look at these. Archives of before PyTorch 1.6 have none.
    """
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP_START)) == ZIP_START
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            folders = [part.filename for part in archive.infolist() if part.external_attr & FOLDER]
        if damaged is not None or folders:
            raise ValueError(f"its part {damaged or folders[0]} isn't as it was written")


def _kind_of_object(error: Exception) -> str | None:
    """What it was that PyTorch didn't let a pickle make, if that is the trouble."""
    if not isinstance(error, UnpicklingError):
        return None
    if unknown := re.search(r"GLOBAL (\S+)", str(error)):
        kind = "numpy.ndarray" if "_reconstruct" in unknown[1] else unknown[1]
        return f"it holds a {kind:.60}. Save a model's state_dict, and plain numbers and texts."
    if re.search(r"Unsupported operand 1[45]\d", str(error)):
        return "it was saved with another pickle_protocol than 2. Save it by torch.save's own."
    return None


def _unreadable(name: str, found: str) -> GoldrmError:
    return GoldrmError(
        f"{name} can't be read as plain tensors and containers, and nothing else is ever "
        f"loaded: {found}"
    )

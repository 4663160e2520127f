"""Bounds on the memory and the time that reading a file from outside can take.

The limit on memory is a POSIX one, which Linux keeps in full and macOS in part.
"""

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from goldrm.common.errors import GoldrmError

OPENING_BYTES = 512 << 20  # memory that opening even a small file may take
OPENING_SECONDS = 60  # that opening a file may take, whether it computes, waits or sleeps
REMEDY = "Get the right file."
# What a fresh process runs: this module, found where this process found it.
_CHILD = (
    "import gc, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1]); "
    "from goldrm.course.limits import main; main(*sys.argv[2:])"
)


@contextmanager
def memory_limit(extra_bytes: int) -> Generator[None]:
    """Let this process take so much more memory than it has; past that, allocations fail.

    What fails raises MemoryError, or an error of the library that allocates. The limit is the whole
    process's, so no other thread should be at work. Where the system has none, none is set.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def run_limited(
    read: Callable[[Path], object],
    path: Path,
    extra_bytes: int,
    seconds: int = OPENING_SECONDS,
) -> str | None:
    """Try to read a file in a fresh process within limits, so that it can only bring down that one.

    A fork of this process would be quicker, but beside running threads it may wait for ever.

    Args:
        read: reads the file; a function that its module has under its name.
        path: the file.
        extra_bytes: memory that reading may take.
        seconds: time that all may take; at its end, the process and its children are killed.

    Returns:
        Why it failed, in words; None where it succeeded.

    Raises:
        GoldrmError: when no process can be started.
    """
    sys_path = json.dumps([str(entry) for entry in sys.path])
    arguments = [sys_path, read.__module__, read.__name__, str(path), str(extra_bytes)]
    try:
        child = subprocess.Popen(
            [sys.executable, "-IBc", _CHILD, *arguments, str(seconds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise GoldrmError(
            f"{path} can't be tried in a process of its own: {error.strerror}. Run again."
        ) from None
    with child:
        try:
            reason, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"it takes more than {seconds} s. {REMEDY}"
        finally:
            with suppress(ProcessLookupError):  # no child is left of it
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode:
        return f"it makes the reader crash. {REMEDY}"
    return reason.decode() or None


def main(module: str, function: str, path: str, extra_bytes: str, seconds: str) -> None:
    """The fresh process's whole life: print why reading fails, if it does."""
    signal.alarm(int(seconds))  # for when the parent is killed
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    read = getattr(importlib.import_module(module), function)
    gc.freeze()  # what was imported need not be looked through, at the end either
    gc.enable()
    reason = ""
    try:
        with memory_limit(int(extra_bytes)):
            read(Path(path))
    except MemoryError:
        reason = f"it takes more than {int(extra_bytes) >> 20} MiB of memory. {REMEDY}"
    except GoldrmError as error:
        reason = str(error)
    except BaseException as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.160}"
    sys.stdout.buffer.write(reason.encode(errors="replace"))

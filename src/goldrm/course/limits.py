"""Bounds on the memory and time that a file from outside can take; it must not know any format.

POSIX limits, which Linux keeps in full and macOS in part.
"""

import os
import resource
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = 512 << 20  # bytes that a small file may take once it is open
SECONDS = 60  # of a processor, to open one


@contextmanager
def memory_limit(more: int) -> Generator[None]:
    """Let this process take only so many bytes more; past them allocations raise MemoryError.

    Libraries may raise errors of their own instead.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):  # where the system knows no such limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def rehearse(action: Callable[[], object], more: int, seconds: int = SECONDS) -> str | None:
    """Do something in a child process first, which a bomb may take down in this one's place.

    Args:
        action: what to do; its result is thrown away.
        more: bytes that it may take.
        seconds: processor time that it may take.

    Returns:
        Why it failed, in words; None where it succeeded.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _act(action, more, seconds, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor isn't a path
        reason = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        too_long = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return f"it takes more than {seconds} s" if too_long else "it makes the reader crash"
    return reason or None


def _act(action: Callable[[], object], more: int, seconds: int, writer: int) -> None:
    """The child's whole life; it ends here, without its parent's tidying up."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        with memory_limit(more):
            action()
    except MemoryError:
        os.write(writer, f"it takes more than {more >> 20} MiB of memory".encode())
    except BaseException as error:
        reason = str(error).split("\n")[0]
        os.write(writer, f"{type(error).__name__}: {reason:.160}".encode(errors="replace"))
    finally:
        os._exit(0)

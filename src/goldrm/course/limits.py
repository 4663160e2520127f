"""Bounds on the memory and the time that reading a file from outside can take.

They are POSIX limits, which Linux keeps in full and macOS in part.
"""

import os
import resource
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

OPENING_BYTES = 512 << 20  # memory that opening even a small file may take
OPENING_SECONDS = 60  # of a processor's time that opening a file may take


@contextmanager
def memory_limit(extra_bytes: int) -> Generator[None]:
    """Let this process take so much more memory than it has; past that, allocations fail.

    What fails raises MemoryError, or an error of the library that allocates. Where the system has
    no such limit, none is set.
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
    action: Callable[[], object], extra_bytes: int, cpu_seconds: int = OPENING_SECONDS
) -> str | None:
    """Try an action in a child process within limits, so that it can only bring down the child.

    Args:
        action: what to do; its result is thrown away.
        extra_bytes: memory that it may take.
        cpu_seconds: processor time that it may take.

    Returns:
        Why it failed, in words; None where it succeeded.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_and_exit(action, extra_bytes, cpu_seconds, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor isn't a path
        reason = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        too_long = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return f"it takes more than {cpu_seconds} s" if too_long else "it makes the reader crash"
    return reason or None


def _run_and_exit(
    action: Callable[[], object], extra_bytes: int, cpu_seconds: int, writer: int
) -> None:
    """The child's whole life: why the action failed goes into the pipe `writer`.

    The child ends here, without the tidying up that is its parent's.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
        with memory_limit(extra_bytes):
            action()
    except MemoryError:
        os.write(writer, f"it takes more than {extra_bytes >> 20} MiB of memory".encode())
    except BaseException as error:
        reason = str(error).split("\n")[0]
        os.write(writer, f"{type(error).__name__}: {reason:.160}".encode(errors="replace"))
    finally:
        os._exit(0)

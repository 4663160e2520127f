"""Functions that read a file as a hostile one makes them; a fresh process finds them here."""

import os
import signal
import time
from pathlib import Path
from threading import Lock

from goldrm.common.errors import GoldrmError

FOREVER = 600  # seconds
LOCK = Lock()


def succeed(path: Path) -> bytes:
    return path.read_bytes()


def wait_for_lock(path: Path) -> None:
    with LOCK:
        succeed(path)


def print_much(path: Path) -> None:
    os.write(2, path.read_bytes() * 100_000)


def end_in_a_sentence(path: Path) -> None:
    raise GoldrmError(f"{path.name} isn't ours. " + "It is too long to be cut. " * 20)


def raise_an_error(path: Path) -> None:
    raise ValueError(f"{path.name} holds {'x' * 1000}\nand more")


def take_memory_at_once(_path: Path) -> None:
    bytearray(8 << 30)


def take_memory_bit_by_bit(_path: Path) -> None:
    parts: list[bytes] = []
    while True:
        parts.append(bytes(1 << 20))


def crash(_path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(_path: Path) -> None:
    os._exit(3)


def sleep(_path: Path) -> None:
    time.sleep(FOREVER)


def compute(_path: Path) -> None:
    while True:
        pass


def stop(_path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_signals(path: Path) -> None:
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    note_and_sleep(path)


def note_and_sleep(path: Path) -> None:
    """Add this process's number to the file, then sleep."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(FOREVER)


def fork_and_sleep(path: Path) -> None:
    os.fork()
    note_and_sleep(path)


def fork_and_crash(path: Path) -> None:
    if not os.fork():
        note_and_sleep(path)
    crash(path)

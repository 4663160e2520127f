"""One stage's work shared by several processes, on one machine or, started by torchrun, on many.

One process leads: it says which chunks are wanted, gets the results and writes all files. The
others only compute. What a chunk holds depends on its number alone, so the number of processes
changes nothing but the speed. What fails is said once, by the process that it happened to first.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from typing import Any, NoReturn, TypeVar

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from goldrm.common.errors import GoldrmError

T = TypeVar("T")
PATIENCE = timedelta(days=30)  # with a process that works; one that ends is noticed at once
JOINING = timedelta(seconds=30)  # within which processes that are there reach each other
STORE = "GOLDRM_STORE"  # a variable: the file through which one machine's processes find each other
FAILURES = "failures"  # in the store: how many processes have failed
# For glibc: keep 256 MiB of freed memory. By default large blocks go back to the system at once,
# and each new one is cleared page by page, which took 5 to 30 % of sampling.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}


class Workers:
    """The processes that share a stage's work: this one alone, for which sharing is a loop."""

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that gets results and writes files."""
        return True

    @property
    def hide_progress(self) -> bool:
        """A progress bar's `disable`: only the leader shows one."""
        return not self.is_leader

    def broadcast(self, value: T | None) -> T:
        """The leader's value, in all processes; the others' isn't looked at."""
        assert value is not None
        return value

    def map(
        self, chunks: Iterable[int], work: Callable[[int], T], same_machine: bool = False
    ) -> Iterator[tuple[int, T]]:
        """Do the work of some chunks, every process a part of it. All come here together.

        Args:
            chunks: their numbers; the leader's count, and are asked for one by one: it may go by
                the results so far when to stop, give or take the number of processes.
            work: makes one chunk; the result can be pickled.
            same_machine: only by processes on the leader's machine, which see its files.

        Yields:
            Number and result of each chunk, in order, to the leader; nothing to the others.
        """
        del same_machine
        yield from ((chunk, work(chunk)) for chunk in chunks)

    def let_first_fail(self) -> None:
        """Return in the first process that fails, which then says why; end the others quietly."""

    def map_to_all(self, chunks: Iterable[int], work: Callable[[int], T]) -> list[T]:
        """Like `map`, but every process gets all results, in order."""
        results = [result for _, result in self.map(chunks, work)]
        return self.broadcast(results if self.is_leader else None)


ALONE = Workers()


class JoinedWorkers(Workers):
    """Several processes, each of which has an object of this class."""

    def __init__(self) -> None:
        """Join the others, which the same launcher started.

        Raises:
            GoldrmError: when they can't be reached.
        """
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
            _use_loopback_only()
        try:
            self._store = _found_store()
            # Imports take longer on one machine than on another.
            self._store.set(f"imported {rank}", "")
            self._store.wait([f"imported {each}" for each in range(size)], PATIENCE)
            # What is exchanged are results, in main memory.
            dist.init_process_group(
                "gloo", store=self._store, rank=rank, world_size=size, timeout=JOINING
            )
        except (OSError, RuntimeError) as error:
            if os.environ["LOCAL_RANK"] != "0":  # whose machine's others say it
                _end_quietly()
            raise GoldrmError(
                f"{socket.gethostname()} can't reach the other processes by way of "
                f"{os.environ.get('MASTER_ADDR')} ({str(error):.100}). Give torchrun addresses "
                "that all machines know (--rdzv-endpoint, --local-addr), and set "
                "GLOO_SOCKET_IFNAME to the network interface between them."
            ) from None
        dist.distributed_c10d._set_pg_timeout(PATIENCE)  # pyright: ignore[reportPrivateUsage]
        atexit.register(dist.destroy_process_group)  # else its threads may abort the process

    @property
    def is_leader(self) -> bool:
        """Process 0 leads."""
        return dist.get_rank() == 0

    def broadcast(self, value: T | None) -> T:
        """The leader's value, in all processes; the others' isn't looked at."""
        box: list[Any] = [value]
        with _all_take_part():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def map(
        self, chunks: Iterable[int], work: Callable[[int], T], same_machine: bool = False
    ) -> Iterator[tuple[int, T]]:
        """See `Workers.map`: as many chunks at a time as there are processes."""
        # The launcher gives the leader's machine the first ranks.
        workers = int(os.environ["LOCAL_WORLD_SIZE"]) if same_machine else dist.get_world_size()
        wanted = iter(chunks)
        while True:
            together = self.broadcast(list(islice(wanted, workers)) if self.is_leader else None)
            if not together:
                return
            own = together[dist.get_rank() : dist.get_rank() + 1]
            results = self._gather([work(chunk) for chunk in own])
            if self.is_leader:
                yield from zip(together, (r for part in results for r in part), strict=True)

    def let_first_fail(self) -> None:
        """Return in the first process that fails, which then says why; end the others quietly."""
        with suppress(RuntimeError):  # the launcher that counts was killed
            if self._store.add(FAILURES, 1) > 1:
                _end_quietly()

    def _gather(self, results: list[T]) -> list[list[T]]:
        """What each process made, to the leader."""
        boxes: list[Any] | None = [None] * dist.get_world_size() if self.is_leader else None
        with _all_take_part():
            dist.gather_object(results, boxes, dst=0)
        return boxes or []


@contextmanager
def _all_take_part() -> Generator[None]:
    try:
        yield
    except RuntimeError:  # another process has ended, and has said why, or its launcher does
        _end_quietly()


def _end_quietly() -> NoReturn:
    time.sleep(1)  # the other one may not have said it yet, and launchers end all when one ends
    sys.exit(1)


def _use_loopback_only() -> None:
    """Make one machine's processes talk without its network, and without looking up its name."""
    interfaces = [name for _, name in socket.if_nameindex()]
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for name in interfaces if name.startswith("lo"))
    os.environ["MASTER_ADDR"] = "127.0.0.1"


def _found_store() -> Store:
    """Where processes find each other: a file, where `launch` started them, else torchrun's.

    Raises:
        OSError: when it can't be reached; PyTorch's own wait for it fills the screen.
    """
    if STORE in os.environ:
        return dist.FileStore(os.environ[STORE])  # pyright: ignore[reportPrivateImportUsage]
    hosts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and os.environ["RANK"] == "0"
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    deadline = time.monotonic() + JOINING.total_seconds()
    while not hosts:
        try:
            socket.create_connection(address, JOINING.total_seconds()).close()
            break
        except OSError as error:
            if isinstance(error, socket.gaierror) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    return next(rendezvous("env://", timeout=JOINING))[0]


def join() -> Workers:
    """Become one of several processes, where a launcher (torchrun, `launch`) has started this one.

    Raises:
        GoldrmError: when the others can't be reached.
    """
    return JoinedWorkers() if dist.is_torchelastic_launched() else ALONE


def launch(processes: int) -> NoReturn:
    """Run this program again, in so many processes that share its work, and exit as they do.

    Raises:
        GoldrmError: when one of them was killed, or none can be started.
        KeyboardInterrupt: when they were interrupted.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):  # whoever ends this process ends them all
        signal.signal(ending, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="goldrm-") as folder:
            failed = _first_failure(processes, f"{folder}/store")
    except OSError as error:
        raise GoldrmError(
            f"{processes} processes can't be started: {error.strerror}. Make room in "
            f"{tempfile.gettempdir()}, or set runtime.processes to 1."
        ) from None
    if failed == -signal.SIGINT:
        raise KeyboardInterrupt
    if failed < 0:  # it could not say so
        raise GoldrmError(
            f"a process that shared this work was ended by {signal.Signals(-failed).name}, as the "
            "system does where memory is short. Run `dvc repro` again: finished work is kept."
        )
    sys.exit(failed)


def _first_failure(processes: int, store: str) -> int:
    """Run this program in so many processes; the status of the first that fails, else 0."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        # In the children it waits until they have said what is to be done.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for rank in range(processes):
            children.append(_started(rank, processes, store))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while None in (statuses := [child.poll() for child in children]) and not any(statuses):
            time.sleep(0.05)
        return next(filter(None, statuses), 0)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _started(rank: int, processes: int, store: str) -> "subprocess.Popen[bytes]":
    """This program's process of a rank, told as torchrun tells it."""
    told = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "TORCHELASTIC_RUN_ID": "goldrm",  # by which PyTorch, too, tells that it has been launched
        STORE: store,
        **ALLOCATOR,
    }
    environment = os.environ | {name: str(value) for name, value in told.items()}
    return subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment)

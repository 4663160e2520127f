"""One stage's work shared by several processes, on one machine or many, by PyTorch's launcher.

One process leads: it says which chunks are wanted, gets the results and writes all files. The
others only compute. What a chunk holds depends on its number alone, so the number of processes
changes nothing but the speed.
"""

import atexit
import logging
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from goldrm.common.errors import GoldrmError

T = TypeVar("T")
PATIENCE = timedelta(days=30)  # with a process that works; one that ends is noticed at once
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
    def hide_progress(self) -> bool | None:
        """A progress bar's `disable`: only the leader shows one, and only on a terminal."""
        return None if self.is_leader else True

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
            GoldrmError: when another process ends before all have joined.
        """
        # What is exchanged are results, in main memory.
        with _all_take_part():
            dist.init_process_group("gloo", timeout=PATIENCE)
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
    except RuntimeError:
        raise GoldrmError(
            "another process that shared this work has ended. Mend what it said, if anything, "
            "and run `dvc repro` again: finished work is kept."
        ) from None


def join_or_launch(processes: int) -> Workers:
    """Become one of several processes that run this program.

    Where a launcher (torchrun) has started this one, join the others. Otherwise, where more than
    one process is wanted, start them, wait for them and exit as they do.

    Raises:
        GoldrmError: when another process ends before all have joined.
        KeyboardInterrupt: when the processes were interrupted.
    """
    if dist.is_torchelastic_launched():
        return JoinedWorkers()
    if processes > 1:
        _launch(processes)
    return ALONE


def _launch(processes: int) -> None:
    logging.disable()  # what went wrong has been said by the process that it happened to
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    os.environ.update(ALLOCATOR)
    try:
        elastic_launch(config, sys.executable)("-m", "goldrm.pipeline.run", *sys.argv)
    except ChildFailedError:
        sys.exit(1)
    except SignalException:
        raise KeyboardInterrupt from None
    sys.exit(0)

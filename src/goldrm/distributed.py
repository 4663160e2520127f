"""One stage's work shared by several processes, on one machine or many, by PyTorch's launcher.

Process 0 leads: it says which chunks are wanted, gets the results and writes all files. The others
only compute. What a chunk holds depends on its number alone, so the number of processes changes
nothing but the speed. It must not know what the chunks are.
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

from goldrm.errors import GoldrmError

T = TypeVar("T")
PATIENCE = timedelta(days=30)  # with a process that works; one that ends is noticed at once
# For glibc: keep 256 MiB of freed memory. By default large blocks go back to the system at once,
# and each new one is cleared page by page, which took 5 to 30 % of sampling.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}


def launch(processes: int) -> None:
    """Become one of several processes that run this program.

    Where a launcher (torchrun) has started this one, join the others. Otherwise, where more than
    one process is wanted, start them, wait for them and exit as they do.

    Raises:
        GoldrmError: when the launcher, or another process, ends before all have joined.
        KeyboardInterrupt: when the processes were interrupted.
    """
    if dist.is_torchelastic_launched():
        # What is exchanged are results, in main memory.
        with _together():
            dist.init_process_group("gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)  # else its threads may abort the process
    elif processes > 1:
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
            elastic_launch(config, sys.executable)("-m", "goldrm.run", *sys.argv)
        except ChildFailedError:
            sys.exit(1)
        except SignalException:
            raise KeyboardInterrupt from None
        sys.exit(0)


def leads() -> bool:
    """Whether this process is the one that writes; alone it is."""
    return not dist.is_initialized() or dist.get_rank() == 0


def hides_progress() -> bool | None:
    """A progress bar's `disable`: only the leader shows one, and only on a terminal."""
    return None if leads() else True


def agreed(value: T | None) -> T:
    """The leader's value, in all processes; the others' isn't looked at."""
    if not dist.is_initialized():
        assert value is not None
        return value
    box: list[Any] = [value]
    with _together():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def shared(
    chunks: Iterable[int], work: Callable[[int], T], here: bool = False
) -> Iterator[tuple[int, T]]:
    """Do the work of some chunks, every process a part of it.

    Args:
        chunks: their numbers; the leader's count, and are asked for one by one: it may go by the
            results so far when to stop, give or take the number of processes.
        work: makes one chunk; the result can be pickled.
        here: only by processes on the leader's machine, which see its files.

    Yields:
        Number and result of each chunk, in order, to the leader; nothing to the others.
    """
    if not dist.is_initialized():
        yield from ((chunk, work(chunk)) for chunk in chunks)
        return
    # The launcher gives the leader's machine the first ranks.
    workers = int(os.environ["LOCAL_WORLD_SIZE"]) if here else dist.get_world_size()
    wanted = iter(chunks)
    while round_ := agreed(list(islice(wanted, workers)) if leads() else None):
        mine = round_[dist.get_rank() : dist.get_rank() + 1]
        results = _gather([work(chunk) for chunk in mine])
        if leads():
            yield from zip(round_, (made for each in results for made in each), strict=True)


def shared_with_all(chunks: Iterable[int], work: Callable[[int], T]) -> list[T]:
    """Like `shared`, but every process gets all results; all must come here together."""
    made = [result for _, result in shared(chunks, work)]
    return agreed(made if leads() else None)


def _gather(made: list[T]) -> list[list[T]]:
    """What each process made, to the leader."""
    boxes: list[Any] | None = [None] * dist.get_world_size() if leads() else None
    with _together():
        dist.gather_object(made, boxes, dst=0)
    return boxes or []


@contextmanager
def _together() -> Generator[None]:
    """A block in which all processes must take part."""
    try:
        yield
    except RuntimeError:
        raise GoldrmError(
            "another process that shared this work has ended. Mend what it said, if anything, "
            "and run `dvc repro` again: finished work is kept."
        ) from None

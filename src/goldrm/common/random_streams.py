"""Random streams that belong to a purpose and an index, never to the order of execution.

Whatever draws random numbers does so inside `random_stream(seed, purpose, index)`. So chunk 17 of
the pairs gets the same numbers whether it is made first, last, again after a kill or in another
process.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager

import torch


def stream_seed(seed: int, purpose: str, index: int) -> int:
    """The 63-bit seed of one stream, independent for every (seed, purpose, index)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def random_stream(seed: int, purpose: str, index: int = 0) -> Generator[None]:
    """Seed PyTorch's global generators for a block of code and restore them afterwards.

    The global generators, not one of our own, because dropout takes no other. Not by
    `torch.manual_seed`, which formats a stack trace for each kind of device that isn't there.
    """
    number = stream_seed(seed, purpose, index)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(number)
        if torch.accelerator.is_available():
            torch.get_device_module().manual_seed(number)
        yield

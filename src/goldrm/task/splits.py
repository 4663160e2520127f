"""The splits, and which of them a family and its prompts are in."""

import hashlib
from functools import lru_cache
from typing import Literal

from goldrm.task.prompts import Prompts

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Shares of the splits. Not parameters: a family's split is a function of the family and
# task.split_seed alone, so that no two runs that share a seed can disagree about it.
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1


@lru_cache(maxsize=100_000)
def split_of_family(family: tuple[int, ...], split_seed: int) -> Split:
    """The split that a family's hash puts it in: a function of the two alone."""
    name = " ".join(map(str, family))
    digest = hashlib.blake2b(f"{split_seed}/{name}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < TEST_SHARE:
        return "test"
    if position < TEST_SHARE + VALIDATION_SHARE:
        return "validation"
    return "train"


def ids_in_split(prompts: Prompts, split: Split, split_seed: int) -> list[int]:
    """The numbers of all prompts of a split's families, ascending."""
    return sorted(
        prompt_id
        for family, prompt_ids in prompts.families()
        if split_of_family(family, split_seed) == split
        for prompt_id in prompt_ids
    )

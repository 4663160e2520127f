"""Completions sampled from the language model, chunk by chunk, until they make enough pairs.

It must not know how completions are decoded or labelled, nor which files a stage writes.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from goldrm.common import workers as distributed
from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.generation.decoding import complete
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.params import SamplingParams
from goldrm.lm.model import Backbone
from goldrm.task.task import Task

# Without a single usable pair after this many chunks there won't be enough of them ever.
BARREN_CHUNKS = 20


def sample_chunk(
    index: int, backbone: Backbone, task: Task, sampling: SamplingParams, seed: int
) -> pd.DataFrame:
    """Draw a chunk of prompts and sample their completions: a function of (seed, index) alone.

    Args:
        index: the chunk's number, from 0.
        backbone: the frozen language model; its dropout and its numbers' type become `sampling`'s.
        task: gives the gold rewards.
        sampling: chunk size, completions a prompt, and how to decode.
        seed: the run's.

    Returns:
        Rows of `Task.completion`, `sampling.completions_per_prompt` for each prompt; `group`
        numbers the prompts drawn in the whole run.
    """
    with random_stream(seed, "pairs", index):
        prompt_ids = torch.randint(len(task.space), (sampling.chunk_size,)).tolist()
        return _sampled(
            prompt_ids, sampling.completions_per_prompt, backbone, task, sampling
        ).assign(group=lambda rows: rows["group"] + index * sampling.chunk_size)


def sample_of_prompts(
    prompt_ids: Sequence[int],
    copies: int,
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    seed: int,
    work: Path,
) -> Iterator[pd.DataFrame]:
    """Many completions of given prompts, shared by all processes; the leader gets them.

    Args:
        prompt_ids: the prompts; each is a group, and a random stream, of its own.
        copies: completions of each.
        backbone: the frozen language model.
        task: gives the gold rewards.
        sampling: how to decode.
        seed: the run's.
        work: folder in which finished prompts survive a kill.

    Yields:
        Rows of `Task.completion` of one prompt after the other.
    """

    def make(number: int) -> pd.DataFrame:
        with random_stream(seed, "completions of a prompt", prompt_ids[number]):
            rows = _sampled([prompt_ids[number]], copies, backbone, task, sampling)
        return rows.assign(group=number)

    numbers = range(len(prompt_ids))
    missing = [number for number in numbers if not _file(work, number).exists()]
    made = distributed.shared(missing, make)
    hidden = distributed.hides_progress()
    for number, rows in tqdm(
        made, total=len(missing), desc=work.name, unit="prompt", disable=hidden
    ):
        write_parquet(_file(work, number), rows)
    if distributed.leads():
        yield from sampled_chunks(work)


def _sampled(
    prompt_ids: Sequence[int],
    copies: int,
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
) -> pd.DataFrame:
    backbone.train(sampling.dropout).to(getattr(torch, sampling.dtype))
    repeated = [prompt_id for prompt_id in prompt_ids for _ in range(copies)]
    prompts = [task.dictionary.encode(task.space[i].text) for i in repeated]
    completions = complete(
        backbone, prompts, sampling.decoder, sampling.temperature, sampling.max_new_tokens
    )
    return pd.DataFrame(
        task.completion(row // copies, prompt_id, token_ids)
        for row, (prompt_id, token_ids) in enumerate(zip(repeated, completions, strict=True))
    )


def sample_chunks(
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    num_pairs: int,
    seed: int,
    work: Path,
) -> None:
    """Make chunk after chunk, shared by all processes, until they hold `num_pairs` pairs.

    Args:
        backbone: the frozen language model.
        task: gives the gold rewards.
        sampling: how completions are sampled.
        num_pairs: how many pairs are wanted.
        seed: the run's.
        work: folder in which finished chunks survive a kill; `sampled_chunks` reads them.

    Raises:
        GoldrmError: when the language model makes too few mistakes to learn from.
    """
    found = 0

    def missing() -> Iterator[int]:
        nonlocal found
        for index in count():
            if found >= num_pairs:
                return
            if not found and index >= BARREN_CHUNKS:
                raise GoldrmError(
                    f"in {BARREN_CHUNKS} chunks no two completions of a prompt differed in gold "
                    "reward. Raise sampling.temperature or set sampling.dropout to true."
                )
            if _file(work, index).exists():
                found += len(preference_pairs(read_parquet(_file(work, index)), task))
            else:
                yield index

    def make(index: int) -> pd.DataFrame:
        return sample_chunk(index, backbone, task, sampling, seed)

    hidden = distributed.hides_progress()
    with tqdm(total=num_pairs, desc="generate_pairs", unit="pair", disable=hidden) as progress:
        for index, completions in distributed.shared(missing(), make):
            write_parquet(_file(work, index), completions)
            found += len(preference_pairs(completions, task))
            progress.update(min(found, num_pairs) - progress.n)


def sampled_chunks(work: Path) -> Iterator[pd.DataFrame]:
    """The completions of the chunks that `sample_chunks` made, in order, one chunk in memory."""
    for index in count():
        if not _file(work, index).exists():
            return
        yield read_parquet(_file(work, index))


def _file(work: Path, index: int) -> Path:
    return work / f"completions-{index:06d}.parquet"

"""Completions sampled from the language model, chunk by chunk; finished chunks survive a kill."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from goldrm.common.errors import GoldrmError
from goldrm.common.random_streams import random_stream
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.common.workers import Workers
from goldrm.generation.decoding import complete
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.params import SamplingParams
from goldrm.lm.model import Backbone
from goldrm.task.task import Task

# When so many chunks hold no pair at all, there won't be enough pairs ever.
MAX_CHUNKS_WITHOUT_PAIR = 20


def sample_completions(
    prompt_ids: Sequence[int],
    copies: int,
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
) -> pd.DataFrame:
    """Completions of some prompts, from the current random stream.

    Args:
        prompt_ids: the prompts.
        copies: completions of each.
        backbone: the frozen language model; its mode and its weights' type become `sampling`'s.
        task: gives the gold rewards.
        sampling: how to decode.

    Returns:
        Rows of `Task.completion`; the i-th prompt's are group i.
    """
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


def sample_chunk(
    index: int, backbone: Backbone, task: Task, sampling: SamplingParams, seed: int
) -> pd.DataFrame:
    """Completions of random prompts: a function of seed and chunk number alone.

    Args:
        index: the chunk's number, from 0.
        backbone: the frozen language model; its mode and its weights' type become `sampling`'s.
        task: gives the gold rewards.
        sampling: chunk size, completions a prompt, and how to decode.
        seed: the run's.

    Returns:
        Rows of `Task.completion`, `sampling.completions_per_prompt` of each prompt; `group` is the
        prompt's number among those of all chunks.
    """
    with random_stream(seed, "pairs", index):
        prompt_ids = torch.randint(len(task.space), (sampling.chunk_size,)).tolist()
        chunk = sample_completions(
            prompt_ids, sampling.completions_per_prompt, backbone, task, sampling
        )
    return chunk.assign(group=chunk["group"] + index * sampling.chunk_size)


def sample_chunks(
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    num_pairs: int,
    seed: int,
    work: Path,
    workers: Workers,
) -> None:
    """Sample chunk after chunk until they hold `num_pairs` pairs; `sampled_chunks` reads them.

    Args:
        backbone: the frozen language model.
        task: gives the gold rewards.
        sampling: how completions are sampled.
        num_pairs: how many pairs are wanted.
        seed: the run's.
        work: folder in which finished chunks survive a kill.
        workers: who share the work.

    Raises:
        GoldrmError: when the language model makes too few mistakes to learn from.
    """

    def sample(index: int) -> pd.DataFrame:
        return sample_chunk(index, backbone, task, sampling, seed)

    missing = _MissingChunks(task, num_pairs, work)
    hide = workers.hide_progress
    with tqdm(total=num_pairs, desc="sample pairs", unit="pair", disable=hide) as progress:
        for index, completions in workers.map(missing, sample):
            write_parquet(_chunk_path(work, index), completions)
            missing.count_pairs(completions)
            progress.update(min(missing.num_pairs, num_pairs) - progress.n)


class _MissingChunks:
    """Numbers of the chunks that aren't sampled yet, until all chunks hold enough pairs.

    Attributes:
        num_pairs: how many pairs the chunks hold that have been looked at so far.
    """

    def __init__(self, task: Task, num_wanted: int, work: Path) -> None:
        self._task, self._num_wanted, self._work = task, num_wanted, work
        self.num_pairs = 0

    def count_pairs(self, completions: pd.DataFrame) -> None:
        self.num_pairs += len(preference_pairs(completions, self._task))

    def __iter__(self) -> Iterator[int]:
        for index in count():
            if self.num_pairs >= self._num_wanted:
                return
            if not self.num_pairs and index >= MAX_CHUNKS_WITHOUT_PAIR:
                raise GoldrmError(
                    f"in {MAX_CHUNKS_WITHOUT_PAIR} chunks no two completions of a prompt differed "
                    "in gold reward. Raise sampling.temperature or set sampling.dropout to true."
                )
            path = _chunk_path(self._work, index)
            if path.exists():
                self.count_pairs(read_parquet(path))
            else:
                yield index


def sample_of_prompts(
    prompt_ids: Sequence[int],
    copies: int,
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    seed: int,
    work: Path,
    workers: Workers,
) -> Iterator[pd.DataFrame]:
    """Many completions of given prompts; a prompt is a chunk, with a random stream of its own.

    Args:
        prompt_ids: the prompts.
        copies: completions of each.
        backbone: the frozen language model.
        task: gives the gold rewards.
        sampling: how to decode.
        seed: the run's.
        work: folder in which finished chunks survive a kill.
        workers: who share the work.

    Returns:
        To the leader, rows of `Task.completion` of one prompt after the other, `group` being the
        prompt's index; to the other workers, nothing.
    """

    def sample(index: int) -> pd.DataFrame:
        with random_stream(seed, "completions of a prompt", prompt_ids[index]):
            rows = sample_completions([prompt_ids[index]], copies, backbone, task, sampling)
        return rows.assign(group=index)

    missing = [i for i in range(len(prompt_ids)) if not _chunk_path(work, i).exists()]
    sampled = workers.map(missing, sample)
    hide = workers.hide_progress
    for index, rows in tqdm(
        sampled, total=len(missing), desc=work.name, unit="prompt", disable=hide
    ):
        write_parquet(_chunk_path(work, index), rows)
    return sampled_chunks(work) if workers.is_leader else iter(())


def sampled_chunks(work: Path) -> Iterator[pd.DataFrame]:
    """The completions of the chunks in a folder, in order, one chunk at a time in memory."""
    for index in count():
        if not _chunk_path(work, index).exists():
            return
        yield read_parquet(_chunk_path(work, index))


def _chunk_path(work: Path, index: int) -> Path:
    return work / f"completions-{index:06d}.parquet"

"""A split's prompts, sampled chunk by chunk until there are enough different pairs.

Each split goes by random streams of its own: how many pairs of one are wanted changes no other.
"""

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from goldrm.common.errors import GoldrmError
from goldrm.common.progress import progress_bar
from goldrm.common.random_streams import random_stream
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.common.workers import Workers
from goldrm.generation.chunks import chunk_path, sample_completions
from goldrm.generation.params import NUM_PAIRS_PARAMETERS, SamplingParams
from goldrm.generation.preferences import PreferenceDataset
from goldrm.lm.model import Backbone
from goldrm.task.splits import Split
from goldrm.task.task import Task

# When so many chunks in a row hold no pair at all, there won't be enough pairs ever.
MAX_CHUNKS_WITHOUT_PAIR = 20


class SplitSampler:
    """Makes the chunks of a split: completions of its prompts, which come in a random order.

    Attributes:
        split: whose prompts.
        prompt_ids: all of them, in the order in which they are sampled, round after round.
        chunks_per_round: how many chunks hold each prompt once; the last may be smaller.
    """

    def __init__(
        self, split: Split, backbone: Backbone, task: Task, sampling: SamplingParams, seed: int
    ) -> None:
        """The sampler of a split.

        Args:
            split: whose prompts.
            backbone: the frozen language model; its mode and its weights' type become `sampling`'s.
            task: gives the prompts and the gold rewards.
            sampling: chunk size, completions a prompt, and how to decode.
            seed: the run's.

        Raises:
            GoldrmError: when the split has no prompts.
        """
        self.split: Split = split
        self._backbone, self._task, self._sampling, self._seed = backbone, task, sampling, seed
        prompt_ids = task.ids_in(split)
        with random_stream(seed, f"{split} prompts"):
            self.prompt_ids = [prompt_ids[i] for i in torch.randperm(len(prompt_ids)).tolist()]
        self.chunks_per_round = math.ceil(len(prompt_ids) / sampling.chunk_size)

    def chunk(self, index: int) -> pd.DataFrame:
        """Completions of some prompts: a function of seed, split and chunk number alone.

        Args:
            index: the chunk's number, from 0; it goes on in the next round.

        Returns:
            Columns of `Task.labelled`, `sampling.completions_per_prompt` of each prompt. Groups are
            numbered through: chunk i's begin with i * `sampling.chunk_size`.
        """
        size = self._sampling.chunk_size
        first = index % self.chunks_per_round * size
        with random_stream(self._seed, f"{self.split} pairs", index):
            chunk = sample_completions(
                self.prompt_ids[first : first + size],
                self._sampling.completions_per_prompt,
                self._backbone,
                self._task,
                self._sampling,
            )
        return chunk.assign(group=chunk["group"] + index * size)


def sample_split(
    sampler: SplitSampler, dataset: PreferenceDataset, work: Path, workers: Workers
) -> None:
    """Sample chunk after chunk until a dataset is complete.

    Args:
        sampler: makes the chunks.
        dataset: gets them, in the leading process.
        work: a folder for this split alone, in which finished chunks survive a kill.
        workers: who share the work.

    Raises:
        GoldrmError: when the language model doesn't make so many different pairs.
    """
    with progress_bar(
        total=dataset.num_wanted,
        desc=f"sample {sampler.split} pairs",
        unit="pair",
        disable=workers.hide_progress,
    ) as progress:
        missing = _MissingChunks(sampler, dataset, work, progress)
        for index, completions in workers.map(missing, sampler.chunk):
            write_parquet(chunk_path(work, index), completions)


class _MissingChunks:
    """Numbers of the chunks that aren't sampled yet, until the finished ones complete a dataset.

    Finished chunks are collected strictly in their order, whoever made them and when. So neither
    the number of workers nor a kill decides what is in the dataset, or whether it is refused.
    """

    def __init__(
        self,
        sampler: SplitSampler,
        dataset: PreferenceDataset,
        work: Path,
        progress: "tqdm[Any]",
    ) -> None:
        self._sampler, self._dataset, self._work = sampler, dataset, work
        self._progress = progress
        self._num_collected = 0
        self._num_without_new = 0  # of these the last ones that brought no new pair

    def __iter__(self) -> Iterator[int]:
        for index in count():
            self._collect_finished()
            if self._dataset.is_complete:
                return
            if not chunk_path(self._work, index).exists():
                yield index

    def _collect_finished(self) -> None:
        while not self._dataset.is_complete:
            path = chunk_path(self._work, self._num_collected)
            if not path.exists():
                return
            before = len(self._dataset.pairs)
            self._dataset.collect(read_parquet(path))
            num_new = len(self._dataset.pairs) - before
            self._progress.update(num_new)
            self._num_collected += 1
            self._num_without_new = 0 if num_new else self._num_without_new + 1
            self._refuse_to_go_on_in_vain()

    def _refuse_to_go_on_in_vain(self) -> None:
        split, num_pairs = self._sampler.split, len(self._dataset.pairs)
        if self._num_without_new < MAX_CHUNKS_WITHOUT_PAIR:
            return
        if not num_pairs:
            raise GoldrmError(
                f"in {MAX_CHUNKS_WITHOUT_PAIR} chunks of the {split} split no two completions of a "
                "prompt differed in gold reward. Raise sampling.temperature or set "
                "sampling.dropout to true."
            )
        if self._num_without_new >= self._sampler.chunks_per_round:
            raise GoldrmError(
                f"sampling all {len(self._sampler.prompt_ids)} prompts of the {split} split again "
                f"brought no new pair: there are {num_pairs} different ones. Lower "
                f"pairs.{NUM_PAIRS_PARAMETERS[split]} to that, or raise sampling.temperature."
            )

"""Completions sampled from the language model, chunk by chunk; finished chunks survive a kill."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch

from goldrm.common.random_streams import random_stream
from goldrm.common.tables import read_parquet, write_parquet
from goldrm.common.work_files import make_missing
from goldrm.common.workers import Workers
from goldrm.generation.decoding import complete
from goldrm.generation.params import SamplingParams
from goldrm.lm.model import Backbone
from goldrm.task.task import Task


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
        Columns of `Task.labelled`; the i-th prompt's are group i.
    """
    backbone.train(sampling.dropout).to(getattr(torch, sampling.dtype))
    prompts = [task.dictionary.encode(task.space[i].text) for i in prompt_ids]
    groups = [group for group in range(len(prompts)) for _ in range(copies)]
    completions = complete(
        backbone,
        [prompts[group] for group in groups],
        sampling.decoder,
        sampling.temperature,
        sampling.max_new_tokens,
    )
    answers = map(task.dictionary.integers_in, completions)
    return task.labelled(zip(groups, [prompt_ids[i] for i in groups], answers, strict=True))


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
        To the leader, columns of `Task.labelled`, of one prompt after the other, `group` being the
        prompt's index; to the other workers, nothing.
    """

    def sample(index: int) -> pd.DataFrame:
        with random_stream(seed, "completions of a prompt", prompt_ids[index]):
            rows = sample_completions([prompt_ids[index]], copies, backbone, task, sampling)
        return rows.assign(group=index)

    files = [chunk_path(work, index) for index in range(len(prompt_ids))]
    make_missing(files, sample, write_parquet, workers, work.name, "prompt")
    return map(read_parquet, files) if workers.is_leader else iter(())


def chunk_path(work: Path, index: int) -> Path:
    """The file of a finished chunk."""
    return work / f"completions-{index:06d}.parquet"

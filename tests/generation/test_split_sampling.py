"""A split's completions are the language model's, chunk by chunk, whoever makes them and when."""

import io
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from completions_by_hand import completions_of
from notebook_reference import NotebookLM, generate, gold_rewards, pick_greedy
from pandas.testing import assert_frame_equal
from tasks_by_hand import with_series

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.common.tables import ParquetBuffer, write_parquet
from goldrm.common.workers import ALONE
from goldrm.generation.chunks import chunk_path
from goldrm.generation.pairs import PAIR_KEY
from goldrm.generation.params import SamplingParams
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.split_sampling import SplitSampler, sample_split
from goldrm.lm.model import Backbone
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import SPLITS, Split
from goldrm.task.task import Task


@pytest.fixture
def sampling(params: Params) -> SamplingParams:
    """The committed way of sampling, in small chunks of short completions."""
    changes = {"chunk_size": 4, "max_new_tokens": 6, "completions_per_prompt": 2}
    return params.sampling.model_copy(update=changes)


@pytest.fixture(scope="module")
def task(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    """A small one: 324 prompts, of 54 families in two lengths and three wordings."""
    ranges = {"start": IntRange(min=0, max=5), "terms": IntRange(min=5, max=6)}
    return Task(dictionary, with_series(task_params, **ranges), gold_reward_params)


def content(buffer: ParquetBuffer) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(buffer.content()))


def sampled(sampler: SplitSampler, task: Task, num_pairs: int, work: Path) -> pd.DataFrame:
    """So many pairs, and the completions that were sampled for them, one table after the other."""
    dataset = PreferenceDataset(sampler.split, num_pairs, task)
    sample_split(sampler, dataset, work, ALONE)
    return pd.concat([content(dataset.pairs), content(dataset.completions)], ignore_index=True)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("num_pairs", "completions_per_prompt"), [(1, 2), (10, 2), (21, 3)])
def test_chunks_are_made_until_the_different_pairs_suffice(
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    tmp_path: Path,
    split: Split,
    num_pairs: int,
    completions_per_prompt: int,
):
    sampling = sampling.model_copy(update={"completions_per_prompt": completions_per_prompt})
    sampler = SplitSampler(split, backbone, task, sampling, seed=0)
    dataset = PreferenceDataset(split, num_pairs, task)
    sample_split(sampler, dataset, tmp_path, ALONE)
    pairs = content(dataset.pairs)
    assert len(pairs) == num_pairs
    assert not pairs.duplicated(PAIR_KEY).any()
    assert {task.split_of(prompt_id) for prompt_id in pairs["prompt_id"]} == {split}

    # Without the last chunk there are too few.
    shorter = PreferenceDataset(split, num_pairs, task)
    for index in range(len(list(tmp_path.iterdir())) - 1):
        shorter.collect(pd.read_parquet(chunk_path(tmp_path, index)))
    assert not shorter.is_complete


def test_more_pairs_begin_with_the_fewer(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    sampler = SplitSampler("train", backbone, task, sampling, seed=0)
    fewer = sampled(sampler, task, 5, tmp_path / "fewer")[:5]
    more = sampled(sampler, task, 11, tmp_path / "more")[:11]
    assert_frame_equal(more[:5], fewer)


def test_sampled_pairs_have_the_reference_rewards(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    sampler = SplitSampler("test", backbone, task, sampling, seed=0)
    pairs = sampled(sampler, task, 12, tmp_path)[:12]
    for row in pairs.to_dict("records"):
        exact = Series(row["template"], row["start"], row["difference"], row["terms"]).exact(100)
        for side in ("chosen", "rejected"):
            series = [int(token) for token in row[side].split()]
            # With itself as its rival nothing but the exact series decides about the padding.
            reward, _ = gold_rewards(exact, series, series)
            assert row[f"{side}_gold_reward"] == pytest.approx(reward, abs=1e-5)
    assert (pairs["chosen_gold_reward"] > pairs["rejected_gold_reward"]).all()


def test_completions_are_the_language_models(
    backbone: Backbone, reference_lm: NotebookLM, task: Task, sampling: SamplingParams
):
    greedy = {"decoder": "sliding_window", "dropout": False, "temperature": 0.0}
    sampling = sampling.model_copy(update=greedy)
    chunk = SplitSampler("train", backbone, task, sampling, seed=0).chunk(0)
    dictionary = task.dictionary
    for row in chunk.to_dict("records"):
        prompt = dictionary.encode(task.space[row["prompt_id"]].text)
        with torch.no_grad():
            token_ids = generate(reference_lm, torch.tensor(prompt), 6, pick_greedy)
        words = dictionary.decode(token_ids).split()
        assert row["completion"] == " ".join(word for word in words if word.isdigit())


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_while_sampling_is_a_parameter(
    backbone: Backbone, task: Task, sampling: SamplingParams, dropout: bool
):
    """Whatever mode the language model comes in. Greedily, only dropout makes copies differ."""
    sampling = sampling.model_copy(
        update={"dropout": dropout, "temperature": 0.0, "max_new_tokens": 20}
    )
    sampler = SplitSampler("train", backbone, task, sampling, seed=0)
    backbone.train()
    first = sampler.chunk(0)
    backbone.eval()
    assert_frame_equal(sampler.chunk(0), first)
    copies = first.groupby("group")["completion"].nunique()
    assert copies.max() == (2 if dropout else 1)


@pytest.mark.parametrize("split", SPLITS)
def test_a_round_holds_every_prompt_of_the_split_once(
    backbone: Backbone, task: Task, sampling: SamplingParams, split: Split
):
    """The next one holds them in the same order, with other completions."""
    sampling = sampling.model_copy(update={"chunk_size": 7, "max_new_tokens": 2})
    sampler = SplitSampler(split, backbone, task, sampling, seed=0)
    num_chunks = {"train": 39, "validation": 5, "test": 4}[split]  # of 270, 30 and 24 prompts
    chunks = [sampler.chunk(index) for index in range(2 * num_chunks)]
    first, second = (
        pd.concat(part, ignore_index=True) for part in (chunks[:num_chunks], chunks[num_chunks:])
    )
    prompt_ids = first.drop_duplicates("group")["prompt_id"].tolist()
    asked = range(len(task.space))
    assert sorted(prompt_ids) == [i for i in asked if task.split_of(i) == split]
    assert prompt_ids != sorted(prompt_ids)
    assert (first.groupby("group").size() == 2).all()
    assert second["prompt_id"].tolist() == first["prompt_id"].tolist()
    assert second["completion"].tolist() != first["completion"].tolist()
    assert second["group"].tolist() == [group + 7 * num_chunks for group in first["group"]]


def test_prompts_are_ordered_by_seed_and_split(
    backbone: Backbone, task: Task, sampling: SamplingParams
):
    orders = [
        SplitSampler(split, backbone, task, sampling, seed).prompt_ids
        for split, seed in (("train", 0), ("train", 0), ("train", 1))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_split_without_prompts_is_refused(
    backbone: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    sampling: SamplingParams,
):
    """A single family is in a single split."""
    one = {"start": IntRange(min=0, max=0), "difference": IntRange(min=1, max=1)}
    task = Task(dictionary, with_series(task_params, **one), gold_reward_params)
    empty = next(split for split in SPLITS if split != task.split_of(0))
    with pytest.raises(GoldrmError, match=rf"the {empty} split has no prompts.*task\.split_seed"):
        SplitSampler(empty, backbone, task, sampling, seed=0)


def test_chunk_is_a_function_of_seed_split_and_index(
    backbone: Backbone, task: Task, sampling: SamplingParams
):
    sampler = SplitSampler("train", backbone, task, sampling, seed=0)
    first = sampler.chunk(2)
    torch.manual_seed(99)
    sampler.chunk(0)
    SplitSampler("test", backbone, task, sampling, seed=0).chunk(2)
    assert_frame_equal(sampler.chunk(2), first)
    other = SplitSampler("train", backbone, task, sampling, seed=1)
    for chunk in (sampler.chunk(1), other.chunk(2)):
        assert not chunk["completion"].equals(first["completion"])


def test_sampling_leaves_the_global_random_numbers_alone(
    backbone: Backbone, task: Task, sampling: SamplingParams
):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    SplitSampler("train", backbone, task, sampling, seed=0).chunk(0)
    assert torch.equal(torch.rand(3), expected)


def test_killed_sampling_goes_on_to_the_same_pairs(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    sampler = SplitSampler("train", backbone, task, sampling, seed=0)
    whole = sampled(sampler, task, 18, tmp_path / "whole")
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed)
    files = sorted(killed.iterdir())
    assert len(files) >= 5
    before = {file: file.read_bytes() for file in files}
    lost = [files[1], *files[3:]]
    for file in files:
        os.utime(file, (0, 0))
    for file in lost:
        file.unlink()

    assert_frame_equal(sampled(sampler, task, 18, killed), whole)

    assert {file: file.read_bytes() for file in sorted(killed.iterdir())} == before
    made_anew = [file for file in files if file.stat().st_mtime_ns > 0]
    assert made_anew == lost


def test_chunks_that_others_made_too_many_of_change_nothing(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    """With several workers more chunks may be under way than are needed in the end."""
    sampler = SplitSampler("test", backbone, task, sampling, seed=0)
    alone = sampled(sampler, task, 7, tmp_path / "alone")
    work = tmp_path / "more"
    sampled(sampler, task, 30, work)
    assert len(list(work.iterdir())) > len(list((tmp_path / "alone").iterdir())) + 1
    chunk_path(work, 0).unlink()
    assert_frame_equal(sampled(sampler, task, 7, work), alone)


def test_model_that_makes_no_mistakes_is_refused(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    """Greedily and without dropout both completions of a prompt are the same, for ever."""
    sampling = sampling.model_copy(
        update={"dropout": False, "temperature": 0.0, "chunk_size": 1, "max_new_tokens": 2}
    )
    sampler = SplitSampler("test", backbone, task, sampling, seed=0)
    with pytest.raises(GoldrmError, match=r"in 20 chunks of the test split .*sampling\.dropout"):
        sample_split(sampler, PreferenceDataset("test", 1, task), tmp_path, ALONE)
    assert len(list(tmp_path.iterdir())) == 20


@pytest.mark.parametrize(
    ("split", "parameter"), [("validation", "num_validation_pairs"), ("test", "num_test_pairs")]
)
@pytest.mark.parametrize("chunk_size", [1, 20])
def test_round_without_a_new_pair_is_refused(
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    tmp_path: Path,
    split: Split,
    parameter: str,
    chunk_size: int,
):
    """But not before 20 chunks: a small round may have no new pair by chance.

    Every chunk holds the same three pairs, and all are there before it begins.
    """
    num_prompts = {"validation": 30, "test": 24}[split]
    sampling = sampling.model_copy(update={"chunk_size": chunk_size})
    sampler = SplitSampler(split, backbone, task, sampling, seed=0)
    prompt = task.space[sampler.prompt_ids[0]]
    chunk = completions_of(task, prompt, "1", "2", "100")
    needed = 1 + (num_prompts if chunk_size == 1 else 20)
    for index in range(needed - 1):
        write_parquet(chunk_path(tmp_path, index), chunk)
    complete = PreferenceDataset(split, 3, task)
    sample_split(sampler, complete, tmp_path, ALONE)
    assert len(complete.pairs) == 3
    write_parquet(chunk_path(tmp_path, needed - 1), chunk)
    sentence = (
        rf"all {num_prompts} prompts of the {split} split .* 3 different .*pairs\.{parameter}"
    )
    dataset = PreferenceDataset(split, 4, task)
    with pytest.raises(GoldrmError, match=sentence):
        sample_split(sampler, dataset, tmp_path, ALONE)
    assert len(list(tmp_path.iterdir())) == needed

"""Completions are the language model's, chunk by chunk, whoever makes them and in what order."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM, generate, gold_rewards, pick_greedy
from pandas.testing import assert_frame_equal
from scipy import stats

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE
from goldrm.generation.chunks import (
    sample_chunk,
    sample_chunks,
    sample_of_prompts,
    sampled_chunks,
)
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.params import SamplingParams
from goldrm.lm.model import Backbone
from goldrm.task.series import Prompt
from goldrm.task.task import Task


@pytest.fixture
def sampling(params: Params) -> SamplingParams:
    """The committed way of sampling, in small chunks of short completions."""
    changes = {"chunk_size": 4, "max_new_tokens": 6, "completions_per_prompt": 2}
    return params.sampling.model_copy(update=changes)


def sampled(
    backbone: Backbone, task: Task, sampling: SamplingParams, num_pairs: int, work: Path
) -> pd.DataFrame:
    """All completions of the chunks that hold so many pairs."""
    sample_chunks(backbone, task, sampling, num_pairs, 0, work, ALONE)
    return pd.concat(sampled_chunks(work), ignore_index=True)


@pytest.mark.parametrize(("num_pairs", "completions_per_prompt"), [(1, 2), (10, 2), (20, 3)])
def test_chunks_are_made_until_the_pairs_suffice(
    backbone: Backbone,
    task: Task,
    sampling: SamplingParams,
    tmp_path: Path,
    num_pairs: int,
    completions_per_prompt: int,
):
    sampling = sampling.model_copy(update={"completions_per_prompt": completions_per_prompt})
    completions = sampled(backbone, task, sampling, num_pairs, tmp_path)
    assert len(preference_pairs(completions, task)) >= num_pairs
    last = completions["group"].max() // 4  # a chunk holds the groups of four prompts
    assert len(preference_pairs(completions[completions["group"] < 4 * last], task)) < num_pairs
    assert set(completions.groupby("group").size()) == {completions_per_prompt}


def test_more_pairs_begin_with_the_fewer(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    fewer = sampled(backbone, task, sampling, 5, tmp_path / "fewer")
    more = sampled(backbone, task, sampling, 11, tmp_path / "more")
    assert_frame_equal(more[: len(fewer)], fewer)


def test_sampled_pairs_have_the_reference_rewards(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    pairs = preference_pairs(sampled(backbone, task, sampling, 12, tmp_path), task)
    assert len(pairs) >= 12
    for row in pairs.to_dict("records"):
        exact = Prompt(row["template"], row["start"], row["difference"], row["terms"]).exact(100)
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
    chunk = sample_chunk(0, backbone, task, sampling.model_copy(update=greedy), seed=0)
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
    chunks = [
        sample_chunk(0, backbone.train(mode), task, sampling, seed=0) for mode in (True, False)
    ]
    assert_frame_equal(*chunks)
    copies = chunks[0].groupby("group")["completion"].nunique()
    assert copies.max() == (2 if dropout else 1)


def test_prompts_are_drawn_uniformly(backbone: Backbone, task: Task, sampling: SamplingParams):
    sampling = sampling.model_copy(update={"chunk_size": 1500, "max_new_tokens": 1})
    chunk = sample_chunk(3, backbone, task, sampling, seed=0)
    first = chunk.drop_duplicates("group")
    assert first["group"].tolist() == list(range(4500, 6000))
    prompts = [task.space[prompt_id] for prompt_id in first["prompt_id"]]
    for axis, values in [("template", 3), ("start", 100), ("difference", 9), ("terms", 10)]:
        counts = pd.Series(getattr(prompt, axis) for prompt in prompts).value_counts()
        assert len(counts) == values
        assert stats.chisquare(counts).pvalue > 1e-3


def test_chunk_is_a_function_of_seed_and_index(
    backbone: Backbone, task: Task, sampling: SamplingParams
):
    first = sample_chunk(2, backbone, task, sampling, seed=0)
    torch.manual_seed(99)
    sample_chunk(0, backbone, task, sampling, seed=0)
    torch.rand(7)
    assert_frame_equal(sample_chunk(2, backbone, task, sampling, seed=0), first)
    columns = ["prompt_id", "completion"]
    for index, seed in [(1, 0), (2, 1)]:
        other = sample_chunk(index, backbone, task, sampling, seed)
        assert not other[columns].equals(first[columns])


def test_sampling_leaves_the_global_random_numbers_alone(
    backbone: Backbone, task: Task, sampling: SamplingParams
):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    sample_chunk(0, backbone, task, sampling, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_killed_sampling_goes_on_to_the_same_pairs(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    whole = sampled(backbone, task, sampling, 18, tmp_path / "whole")
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed)
    files = sorted(killed.iterdir())
    assert len(files) >= 5
    content = {file: file.read_bytes() for file in files}
    lost = [files[1], *files[3:]]
    for file in files:
        os.utime(file, (0, 0))
    for file in lost:
        file.unlink()

    assert_frame_equal(sampled(backbone, task, sampling, 18, killed), whole)

    assert {file: file.read_bytes() for file in sorted(killed.iterdir())} == content
    made_anew = [file for file in files if file.stat().st_mtime_ns > 0]
    assert made_anew == lost


def test_model_that_makes_no_mistakes_is_refused(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    """Greedily and without dropout both completions of a prompt are the same, for ever."""
    sampling = sampling.model_copy(
        update={"dropout": False, "temperature": 0.0, "chunk_size": 1, "max_new_tokens": 2}
    )
    with pytest.raises(GoldrmError, match=r"in 20 chunks .*sampling\.dropout"):
        sample_chunks(backbone, task, sampling, 1, 0, tmp_path, ALONE)
    assert len(list(tmp_path.iterdir())) == 20


def test_completions_of_a_prompt_do_not_depend_on_the_other_prompts(
    backbone: Backbone, task: Task, sampling: SamplingParams, tmp_path: Path
):
    """Nor on which of them were sampled before a kill."""
    work = tmp_path / "together"
    together = list(sample_of_prompts([7, 400, 9], 3, backbone, task, sampling, 0, work, ALONE))
    assert [set(rows["group"]) for rows in together] == [{0}, {1}, {2}]
    assert [rows["prompt_id"].tolist() for rows in together] == [[7] * 3, [400] * 3, [9] * 3]
    (alone,) = sample_of_prompts([400], 3, backbone, task, sampling, 0, tmp_path / "alone", ALONE)
    assert_frame_equal(alone.assign(group=1), together[1])

    content = {file: file.read_bytes() for file in sorted(work.iterdir())}
    list(content)[1].unlink()
    again = sample_of_prompts([7, 400, 9], 3, backbone, task, sampling, 0, work, ALONE)
    assert_frame_equal(pd.concat(again), pd.concat(together))
    assert {file: file.read_bytes() for file in sorted(work.iterdir())} == content

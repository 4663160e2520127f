"""The course's training sets: completions of its pairs get the gold rewards of this task."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from completions_by_hand import TWO_TO_TEN
from notebook_reference import NotebookLM, gold_rewards, save_training_set, training_set

from goldrm.common.errors import GoldrmError
from goldrm.generation.params import ALL_PAIRS
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import read_source
from goldrm.generation.source_dataset import SourceDataset
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.prompts import Prompt
from goldrm.task.task import Task

# Both of the train split.
ONE_TO_FIVE = Series(template=3, start=1, difference=1, terms=5)
THREE_TO_ELEVEN = Series(template=2, start=3, difference=2, terms=5)


Collect = Callable[[list[tuple[list[int], list[int]]]], tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def collect(task: Task, tmp_path: Path, archives_opened_here: None) -> Collect:
    """Pairs and completions of the train split, of the sequences of a training set."""

    def collected(
        sequences: list[tuple[list[int], list[int]]],
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        path = tmp_path / "training.pt"
        entries = [
            [[torch.tensor(pair[side], dtype=torch.int64), torch.tensor(0.0)] for pair in sequences]
            for side in (0, 1)
        ]
        save_training_set(path, entries)
        dataset = PreferenceDataset("train", ALL_PAIRS, task)
        source = SourceDataset(dataset, task)
        source.collect(read_source(path, task), path.name)
        assert not len(source.preferences)
        pairs, completions = (
            pd.read_parquet(io.BytesIO(buffer.content()))
            for buffer in (dataset.pairs, dataset.completions)
        )
        return pairs, completions

    return collected


def sequence(dictionary: Dictionary, prompt: Series | Prompt, completion: str) -> list[int]:
    return dictionary.encode(f"{prompt.text} {completion}")


def test_pairs_of_the_notebooks_training_set(
    reference_lm: NotebookLM, collect: Collect, task: Task
):
    torch.manual_seed(0)
    positive, negative = training_set(
        reference_lm, list(task.dictionary.tokens), 30, max_new_tokens=5
    )
    sequences = [(p[0].tolist(), n[0].tolist()) for p, n in zip(positive, negative, strict=True)]

    pairs, completions = collect(sequences)

    parsed = [task.parse(task.dictionary.decode(ids)) for pair in sequences for ids in pair]
    splits = [task.split_of(found[0]) for found in parsed if found and found[0] is not None]
    assert 20 < splits.count("train") < len(splits) == 60
    assert set(completions["prompt_id"].map(task.split_of)) == {"train"}
    assert len(completions) == splits.count("train")
    texts = [{task.dictionary.decode(ids) for ids in pair} for pair in sequences]
    for row in pairs.to_dict("records"):
        assert {f"{row['prompt']} {row[side]}" for side in ("chosen", "rejected")} in texts
        exact = Series(row["template"], row["start"], row["difference"], row["terms"]).exact(100)
        for side in ("chosen", "rejected"):
            series = [int(token) for token in row[side].split()]
            reward, _ = gold_rewards(exact, series, series)
            assert row[f"{side}_gold_reward"] == pytest.approx(reward, abs=1e-5)
    assert 10 < len(pairs) < 30
    assert (pairs["margin"] > 0).all()


def test_sequences_are_labelled_anew(collect: Collect, task: Task):
    """The notebook pads to the longest of three, so a rival's length decides about a reward.

    Of 1 2 3 4 5, "1 2 3 4" misses one term by 1 and "1 2 3 4 5 5 5 5 5 7" one by 2. Padded to
    ten terms the short one misses six by 1, and the notebook calls the worse completion better.
    """
    short, long = "1 2 3 4", "1 2 3 4 5 5 5 5 5 7"
    dictionary = task.dictionary
    notebooks = gold_rewards(
        ONE_TO_FIVE.exact(100), [int(n) for n in short.split()], [int(n) for n in long.split()]
    )
    assert notebooks[1] > notebooks[0]

    sequences = [tuple(sequence(dictionary, ONE_TO_FIVE, text) for text in (long, short))]
    pairs, _ = collect(sequences)
    (row,) = pairs.to_dict("records")

    assert (row["chosen"], row["rejected"]) == (short, long)
    assert row["chosen_gold_reward"] == pytest.approx(1 + 6 / 1.1)
    assert row["rejected_gold_reward"] == pytest.approx(1 + 6 / (1 + 0.1 * 2**0.5))


def test_pairs_whose_new_labels_are_equal_are_dropped(collect: Collect, task: Task):
    """Both miss one term by 1; only padding to the rival's length tells them apart."""
    dictionary = task.dictionary
    equal = tuple(sequence(dictionary, ONE_TO_FIVE, text) for text in ("1 2 3 4 5 6", "1 2 3 4"))
    differing = tuple(sequence(dictionary, THREE_TO_ELEVEN, text) for text in ("3 5 7 9 11", "3"))
    pairs, completions = collect([equal, differing])
    assert pairs["prompt"].tolist() == [THREE_TO_ELEVEN.text]
    assert len(completions) == 4


def test_pairs_that_are_counted_are_different_and_of_train_families(collect: Collect, task: Task):
    """Of five pairs one stands there three times and one asks for a series of the test split."""
    unseen = task.space[task.ids_in("test")[0]]
    texts = [
        (THREE_TO_ELEVEN, "3 5"),
        (THREE_TO_ELEVEN, "3 5"),
        (unseen, "7"),
        (ONE_TO_FIVE, "1 2"),
    ]
    sequences = [
        (sequence(task.dictionary, prompt, text), sequence(task.dictionary, prompt, "100"))
        for prompt, text in [*texts, texts[0]]
    ]
    pairs, completions = collect(sequences)
    assert pairs["prompt"].tolist() == [THREE_TO_ELEVEN.text, ONE_TO_FIVE.text]
    assert len(completions) == 8


def test_empty_training_set_is_refused(collect: Collect, task: Task):
    with pytest.raises(GoldrmError, match=r"training\.pt holds no pair"):
        collect([])


@pytest.mark.parametrize("token_id", [129, -1, 10**12])
def test_ids_outside_the_dictionary_are_refused(collect: Collect, task: Task, token_id: int):
    good = sequence(task.dictionary, TWO_TO_TEN, "2 4 6")
    with pytest.raises(GoldrmError, match=r"training\.pt: pair 1 .*outside the dictionary's 0…128"):
        collect([(good, good), (good, [*good, token_id])])


@pytest.mark.parametrize("text", ["", "2 4 6", "generate an arithmetic series with 5 terms"])
def test_sequences_without_a_prompt_are_refused(collect: Collect, task: Task, text: str):
    token_ids = task.dictionary.encode(text)
    with pytest.raises(GoldrmError, match=r"training\.pt: pair 0 doesn't begin with"):
        collect([(token_ids, token_ids)])


@pytest.mark.parametrize("prompt", [Series(1, 2, 2, 20), Series(2, 100, 1, 5), Series(3, 2, 10, 5)])
def test_prompts_outside_the_task_are_refused(collect: Collect, task: Task, prompt: Series):
    token_ids = sequence(task.dictionary, prompt, "2 4 6")
    with pytest.raises(GoldrmError, match=r"training\.pt: the prompt of pair 0, .*task section"):
        collect([(token_ids, token_ids)])

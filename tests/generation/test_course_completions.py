"""Completions of ready-made pairs get the gold rewards of this task."""

import pytest
import torch
from completions_by_hand import TWO_TO_TEN
from notebook_reference import NotebookLM, gold_rewards, training_set

from goldrm.common.errors import GoldrmError
from goldrm.generation.course_completions import completions_from_sequences
from goldrm.generation.pairs import preference_pairs
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import Prompt
from goldrm.task.task import Task

ONE_TO_FIVE = Prompt(template=3, start=1, difference=1, terms=5)


def sequence(dictionary: Dictionary, prompt: Prompt, completion: str) -> list[int]:
    return dictionary.encode(f"{prompt.text} {completion}")


def test_pairs_of_the_notebooks_training_set(reference_lm: NotebookLM, task: Task):
    torch.manual_seed(0)
    positive, negative = training_set(
        reference_lm, list(task.dictionary.tokens), 15, max_new_tokens=5
    )
    sequences = [(p[0].tolist(), n[0].tolist()) for p, n in zip(positive, negative, strict=True)]

    completions = completions_from_sequences(sequences, task, 10, "training.pt")

    assert len(completions) == 30
    pairs = preference_pairs(completions, task)
    texts = [{task.dictionary.decode(ids) for ids in pair} for pair in sequences]
    for row in pairs.to_dict("records"):
        assert {f"{row['prompt']} {row[side]}" for side in ("chosen", "rejected")} in texts
        exact = Prompt(row["template"], row["start"], row["difference"], row["terms"]).exact(100)
        for side in ("chosen", "rejected"):
            series = [int(token) for token in row[side].split()]
            reward, _ = gold_rewards(exact, series, series)
            assert row[f"{side}_gold_reward"] == pytest.approx(reward, abs=1e-5)
    assert len(pairs) >= 10
    assert (pairs["margin"] > 0).all()


def test_sequences_are_labelled_anew(task: Task):
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
    completions = completions_from_sequences(sequences, task, 1, "training.pt")
    (row,) = preference_pairs(completions, task).to_dict("records")

    assert (row["chosen"], row["rejected"]) == (short, long)
    assert row["chosen_gold_reward"] == pytest.approx(1 + 6 / 1.1)
    assert row["rejected_gold_reward"] == pytest.approx(1 + 6 / (1 + 0.1 * 2**0.5))


def test_pairs_whose_new_labels_are_equal_are_dropped(task: Task):
    """Both miss one term by 1; only padding to the rival's length tells them apart."""
    dictionary = task.dictionary
    equal = tuple(sequence(dictionary, ONE_TO_FIVE, text) for text in ("1 2 3 4 5 6", "1 2 3 4"))
    differing = tuple(sequence(dictionary, TWO_TO_TEN, text) for text in ("2 4 6 8 10", "2"))
    completions = completions_from_sequences([equal, differing], task, 1, "training.pt")
    pairs = preference_pairs(completions, task)
    assert pairs["prompt"].tolist() == [TWO_TO_TEN.text]
    assert len(completions) == 4
    with pytest.raises(GoldrmError, match=r"training\.pt holds 1 pairs .*pairs\.num_pairs \(2\)"):
        completions_from_sequences([equal, differing], task, 2, "training.pt")


def test_empty_training_set_is_refused(task: Task):
    with pytest.raises(GoldrmError, match=r"training\.pt holds 0 pairs"):
        completions_from_sequences([], task, 1, "training.pt")


@pytest.mark.parametrize("token_id", [129, -1, 10**12])
def test_ids_outside_the_dictionary_are_refused(task: Task, token_id: int):
    good = sequence(task.dictionary, TWO_TO_TEN, "2 4 6")
    with pytest.raises(GoldrmError, match=r"training\.pt: pair 1 .*outside the dictionary's 0…128"):
        completions_from_sequences(
            [(good, good), (good, [*good, token_id])], task, 1, "training.pt"
        )


@pytest.mark.parametrize("text", ["", "2 4 6", "generate an arithmetic series with 5 terms"])
def test_sequences_without_a_prompt_are_refused(task: Task, text: str):
    token_ids = task.dictionary.encode(text)
    with pytest.raises(GoldrmError, match=r"training\.pt: pair 0 doesn't begin with"):
        completions_from_sequences([(token_ids, token_ids)], task, 1, "training.pt")


@pytest.mark.parametrize("prompt", [Prompt(1, 2, 2, 20), Prompt(2, 100, 1, 5), Prompt(3, 2, 10, 5)])
def test_prompts_outside_the_task_are_refused(task: Task, prompt: Prompt):
    token_ids = sequence(task.dictionary, prompt, "2 4 6")
    with pytest.raises(GoldrmError, match=r"training\.pt: the prompt of pair 0, .*task section"):
        completions_from_sequences([(token_ids, token_ids)], task, 1, "training.pt")

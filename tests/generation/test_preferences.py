"""Pairs are labelled by the exact gold reward, the same whatever order the work is done in."""

import io
import math

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_reference import NotebookLM, gold_rewards, training_set

from goldrm.common.errors import GoldrmError
from goldrm.generation.pairs import PAIR_COLUMNS, preference_pairs
from goldrm.generation.preferences import (
    COMPLETION_COLUMNS,
    Preferences,
    completions_from_sequences,
)
from goldrm.task.dictionary import Dictionary
from goldrm.task.series import SPLITS, Prompt, Split, split_of
from goldrm.task.task import Task

TWO_TO_TEN = Prompt(template=1, start=2, difference=2, terms=5)
ONE_TO_FIVE = Prompt(template=3, start=1, difference=1, terms=5)


@pytest.fixture(scope="module")
def prompts_in(task: Task) -> dict[Split, list[int]]:
    """The numbers of some prompts of each split."""
    splits = [split_of(task.space[i], task.params) for i in range(500)]
    return {split: [i for i in range(500) if splits[i] == split] for split in SPLITS}


def labelled(task: Task, prompt: Prompt, *texts: str, group: int = 0) -> pd.DataFrame:
    """Completions of one prompt, labelled."""
    prompt_id = task.space.id_of(prompt)
    encode = task.dictionary.encode
    return pd.DataFrame(task.completion(group, prompt_id, encode(text)) for text in texts)


def pairs_of(task: Task, prompt: Prompt, *texts: str) -> list[tuple[str, str]]:
    pairs = preference_pairs(labelled(task, prompt, *texts), task)
    return list(zip(pairs["chosen"], pairs["rejected"], strict=True))


def sequence(dictionary: Dictionary, prompt: Prompt, completion: str) -> list[int]:
    return dictionary.encode(f"{prompt.text} {completion}")


# Labels


@given(st.data())
def test_pairs_are_the_notebooks_where_lengths_are_equal(task: Task, data: st.DataObject):
    prompt = task.space[data.draw(st.integers(0, len(task.space) - 1))]
    exact = prompt.exact(100)
    near = [st.integers(max(0, value - 9), min(100, value + 9)) for value in exact]
    first, second = (list(data.draw(st.tuples(*near))) for _ in range(2))
    texts = [" ".join(map(str, series)) for series in (first, second)]

    pairs = preference_pairs(labelled(task, prompt, *texts), task)

    rewards = gold_rewards(exact, first, second)
    if rewards[0] == rewards[1]:
        assert pairs.empty
    else:
        (row,) = pairs.to_dict("records")
        better, worse = (0, 1) if rewards[0] > rewards[1] else (1, 0)
        assert (row["chosen"], row["rejected"]) == (texts[better], texts[worse])
        assert row["chosen_gold_reward"] == pytest.approx(rewards[better], abs=1e-5)
        assert row["rejected_gold_reward"] == pytest.approx(rewards[worse], abs=1e-5)
        assert row["margin"] == row["chosen_gold_reward"] - row["rejected_gold_reward"] > 0


@pytest.mark.parametrize("better_first", [True, False])
def test_pair_by_hand(task: Task, better_first: bool):
    texts = ["2 4 6 8 10", "2 4 6 8 16"]
    pairs = preference_pairs(
        labelled(task, TWO_TO_TEN, *(texts if better_first else reversed(texts))), task
    )
    assert list(pairs.columns) == list(PAIR_COLUMNS)
    (row,) = pairs.to_dict("records")
    off_by_6 = 1 + 6 / (1 + 0.1 * math.sqrt(6))  # the notebook's 5.819474697113037 in 32 bits
    assert row == {
        "prompt_id": task.space.id_of(TWO_TO_TEN),
        "template": 1,
        "start": 2,
        "difference": 2,
        "terms": 5,
        "prompt": "generate an arithmetic series with 5 terms starting with value 2 "
        "and common difference 2",
        "chosen": "2 4 6 8 10",
        "rejected": "2 4 6 8 16",
        "chosen_gold_reward": 7.0,
        "rejected_gold_reward": pytest.approx(off_by_6, abs=1e-12),
        "margin": pytest.approx(7 - off_by_6, abs=1e-12),
    }


def test_columns_have_their_types_even_without_pairs(task: Task):
    full = preference_pairs(labelled(task, TWO_TO_TEN, "2", "4"), task)
    empty = preference_pairs(labelled(task, TWO_TO_TEN, "2", "2"), task)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert full.dtypes.astype(str).to_dict() == PAIR_COLUMNS


def test_tokens_that_are_no_integers_are_removed(task: Task):
    (row,) = labelled(task, TWO_TO_TEN, "2 <SEP> 4 terms 6 <PAD> 8 10 series").to_dict("records")
    assert (row["completion"], row["gold_reward"], row["exact"]) == ("2 4 6 8 10", 7.0, True)


def test_largest_integer_is_kept(task: Task):
    """The notebook's filter drops 100, so that its exact completion gets 5.5."""
    prompt = Prompt(template=2, start=91, difference=9, terms=5)
    (row,) = labelled(task, prompt, "91 100").to_dict("records")
    assert (row["completion"], row["gold_reward"], row["exact"]) == ("91 100", 7.0, True)


def test_padded_completion_with_the_full_reward_is_not_exact(task: Task):
    """Its last term repeated costs nothing, by the notebook's padding, and yet isn't the answer."""
    (row,) = labelled(task, TWO_TO_TEN, "2 4 6 8 10 10").to_dict("records")
    assert (row["gold_reward"], row["exact"]) == (7.0, False)


@pytest.mark.parametrize("empty", ["", "<SEP> terms"])
def test_completion_without_integers_makes_no_pair(task: Task, empty: str):
    completions = labelled(task, TWO_TO_TEN, empty, "2 4 6 8 10")
    assert math.isnan(completions["gold_reward"][0])
    assert not completions["exact"][0]
    assert preference_pairs(completions, task).empty


def test_equal_gold_rewards_make_no_pair(task: Task):
    assert pairs_of(task, TWO_TO_TEN, "2 4 6 8 11", "2 5 6 8 10") == []


def test_three_completions_make_all_differing_pairs(task: Task):
    good, fair, poor = "2 4 6 8 10", "2 4 6 8 11", "2 4 6 8 16"
    expected = {(good, fair), (good, poor), (fair, poor)}
    for texts in [(good, fair, poor), (poor, fair, good), (fair, poor, good)]:
        pairs = pairs_of(task, TWO_TO_TEN, *texts)
        assert set(pairs) == expected
        assert len(pairs) == 3
    also_fair = "2 4 6 7 10"
    pairs = pairs_of(task, TWO_TO_TEN, fair, "terms", good, also_fair)
    assert sorted(pairs) == sorted([(good, fair), (good, also_fair)])


def test_completions_of_different_prompts_make_no_pair(task: Task):
    completions = pd.concat(
        [
            labelled(task, TWO_TO_TEN, "2 4 6 8 10", group=0),
            labelled(task, TWO_TO_TEN, "2 4 6 8 16", group=1),
        ]
    )
    assert preference_pairs(completions, task).empty


# Splits


def divided(task: Task, prompt_ids: list[int], num_pairs: int) -> dict[Split, pd.DataFrame]:
    """The pairs of each split, where every prompt has two completions."""
    rows = [
        {"group": group, "prompt_id": i, "completion": text, "gold_reward": reward, "exact": False}
        for group, i in enumerate(prompt_ids)
        for text, reward in (("1", 5.0), ("2", 6.0))
    ]
    collected = Preferences(task, num_pairs)
    half = len(prompt_ids) // 2 * 2
    collected.collect([pd.DataFrame(rows[:half]), pd.DataFrame(rows[half:])])
    pairs = {s: pd.read_parquet(io.BytesIO(b.content())) for s, b in collected.pairs.items()}
    for split, buffer in collected.completions.items():
        completions = pd.read_parquet(io.BytesIO(buffer.content()))
        assert dict(completions.dtypes.astype(str)) == COMPLETION_COLUMNS
        assert set(completions["prompt_id"]) >= set(pairs[split]["prompt_id"])
    return pairs


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 26_999), max_size=200))
def test_no_series_is_in_two_splits(
    task: Task, prompts_in: dict[Split, list[int]], prompt_ids: list[int]
):
    prompt_ids = [ids[0] for ids in prompts_in.values()] + prompt_ids  # no split may be empty
    splits = divided(task, prompt_ids, len(prompt_ids))
    assert sorted(pd.concat(splits.values())["prompt_id"]) == sorted(prompt_ids)
    series = [
        {task.space[prompt_id].exact(100) for prompt_id in rows["prompt_id"]}
        for rows in splits.values()
    ]
    assert sum(map(len, series)) == len(set.union(*series))


def test_same_series_by_another_prompt_is_in_the_same_split(
    task: Task, prompts_in: dict[Split, list[int]]
):
    """95, 95 + 9 …: whatever the number of terms and the wording, the series is just 95."""
    same = [
        task.space.id_of(Prompt(template, 95, difference, terms))
        for template in (1, 2, 3)
        for difference in (6, 7, 8, 9)
        for terms in range(5, 15)
    ]
    anchors = [ids[0] for ids in prompts_in.values()]
    splits = divided(task, anchors + same, 1000)
    assert sorted(map(len, splits.values())) == [1, 1, 1 + len(same)]


@pytest.mark.parametrize("num_pairs", [3, 4, 5, 6])
def test_number_of_pairs_is_exact(task: Task, prompts_in: dict[Split, list[int]], num_pairs: int):
    prompt_ids = [i for ids in prompts_in.values() for i in ids[:1]] + prompts_in["train"][1:7]
    splits = divided(task, prompt_ids, num_pairs)
    assert sum(map(len, splits.values())) == num_pairs


@pytest.mark.parametrize("missing", SPLITS)
def test_too_few_pairs_for_three_splits_are_refused(
    task: Task, prompts_in: dict[Split, list[int]], missing: Split
):
    prompt_ids = [prompts_in[split][0] for split in SPLITS if split != missing]
    with pytest.raises(GoldrmError, match=rf"none of the 2 pairs .*{missing}.*pairs\.num_pairs"):
        divided(task, prompt_ids, 2)


# The course's own training set


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


# The metrics


def test_summary_by_hand(task: Task):
    completions = pd.concat(
        [
            labelled(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 16", group=0),
            labelled(task, TWO_TO_TEN, "2 4 6 8 11", "2 4 6 9 10", group=1),
            labelled(task, TWO_TO_TEN, "2 4 6 8 9", "terms", group=2),
            labelled(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 10", "2 4 6 8 11", group=3),
        ]
    )
    off_by_1, off_by_6 = 1 + 6 / 1.1, 5.819474697113037
    # Groups 0 to 3 hold 1, 1, 0 and 3 pairs with two rewards; 1, 0, 0 and 2 of them differ.
    # Three of nine completions are exact.
    collected = Preferences(task, 10)
    with pytest.raises(GoldrmError, match="none of the 3 pairs"):
        collected.collect([completions])
    assert collected.summary() == {
        "pairs": 3,
        "kept": 0.6,
        "exact_match": 0.3333,
        "chosen_gold": 7.0,
        "rejected_gold": pytest.approx((off_by_6 + 2 * off_by_1) / 3, abs=1e-4),
        "margin": pytest.approx(7 - (off_by_6 + 2 * off_by_1) / 3, abs=1e-4),
    }

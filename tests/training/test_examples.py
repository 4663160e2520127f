"""What is trained on: the sampled completions asked for, and edits with exact labels."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from completions_by_hand import NO_PREFERENCES, pairs_among
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_reference import gold_rewards
from pandas.testing import assert_frame_equal
from tasks_by_hand import with_series

from goldrm.common.params import IntRange
from goldrm.edits.kinds import KINDS
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.preferences import COMPLETION_COLUMNS
from goldrm.task.arithmetic_series import HoldoutParams, Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.splits import SPLITS
from goldrm.task.task import Task
from goldrm.training.edited import Answer, Group
from goldrm.training.examples import (
    COLUMNS,
    Examples,
    met_test_series,
    training_set,
    validation_set,
)
from goldrm.training.params import DataParams, EditsParams

# A group's gold rewards differ, but where a text repeats another or its last number.
TEXTS = [
    ["1", "2", "1", "90"],
    ["5", "5", "5"],
    ["4 5 6", "4 5", "7 7"],
    ["9"],
    ["8 8", "8", "9"],
    ["50", "60"],
]


@pytest.fixture(scope="module")
def small_task(task_params: TaskParams) -> TaskParams:
    """216 prompts."""
    ranges = {"start": IntRange(min=0, max=1), "terms": IntRange(min=5, max=8)}
    return with_series(task_params, **ranges)


@pytest.fixture(scope="module")
def task(
    dictionary: Dictionary, small_task: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    return Task(dictionary, small_task, gold_reward_params)


@pytest.fixture(scope="module")
def data() -> DataParams:
    """All of the sampled completions, and no others."""
    return DataParams(
        num_pairs=None, completions_per_prompt=None, label_noise=0.0, ties=True, edits=None
    )


def with_edits(data: DataParams, **changes: Any) -> DataParams:
    """Also the exact series, and what else is asked for."""
    none = EditsParams(lengths=0, mistakes=0, random=0, kinds=list(KINDS), further_prompts=0)
    return data.model_copy(update={"edits": none.model_copy(update=changes)})


def table_of(examples: Examples) -> pd.DataFrame:
    return examples.table(examples.groups)


def sampled(task: Task, texts: Sequence[Sequence[str]] = TEXTS) -> pd.DataFrame:
    """A group for each list, numbered 3, 5, 7 …, of prompts of the train split."""
    prompt_ids = [i for i in task.ids_in("train") if task.space[i].properties["terms"] == 5]
    completions = task.labelled(
        (3 + 2 * number, prompt_id, tuple(map(int, text.split())))
        for number, (prompt_id, group) in enumerate(zip(prompt_ids[::2], texts, strict=False))
        for text in group
    )
    return task.with_prompts(completions)[[*task.prompt_columns, *COMPLETION_COLUMNS]]


def texts_of(completions: pd.DataFrame) -> list[list[str]]:
    return completions.groupby("group", sort=False)["completion"].agg(list).tolist()


# The sampled ones


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            [["1", "2", "90"], ["5"], ["4 5 6", "4 5", "7 7"], ["9"], ["8 8", "8", "9"], TEXTS[5]],
        ),
        (
            {"completions_per_prompt": 2},
            [["1", "2"], ["5"], ["4 5 6", "4 5"], ["9"], ["8 8", "8"], TEXTS[5]],
        ),
        (
            {"ties": False},
            [["1", "2", "90"], ["4 5 6", "4 5", "7 7"], ["8 8", "8", "9"], TEXTS[5]],
        ),
        (
            {"ties": False, "completions_per_prompt": 2},  # 8 8 and 8 are one series, padded
            [["1", "2"], ["4 5 6", "4 5"], TEXTS[5]],
        ),
        ({"num_pairs": 3}, [["1", "2", "90"]]),
        ({"num_pairs": 4}, [["1", "2", "90"], ["5"], ["4 5 6", "4 5", "7 7"]]),
        ({"num_pairs": 1, "ties": False, "completions_per_prompt": 2}, [["1", "2"]]),
        (
            {"num_pairs": 2, "ties": False, "completions_per_prompt": 2},
            [["1", "2"], ["4 5 6", "4 5"]],
        ),
    ],
    ids=str,
)
def test_sampled_completions_asked_for(
    task: Task, data: DataParams, changes: dict[str, Any], expected: list[list[str]]
):
    """Each once; the first ones of a prompt; without those that have no rival; so many pairs."""
    completions = sampled(task)
    found = table_of(
        training_set(completions, NO_PREFERENCES, task, data.model_copy(update=changes), seed=0)
    )
    assert texts_of(found) == expected
    assert found.dtypes.astype(str).to_dict() == COLUMNS
    kept = completions.drop_duplicates(["group", "completion"]).merge(
        found[["group", "completion"]], on=["group", "completion"]
    )
    assert_frame_equal(found, kept[list(COLUMNS)])


two_texts = st.lists(st.sampled_from(["1", "1 1", "2", "30", "4 5"]), min_size=2, max_size=2)


@given(st.lists(two_texts, min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=20)
def test_num_pairs_is_exact_for_two_completions_a_prompt(
    task: Task, data: DataParams, texts: list[list[str]], num_pairs: int
):
    """They are the first ones, as the notebook's 500; all where there are fewer."""
    completions = sampled(task, texts)
    asked = data.model_copy(update={"num_pairs": num_pairs, "ties": False})
    found = table_of(training_set(completions, NO_PREFERENCES, task, asked, seed=0))
    pairs = pairs_among(task, found.drop(columns="prompt"))
    assert_frame_equal(pairs, preference_pairs(completions, task)[:num_pairs])


def test_validation_set_is_each_sampled_completion_once(task: Task):
    completions = sampled(task)
    found = table_of(validation_set(completions, task))
    expected = completions.drop_duplicates(["group", "completion"], ignore_index=True)
    assert_frame_equal(found, expected[list(COLUMNS)])


def test_a_sampled_series_of_a_later_split_is_left_out(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
):
    """A prompt of the train split and one of validation, answered with a series of each split."""
    task = Task(dictionary, task_params, gold_reward_params)
    train, validation, _ = ids = [
        task.space.id_of(Series(1, start, difference, terms=5).text)
        for start, difference in ((0, 1), (2, 2), (1, 7))
    ]
    assert tuple(map(task.split_of, ids)) == SPLITS
    answers = {i: task.labelled((0, i, task.exact(j)) for j in ids) for i in ids}
    data = DataParams(
        num_pairs=None, completions_per_prompt=None, label_noise=0.0, ties=True, edits=None
    )
    trained_on = table_of(training_set(answers[train], NO_PREFERENCES, task, data, seed=0))
    assert texts_of(trained_on) == [["0 1 2 3 4"]]
    validated_on = table_of(validation_set(answers[validation], task))
    assert texts_of(validated_on) == [["0 1 2 3 4", "2 4 6 8 10"]]


def test_series_met_are_counted_once(task: Task):
    """Exact ones of the test split, whose only family here is 1 8 15 …"""
    met = ["1 8 15 22 29", "1 8 15 22 29 36", "1 8 15 22 29", "1 8 15", "0 7 14 21 28", "8 15 22"]
    assert met_test_series(pd.DataFrame({"completion": met}), task) == 2


# Edited ones, and further prompts


def test_edited_completions_join_their_group(task: Task, data: DataParams):
    """Before the sampled ones; mistakes behind them; what is there already is left out."""
    examples = training_set(
        sampled(task), NO_PREFERENCES, task, with_edits(data, lengths=1), seed=0
    )
    first, second = examples.groups[:2]
    assert examples.edited is not None
    mistakes = [Answer(*second, values) for values in ((5, 6), (5,), (5, 6), (7,))]
    found = examples.table([second, first], mistakes)
    assert found["group"].tolist() == sorted(found["group"], reverse=True)
    own = {group.number: list(examples.edited.completions(group)) for group in (first, second)}
    texts = {
        number: [" ".join(map(str, answer.values)) for answer in answers]
        for number, answers in own.items()
    }
    assert texts_of(found) == [
        [*texts[second.number], "5", "5 6", "7"],
        [*texts[first.number], "1", "2", "90"],
    ]
    assert len(texts[first.number]) == 3
    of_mistakes = found[found["completion"].isin(["5 6", "7"])]
    exact = task.exact(second.prompt_id)
    expected = [gold_rewards(exact, values, values)[0] for values in ((5, 6), (7,))]
    assert of_mistakes["gold_reward"].tolist() == pytest.approx(expected, abs=1e-5)


def test_groups_are_in_the_order_of_their_prompts(task: Task, data: DataParams):
    examples = training_set(
        sampled(task), NO_PREFERENCES, task, with_edits(data, further_prompts=30), seed=0
    )
    assert [group.prompt_id for group in examples.groups] == sorted(
        group.prompt_id for group in examples.groups
    )
    assert len(examples.groups) == len(TEXTS) + 30
    assert len({group.number for group in examples.groups}) == len(TEXTS) + 30


def test_further_prompts_are_the_train_splits(task: Task, data: DataParams):
    """Each a group of its own, behind the sampled ones; all others where more are asked for.

    Those that repeat a number first.
    """
    completions, in_train = sampled(task), task.ids_in("train")
    others = set(in_train) - set(completions["prompt_id"])
    for asked, expected in [(50, 50), (1000, len(in_train) - len(TEXTS))]:
        edits = with_edits(data, random=2, further_prompts=asked)
        examples = training_set(completions, NO_PREFERENCES, task, edits, seed=0)
        found = table_of(examples)
        further = found[found["group"] > completions["group"].max()]
        of_group = further.groupby("group")["prompt_id"].agg(["nunique", "first", "size"])
        assert (of_group["nunique"] == 1).all()
        assert (of_group["size"].min(), of_group["size"].max()) == (2, 3)
        assert of_group["first"].nunique() == len(of_group) == expected
        assert set(of_group["first"]) <= others
        repeating = {i for i in others if task.space[i].repeats_a_number}
        assert len(repeating & set(of_group["first"])) == min(len(repeating), expected)
        assert found["group"].drop_duplicates().tolist() == [
            group.number for group in examples.groups
        ]


def test_held_out_prompts_are_neither_trained_nor_validated_on(
    task: Task,
    data: DataParams,
    small_task: TaskParams,
    dictionary: Dictionary,
    gold_reward_params: GoldRewardParams,
):
    """Of 216 prompts those of template 2, difference 3 and 4, and 5 terms."""
    holdout = HoldoutParams(template=[2], difference=[3, 4], terms=[5])
    strict = Task(dictionary, with_series(small_task, holdout=holdout), gold_reward_params)
    in_train = task.ids_in("train")
    completions = task.with_prompts(task.labelled((i, i, (1, 2, i % 9)) for i in in_train[::5]))
    edits = with_edits(data, random=1, further_prompts=1000)

    def kept(prompt_id: int) -> bool:
        asked = Series(**task.space[prompt_id].properties)
        return asked.template != 2 and asked.difference not in (3, 4) and asked.terms != 5

    for examples, all_ids in [
        (training_set(completions, NO_PREFERENCES, strict, edits, seed=0), in_train),
        (validation_set(completions, strict), in_train[::5]),
    ]:
        assert set(table_of(examples)["prompt_id"]) == set(filter(kept, all_ids))


def test_everything_held_out_leaves_nothing(
    data: DataParams,
    task: Task,
    small_task: TaskParams,
    dictionary: Dictionary,
    gold_reward_params: GoldRewardParams,
):
    holdout = HoldoutParams(template=[1, 2, 3], difference=[], terms=[])
    strict = Task(dictionary, with_series(small_task, holdout=holdout), gold_reward_params)
    edits = with_edits(data, random=1, further_prompts=10)
    for asked in (edits, edits.model_copy(update={"ties": False, "num_pairs": 3})):
        assert training_set(sampled(task), NO_PREFERENCES, strict, asked, seed=0).groups == []


def test_same_seed_same_set(task: Task, data: DataParams):
    edits = with_edits(data, random=2, further_prompts=30)
    first, same, other = (
        table_of(training_set(sampled(task), NO_PREFERENCES, task, edits, seed))
        for seed in (0, 0, 1)
    )
    assert_frame_equal(first, same)
    assert set(first["prompt_id"]) != set(other["prompt_id"])
    assert set(first["completion"]) != set(other["completion"])


@given(st.lists(st.integers(0, 35), min_size=1, unique=True))
@settings(max_examples=20)
def test_a_group_is_the_same_whichever_are_asked_for_with_it(
    task: Task, data: DataParams, chosen: list[int]
):
    """In any process, and again after a kill."""
    edits = with_edits(data, random=2, lengths=1, further_prompts=30)
    examples = training_set(sampled(task), NO_PREFERENCES, task, edits, seed=0)
    whole = table_of(examples)
    groups = [examples.groups[number] for number in chosen]
    expected = pd.concat([whole[whole["group"] == group.number] for group in groups])
    assert_frame_equal(examples.table(groups), expected.reset_index(drop=True))


def test_no_groups_have_no_rows(task: Task, data: DataParams):
    found = training_set(sampled(task), NO_PREFERENCES, task, data, seed=0).table([])
    assert found.dtypes.astype(str).to_dict() == COLUMNS
    assert found.empty


def test_groups_without_edits_have_what_was_sampled(task: Task, data: DataParams):
    examples = training_set(sampled(task), NO_PREFERENCES, task, data, seed=0)
    assert examples.edited is None
    assert examples.groups == [
        Group(3 + 2 * number, prompt_id)
        for number, prompt_id in enumerate(sampled(task)["prompt_id"].unique().tolist())
    ]


# Pairs of which only the order is known


def own_pairs(task: Task) -> pd.DataFrame:
    """Of the task's prompts 0 and 1, which are the train split's, and of two that aren't its."""
    rows = [
        (1, task.space[1].text, "4", "5"),
        (-1, "write 7", "7", "8"),
        (0, task.space[0].text, "2", "value 3"),
        (-1, "write 6", "6", ""),
    ]
    return pd.DataFrame(rows, columns=list(NO_PREFERENCES)).astype(NO_PREFERENCES.dtypes)


def test_preferences_are_groups_of_two_behind_the_others(task: Task, data: DataParams):
    """The chosen one first, prompts in order; no edits join them."""
    edits = with_edits(data, random=1, further_prompts=1000)
    examples = training_set(sampled(task), own_pairs(task), task, edits, seed=0)
    found = examples.preferences
    assert found.dtypes.astype(str).to_dict() == COLUMNS
    assert found["gold_reward"].isna().all()
    assert found["prompt_id"].tolist() == [0, 0, 1, 1, -1, -1, -1, -1]
    assert found["completion"].tolist() == ["2", "value 3", "4", "5", "6", "", "7", "8"]
    first = max(group.number for group in examples.groups) + 1
    assert found["group"].tolist() == [first + n // 2 for n in range(8)]
    without = training_set(sampled(task), NO_PREFERENCES, task, edits, seed=0)
    assert_frame_equal(table_of(examples), table_of(without))
    assert without.preferences.dtypes.astype(str).to_dict() == COLUMNS


@pytest.mark.parametrize(("num_pairs", "expected"), [(3, 0), (9, 0), (11, 2), (1000, 4)])
def test_preferences_fill_up_the_pairs_that_are_asked_for(
    task: Task, data: DataParams, num_pairs: int, expected: int
):
    """The sampled groups hold 3, 0, 3, 0, 2 and 1 pairs; the first of the others are taken."""
    asked = data.model_copy(update={"num_pairs": num_pairs})
    found = training_set(sampled(task), own_pairs(task), task, asked, seed=0).preferences
    kept = own_pairs(task)[:expected]
    assert set(found["prompt"]) == set(kept["prompt"])


def test_preferences_of_held_out_prompts_are_left_out(
    task: Task,
    data: DataParams,
    small_task: TaskParams,
    dictionary: Dictionary,
    gold_reward_params: GoldRewardParams,
):
    """Where they are the task's."""
    holdout = HoldoutParams(template=[], difference=[], terms=[task.space[1].properties["terms"]])
    strict = Task(dictionary, with_series(small_task, holdout=holdout), gold_reward_params)
    found = training_set(sampled(task), own_pairs(task), strict, data, seed=0).preferences
    assert found["prompt_id"].tolist() == [0, 0, -1, -1, -1, -1]

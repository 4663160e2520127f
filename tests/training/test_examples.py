"""What is trained on: the sampled completions asked for, and edits with exact labels."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_reference import gold_rewards
from pandas.testing import assert_frame_equal

from goldrm.commands.params import Params
from goldrm.common.params import IntRange
from goldrm.edits.edits import KINDS
from goldrm.generation.pairs import preference_pairs
from goldrm.generation.preferences import COMPLETION_COLUMNS
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, HoldoutParams, TaskParams
from goldrm.task.series import Prompt
from goldrm.task.task import Task
from goldrm.training.examples import training_set, validation_set
from goldrm.training.params import TrainParams

COLUMNS = ["group", "prompt_id", "prompt", "read_behind", "completion", "gold_reward"]
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
    return task_params.model_copy(update=ranges)


@pytest.fixture(scope="module")
def task(
    dictionary: Dictionary, small_task: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    return Task(dictionary, small_task, gold_reward_params)


@pytest.fixture(scope="module")
def train(params: Params) -> TrainParams:
    """All of the sampled completions, and no others."""
    return params.train.model_copy(
        update={
            "num_pairs": None,
            "completions_per_prompt": None,
            "ties": True,
            "edits": params.baseline.train.edits.model_copy(update={"kinds": list(KINDS)}),
        }
    )


def with_edits(train: TrainParams, **changes: Any) -> TrainParams:
    return train.model_copy(update={"edits": train.edits.model_copy(update=changes)})


def sampled(task: Task, texts: Sequence[Sequence[str]] = TEXTS) -> pd.DataFrame:
    """A group for each list, numbered 3, 5, 7 …, of prompts of the train split."""
    prompt_ids = [i for i in task.space.ids_in("train") if task.space[i].terms == 5]
    rows = [
        task.series(3 + 2 * number, prompt_id, tuple(map(int, text.split())))
        for number, (prompt_id, group) in enumerate(zip(prompt_ids[::2], texts, strict=False))
        for text in group
    ]
    return task.with_prompts(pd.DataFrame(rows))[list(COMPLETION_COLUMNS)]


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
    task: Task, train: TrainParams, changes: dict[str, Any], expected: list[list[str]]
):
    """Each once; the first ones of a prompt; without those that have no rival; so many pairs."""
    completions = sampled(task)
    found = training_set(completions, task, train.model_copy(update=changes), seed=0)[:]
    assert texts_of(found) == expected
    assert list(found.columns) == COLUMNS
    completions["read_behind"] = completions["prompt"]
    kept = completions.drop_duplicates(["group", "completion"]).merge(
        found[["group", "completion"]], on=["group", "completion"]
    )
    assert_frame_equal(found, kept[COLUMNS])


two_texts = st.lists(st.sampled_from(["1", "1 1", "2", "30", "4 5"]), min_size=2, max_size=2)


@given(st.lists(two_texts, min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=20)
def test_num_pairs_is_exact_for_two_completions_a_prompt(
    task: Task, train: TrainParams, texts: list[list[str]], num_pairs: int
):
    """They are the first ones, as the notebook's 500; all where there are fewer."""
    completions = sampled(task, texts)
    asked = train.model_copy(update={"num_pairs": num_pairs, "ties": False})
    found = preference_pairs(training_set(completions, task, asked, seed=0)[:], task)
    assert_frame_equal(found, preference_pairs(completions, task)[:num_pairs])


def test_validation_set_is_each_sampled_completion_once(task: Task):
    completions = sampled(task)
    found = validation_set(completions, task)[:]
    expected = completions.drop_duplicates(["group", "completion"], ignore_index=True)
    expected["read_behind"] = expected["prompt"]
    assert_frame_equal(found, expected[COLUMNS])


# The edited ones


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({"of_exact": 3}, 1 + 3),
        ({"of_sampled": 2}, 3 * 2),
        ({"of_exact": 1, "of_sampled": 1}, 1 + 1 + 3),
        ({"lengths": 2}, 1 + 2 + 2),
    ],
    ids=str,
)
def test_edits_join_their_group_with_exact_labels(
    task: Task, train: TrainParams, changes: dict[str, int], extra: int
):
    """A group of three gets at most so many more, and most of them: some come up twice."""
    completions = sampled(task, [["1 2 3", "50 60 70 80 90", "9 8 7 6 5"]] * 20)
    found = training_set(completions, task, with_edits(train, **changes), seed=0)[:]
    assert found["group"].is_monotonic_increasing
    assert not found.duplicated(["group", "completion"]).any()
    sizes = found.groupby("group").size()
    assert sizes.index.tolist() == completions["group"].unique().tolist()
    assert sizes.max() == 3 + extra
    assert sizes.mean() > 3 + 0.8 * extra
    for group, prompt_id, prompt, behind, text, gold in found.itertuples(index=False):
        assert prompt_id == completions.loc[completions["group"] == group, "prompt_id"].iloc[0]
        assert prompt == behind == task.space[prompt_id].text
        exact, values = task.space[prompt_id].exact(100), list(map(int, text.split()))
        assert gold == pytest.approx(gold_rewards(exact, values, values)[0], abs=1e-5)
        assert all(0 <= value <= 100 for value in values)
    has_exact = (found["gold_reward"] == 7).groupby(found["group"]).any()
    assert has_exact.all() == bool(changes.keys() & {"lengths", "of_exact"})


def test_every_prompt_has_its_exact_series_in_other_lengths(task: Task, train: TrainParams):
    train = with_edits(train, lengths=1, more_prompts=10)
    found = training_set(sampled(task), task, train, seed=0)[:]
    assert found["group"].nunique() == len(TEXTS) + 10
    for prompt_id, texts in found.groupby("prompt_id")["completion"]:
        prompt = task.space[prompt_id]
        exact = prompt.exact(100)
        longer = (*exact, exact[-1] + prompt.difference)
        expected = [exact[:-1], exact] + ([longer] if longer[-1] <= 100 else [])
        assert {" ".join(map(str, each)) for each in expected} <= set(texts)


def test_prompts_are_misread_as_others_that_are_trained_on(task: Task, train: TrainParams):
    """Read behind one that asks for a few terms more or fewer, labelled for the own one."""
    edits = with_edits(train, misread=1, more_prompts=100)
    groups = training_set(sampled(task), task, edits, seed=0)
    found = groups[:]
    own = {prompt: number for number, prompt in found[["prompt_id", "prompt"]].to_numpy()}
    misread = found[found["read_behind"] != found["prompt"]]
    assert misread["group"].nunique() > 50
    assert misread.groupby("group").size().unique().tolist() == [2]
    for _, prompt_id, _, behind, text, gold in misread.itertuples(index=False):
        prompt, other = task.space[prompt_id], task.space[own[behind]]
        assert replace(other, terms=prompt.terms) == prompt
        assert 1 <= abs(other.terms - prompt.terms) <= 2
        values = list(map(int, text.split()))
        assert tuple(values) in (prompt.exact(100), other.exact(100))
        expected = gold_rewards(prompt.exact(100), values, values)[0]
        assert gold == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("0 1 2 3 4 5 6", 5, {"50 51 52 53 54", "0 1 2 99 100", "0 1 2 3 4 8"}),
        ("0 1 2 3 4", 5, {"50 51 52 53 54", "0 1 2 99 100", "0 1 2 3 4 8"}),
        ("0 1 2", 3, {"50 51 52 53 54", "0 1 2 99 100"}),
        ("0 7 2 3 4", 1, {"50 51 52 53 54"}),
        ("", 0, {"50 51 52 53 54"}),
    ],
)
def test_mistakes_are_the_likely_ones(
    task: Task, train: TrainParams, said: str, right: int, expected: set[str]
):
    """50 first, 99 fourth, 8 in place of the end; the right terms, likelier still, are none."""
    prompt_id = task.space.id_of(Prompt(1, start=0, difference=1, terms=5))
    first: dict[Hashable, Any] = {"group": 3, "prompt_id": prompt_id, "completion": said}
    ids = [task.dictionary.ids[str(value)] for value in range(101)]
    likely = torch.full((8, len(task.dictionary)), 1e-12)
    for place, value in ((0, 50), (3, 99), (5, 8)):
        likely[place, ids[value]] = 0.01
    for place, value in enumerate(range(5)):
        likely[place, ids[value]] = 0.98
    likely[:, task.dictionary.eos_id] = 0.9
    likely = likely[: len(said.split()) + 1].double()
    train = with_edits(train, mistakes=200)
    groups = training_set(sampled(task), task, train, seed=0)
    found = groups.mistakes(first, likely)
    assert found == groups.mistakes(first, likely)
    texts = Counter(row["completion"] for row in found)
    assert (len(found), set(texts) >= expected) == (200, True)
    # Half are at the likely places, half anywhere.
    share = sum(texts[each] for each in expected) / 200
    assert share == pytest.approx(0.5 + 0.5 * len(expected) / (right + 1), abs=0.1)
    exact = tuple(range(5))
    for row in found:
        values = tuple(map(int, row["completion"].split()))
        wrong = next(i for i, value in enumerate(values) if exact[i : i + 1] != (value,))
        assert values[wrong:] == tuple(range(values[wrong], 101))[: max(5 - wrong, 1)]
        assert (row["group"], row["prompt_id"]) == (3, prompt_id)
        assert row["gold_reward"] == pytest.approx(gold_rewards(exact, values, values)[0], abs=1e-5)


def test_edits_are_of_the_kinds_asked_for(task: Task, train: TrainParams):
    """Truncated, up to three times over: a prefix of the exact series."""
    train = with_edits(train, of_exact=5, more_prompts=10, kinds=["truncated"])
    found = training_set(sampled(task), task, train, seed=0)[:]
    further = found[found["group"] > 3 + 2 * len(TEXTS) - 2]
    for prompt_id, text in further[["prompt_id", "completion"]].to_numpy():
        values = tuple(map(int, text.split()))
        assert values == task.space[prompt_id].exact(100)[: len(values)]
    assert further.groupby("group").size().max() > 3


def test_no_kinds_add_the_exact_series_only(task: Task, train: TrainParams):
    train = with_edits(train, of_exact=3, of_sampled=3, kinds=[])
    found = training_set(sampled(task), task, train, seed=0)[:]
    plain = validation_set(sampled(task), task)[:]
    assert len(found) == len(plain) + len(TEXTS)


def test_further_prompts_are_the_train_splits(task: Task, train: TrainParams):
    """Each a group of its own, behind the sampled ones; all there are where more are asked for.

    Those that repeat a number first.
    """
    completions, in_train = sampled(task), task.space.ids_in("train")
    for asked, expected in [(50, 50), (1000, len(in_train))]:
        edits = with_edits(train, of_exact=2, more_prompts=asked)
        edits_set = training_set(completions, task, edits, seed=0)
        found = edits_set[:]
        further = found[found["group"] > completions["group"].max()]
        of_group = further.groupby("group")["prompt_id"].agg(["nunique", "first", "size"])
        assert (of_group["nunique"] == 1).all()
        assert (of_group["size"].min(), of_group["size"].max()) == (2, 3)
        assert of_group["first"].nunique() == len(of_group) == expected
        assert set(of_group["first"]) <= set(in_train)
        repeating = {i for i in in_train if task.space[i].repeats_a_number}
        assert len(repeating & set(of_group["first"])) == min(len(repeating), expected)
        assert found["group"].drop_duplicates().tolist() == [
            group for group, _ in edits_set.prompts
        ]


def test_held_out_prompts_are_neither_trained_nor_validated_on(
    task: Task,
    train: TrainParams,
    small_task: TaskParams,
    dictionary: Dictionary,
    gold_reward_params: GoldRewardParams,
):
    """Of 216 prompts those of template 2, difference 3 and 4, and 5 terms."""
    holdout = HoldoutParams(template=[2], difference=[3, 4], terms=[5])
    small_task = small_task.model_copy(update={"holdout": holdout})
    strict = Task(dictionary, small_task, gold_reward_params)
    in_train = task.space.ids_in("train")
    rows = [task.series(i, i, (1, 2, i % 9)) for i in in_train[::5]]
    completions = task.with_prompts(pd.DataFrame(rows))
    edits = with_edits(train, of_exact=1, of_sampled=1, more_prompts=1000)

    def kept(prompt_id: int) -> bool:
        prompt = task.space[prompt_id]
        return prompt.template != 2 and prompt.difference not in (3, 4) and prompt.terms != 5

    for groups, all_ids in [
        (training_set(completions, strict, edits, seed=0), in_train),
        (validation_set(completions, strict), in_train[::5]),
    ]:
        assert set(groups[:]["prompt_id"]) == set(filter(kept, all_ids))


def test_everything_held_out_leaves_nothing(
    train: TrainParams,
    task: Task,
    small_task: TaskParams,
    dictionary: Dictionary,
    gold_reward_params: GoldRewardParams,
):
    holdout = HoldoutParams(template=[1, 2, 3], difference=[], terms=[])
    strict = Task(
        dictionary, small_task.model_copy(update={"holdout": holdout}), gold_reward_params
    )
    edits = with_edits(train, of_exact=1, of_sampled=1, more_prompts=10)
    for asked in (edits, edits.model_copy(update={"ties": False, "num_pairs": 3})):
        assert len(training_set(sampled(task), strict, asked, seed=0)) == 0


def test_same_seed_same_set(task: Task, train: TrainParams):
    edits = with_edits(train, of_exact=2, of_sampled=1, more_prompts=30)
    first, same, other = (training_set(sampled(task), task, edits, seed)[:] for seed in (0, 0, 1))
    assert_frame_equal(first, same)
    assert set(first["prompt_id"]) != set(other["prompt_id"])
    assert set(first["completion"]) != set(other["completion"])


@given(st.integers(0, 36), st.integers(0, 36))
@settings(max_examples=20)
def test_a_group_is_the_same_whichever_are_asked_for_with_it(
    task: Task, train: TrainParams, first: int, last: int
):
    """In any process, and again after a kill."""
    edits = with_edits(train, of_exact=2, of_sampled=1, more_prompts=30)
    groups = training_set(sampled(task), task, edits, seed=0)
    assert len(groups) == len(TEXTS) + 30
    whole, part = groups[:], groups[first:last]
    numbers = whole["group"].unique()[first:last]
    expected = whole[whole["group"].isin(numbers)].reset_index(drop=True)
    assert_frame_equal(part, expected, check_dtype=len(part) > 0)

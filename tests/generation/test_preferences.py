"""A split's dataset holds what may be in it, each pair once, with the statistics by hand."""

import io
import random

import pandas as pd
import pytest
from completions_by_hand import TWO_TO_TEN, completions_of

from goldrm.common.tables import ParquetBuffer
from goldrm.generation.pairs import PAIR_COLUMNS, PAIR_KEY
from goldrm.generation.preferences import COMPLETION_COLUMNS, PreferenceDataset
from goldrm.task.arithmetic_series import Series
from goldrm.task.splits import SPLITS, Split
from goldrm.task.task import Task


@pytest.fixture(scope="module")
def prompts_in(task: Task) -> dict[Split, list[int]]:
    """The numbers of the prompts of each split."""
    return {split: task.ids_in(split) for split in SPLITS}


@pytest.fixture(scope="module")
def series_of(task: Task, prompts_in: dict[Split, list[int]]) -> dict[Split, set[tuple[int, ...]]]:
    """The exact series of each split's prompts."""
    return {split: {task.exact(i) for i in ids} for split, ids in prompts_in.items()}


def content(buffer: ParquetBuffer) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(buffer.content()))


def values_of(text: str) -> tuple[int, ...]:
    return tuple(int(value) for value in text.split())


def test_splits_have_no_series_in_common(series_of: dict[Split, set[tuple[int, ...]]]):
    assert sum(map(len, series_of.values())) == len(set.union(*series_of.values()))


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_unseen_in_a_later_split_is_in_no_earlier_one(
    task: Task,
    prompts_in: dict[Split, list[int]],
    series_of: dict[Split, set[tuple[int, ...]]],
    split: Split,
):
    """By brute force, of answers with the exact series of any prompts.

    All that leak are left out and counted, and no other is. Each is met a second time.
    """
    unseen = set[tuple[int, ...]]().union(*(series_of[later] for later in later_than(split)))
    draw = random.Random(0)
    chunks = [
        task.labelled(
            (group, prompt_id, task.exact(draw.randrange(len(task.space))))
            for group, prompt_id in enumerate(draw.sample(prompts_in[split], 100))
            for _ in range(8)
        )
        for _ in range(2)
    ]
    dataset = PreferenceDataset(split, 10_000, task)
    for chunk in chunks * 2:
        dataset.collect(chunk)

    completions, pairs = content(dataset.completions), content(dataset.pairs)
    looked_at = [values_of(text) for chunk in chunks * 2 for text in chunk["completion"]]
    kept = [values_of(text) for text in completions["completion"]]
    assert kept == [values for values in looked_at if values not in unseen]
    assert not {values_of(text) for text in (*pairs["chosen"], *pairs["rejected"])} & unseen
    assert (len(kept) < len(looked_at)) == (split != "test")
    leaking = dataset.statistics().set_index("statistic").loc["leaking"]
    assert leaking["value"] == pytest.approx(1 - len(kept) / len(looked_at))
    assert leaking["n"] == len(looked_at)


def later_than(split: Split) -> tuple[Split, ...]:
    return SPLITS[SPLITS.index(split) + 1 :]


@pytest.mark.parametrize("split", SPLITS)
def test_completions_of_other_splits_prompts_are_left_out(
    task: Task, prompts_in: dict[Split, list[int]], split: Split
):
    chunk = pd.concat(
        completions_of(task, task.space[ids[0]], "100", "99 100", group=group)
        for group, ids in enumerate(prompts_in.values())
    )
    dataset = PreferenceDataset(split, 10, task)
    dataset.collect(chunk)
    assert content(dataset.completions)["prompt_id"].tolist() == [prompts_in[split][0]] * 2
    assert content(dataset.pairs)["prompt_id"].tolist() == [prompts_in[split][0]]
    assert dataset.statistics().set_index("statistic")["value"]["leaking"] == pytest.approx(4 / 6)


def test_same_series_by_another_prompt_is_in_the_same_split(task: Task):
    """95, 95 + 9 …: whatever the number of terms and the wording, the series is just 95."""
    same = [
        Series(template, 95, difference, terms)
        for template in (1, 2, 3)
        for difference in (6, 7, 8, 9)
        for terms in range(5, 15)
    ]
    chunk = pd.concat(
        completions_of(task, prompt, "95", "100", group=i) for i, prompt in enumerate(same)
    )
    datasets = [PreferenceDataset(split, 1000, task) for split in SPLITS]
    for dataset in datasets:
        dataset.collect(chunk)
    assert sorted(len(dataset.pairs) for dataset in datasets) == [0, 0, len(same)]


@pytest.mark.parametrize("num_pairs", [1, 3, 4, 5])
def test_pairs_are_different_and_so_many(
    task: Task, prompts_in: dict[Split, list[int]], num_pairs: int
):
    """The first chunk has 1 pair twice; the second 3 pairs, of which it is one; the third, none."""
    first, second = (task.space[i] for i in prompts_in["test"][:2])
    one = completions_of(task, first, "100", "50", "100", group=0)
    again = completions_of(task, first, "50", "100", group=1)
    three = completions_of(task, second, "100", "50", "20", group=2)
    dataset = PreferenceDataset("test", num_pairs, task)
    for chunk in (one, pd.concat([again, three]), again):
        if not dataset.is_complete:
            dataset.collect(chunk)
    pairs, completions = content(dataset.pairs), content(dataset.completions)
    assert len(pairs) == min(num_pairs, 4)
    assert dataset.is_complete == (num_pairs <= 4)
    assert not pairs.duplicated(PAIR_KEY).any()
    assert (
        pairs["prompt_id"].tolist()
        == [*prompts_in["test"][:2], *prompts_in["test"][1:2] * 2][: len(pairs)]
    )
    assert pairs.dtypes.astype(str).to_dict() == task.prompt_columns | PAIR_COLUMNS
    assert completions.dtypes.astype(str).to_dict() == task.prompt_columns | COMPLETION_COLUMNS
    # A chunk's completions are all kept, as often as they were sampled.
    assert len(completions) == {1: 3, 5: 10}.get(num_pairs, 8)


def test_statistics_by_hand(task: Task, prompts_in: dict[Split, list[int]]):
    assert task.split_of(task.space.id_of(TWO_TO_TEN.text)) == "validation"
    leaking = " ".join(map(str, task.exact(prompts_in["test"][0])))
    chunks = [
        completions_of(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 16", group=0),
        completions_of(task, TWO_TO_TEN, "2 4 6 8 11", leaking, "2 4 6 9 10", group=1),
        completions_of(task, TWO_TO_TEN, "2 4 6 8 9", "terms", group=2),
        completions_of(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 10", "2 4 6 8 11", group=3),
        completions_of(task, Series(2, 2, 2, 5), "2 4 6 8 10", "2 4 6 8 16", group=4),
    ]
    off_by_1, off_by_6 = 1 + 6 / 1.1, 5.819474697113037
    # Groups 0 to 4 hold 1, 1, 0, 3 and 1 pairs; 1, 0, 0, 2 and 1 of them differ in reward, and
    # group 3's two are the same. Four of eleven completions are exact, and one more was left out.
    dataset = PreferenceDataset("validation", 10, task)
    for chunk in (pd.concat(chunks[:2]), pd.concat(chunks[2:])):
        dataset.collect(chunk)
    rejected = (2 * off_by_6 + off_by_1) / 3
    statistics = dataset.statistics()
    assert list(statistics.columns) == ["split", "statistic", "value", "n"]
    assert list(statistics.itertuples(index=False, name=None)) == [
        ("validation", "kept", pytest.approx(4 / 6), 6),
        ("validation", "exact_match", pytest.approx(4 / 11), 11),
        ("validation", "chosen_gold", 7, 3),
        ("validation", "rejected_gold", pytest.approx(rejected), 3),
        ("validation", "margin", pytest.approx(7 - rejected), 3),
        ("validation", "leaking", pytest.approx(1 / 12), 12),
        ("validation", "prompts", 2, 3),
        ("validation", "families", 1, 3),
    ]

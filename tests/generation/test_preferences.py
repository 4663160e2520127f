"""The dataset's splits have no series in common, and its statistics are those by hand."""

import io

import pandas as pd
import pytest
from completions_by_hand import TWO_TO_TEN, completions_of
from hypothesis import given, settings
from hypothesis import strategies as st

from goldrm.common.errors import GoldrmError
from goldrm.generation.preferences import COMPLETION_COLUMNS, PreferenceDataset
from goldrm.task.series import SPLITS, Prompt, Split, split_of
from goldrm.task.task import Task


@pytest.fixture(scope="module")
def prompts_in(task: Task) -> dict[Split, list[int]]:
    """The numbers of some prompts of each split."""
    splits = [split_of(task.space[i], task.params) for i in range(500)]
    return {split: [i for i in range(500) if splits[i] == split] for split in SPLITS}


def divided(task: Task, prompt_ids: list[int], num_pairs: int) -> dict[Split, pd.DataFrame]:
    """The pairs of each split, where every prompt has two completions."""
    rows = [
        {"group": group, "prompt_id": i, "completion": text, "gold_reward": reward, "exact": False}
        for group, i in enumerate(prompt_ids)
        for text, reward in (("1", 5.0), ("2", 6.0))
    ]
    collected = PreferenceDataset(task, num_pairs)
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


def test_statistics_by_hand(task: Task):
    completions = pd.concat(
        [
            completions_of(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 16", group=0),
            completions_of(task, TWO_TO_TEN, "2 4 6 8 11", "2 4 6 9 10", group=1),
            completions_of(task, TWO_TO_TEN, "2 4 6 8 9", "terms", group=2),
            completions_of(task, TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 10", "2 4 6 8 11", group=3),
        ]
    )
    off_by_1, off_by_6 = 1 + 6 / 1.1, 5.819474697113037
    # Groups 0 to 3 hold 1, 1, 0 and 3 pairs with two rewards; 1, 0, 0 and 2 of them differ.
    # Three of nine completions are exact.
    collected = PreferenceDataset(task, 10)
    with pytest.raises(GoldrmError, match="none of the 3 pairs"):
        collected.collect([completions])
    rejected = (off_by_6 + 2 * off_by_1) / 3
    statistics = collected.statistics()
    assert list(statistics.columns) == ["statistic", "value", "n"]
    assert list(statistics.itertuples(index=False, name=None)) == [
        ("kept", pytest.approx(3 / 5), 5),
        ("exact_match", pytest.approx(3 / 9), 9),
        ("chosen_gold", 7, 3),
        ("rejected_gold", pytest.approx(rejected), 3),
        ("margin", pytest.approx(7 - rejected), 3),
    ]
    assert collected.headline() == {"pairs": 3}

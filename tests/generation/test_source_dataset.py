"""Of somebody's pairs those are trained on that give no unseen family away, as many as asked."""

import io
from itertools import count

import pandas as pd
import pytest

from goldrm.common.errors import GoldrmError
from goldrm.generation import source_dataset
from goldrm.generation.params import ALL_PAIRS
from goldrm.generation.preferences import PreferenceDataset
from goldrm.generation.source import NO_PROMPT_ID, SourcePair
from goldrm.generation.source_dataset import PREFERENCE_COLUMNS, SourceDataset
from goldrm.task.task import Task


def collected(pairs: list[SourcePair], task: Task) -> SourceDataset:
    dataset = SourceDataset(PreferenceDataset("train", ALL_PAIRS, task), task)
    dataset.collect(iter(pairs), "own.csv")
    return dataset


def preferences_of(dataset: SourceDataset) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(dataset.preferences.content()))


def answer(task: Task, prompt_id: int) -> str:
    return " ".join(map(str, task.exact(prompt_id)))


def pair_of(task: Task, prompt_id: int, rejected: str = "100", gold: bool = False) -> SourcePair:
    """The exact series of a prompt, and something else."""
    prompt = task.space[prompt_id].text
    return SourcePair(prompt_id, prompt, answer(task, prompt_id), rejected, has_gold_rewards=gold)


def own_pair(chosen: str, rejected: str = "100", prompt: str = "write a series") -> SourcePair:
    return SourcePair(NO_PROMPT_ID, prompt, chosen, rejected, has_gold_rewards=False)


def test_both_kinds_are_collected_by_themselves(task: Task):
    first, second, *_ = task.ids_in("train")
    pairs = [
        pair_of(task, first, gold=True),
        pair_of(task, second),
        own_pair("7 9 8"),
        own_pair("7 9 8"),
        own_pair("100", "7 9 8"),
    ]
    dataset = collected(pairs, task)
    assert dataset.num_pairs == 4
    found = preferences_of(dataset)
    assert found.dtypes.astype(str).to_dict() == PREFERENCE_COLUMNS
    assert found.values.tolist() == [list(pairs[i][:4]) for i in (1, 2, 4)]
    labelled = pd.read_parquet(io.BytesIO(dataset.labelled.completions.content()))
    assert labelled["completion"].tolist() == [answer(task, first), "100"]
    assert labelled["gold_reward"].tolist()[0] == 7


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_about_another_splits_family_is_left_out(task: Task, split: str):
    """By the prompt, or by the series that an answer, or a prompt that isn't the task's, spells."""
    train, unseen = task.ids_in("train")[0], task.ids_in(split)[0]  # pyright: ignore[reportArgumentType]
    spelled = answer(task, unseen)
    pairs = [
        pair_of(task, train),
        pair_of(task, unseen),
        pair_of(task, train, spelled),
        own_pair(spelled),
        own_pair("100", spelled),
        own_pair("100", prompt=f"write a series {spelled}"),
    ]
    dataset = collected(pairs, task)
    assert dataset.num_pairs == 1
    rows = dataset.statistics().set_index("statistic")
    assert (rows["value"]["unseen"], rows["n"]["unseen"]) == (5 / 6, 6)
    assert "5 of 6 are about families" in dataset.summary()


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_however_many_are_read_at_a_time_all_are_collected(
    task: Task, monkeypatch: pytest.MonkeyPatch, chunk: int
):
    """Of both kinds, but for repeated and unseen ones."""
    monkeypatch.setattr(source_dataset, "PAIRS_A_CHUNK", chunk)
    numbers = count()
    ids, unseen = task.ids_in("train"), task.ids_in("test")[0]
    pairs = [pair_of(task, unseen), own_pair("7 9 8"), own_pair("7 9 8")]
    pairs += [pair_of(task, prompt_id, gold=next(numbers) % 2 == 0) for prompt_id in ids[:6]]
    dataset = collected(pairs, task)
    assert (len(dataset.labelled.pairs), len(dataset.preferences)) == (3, 4)
    completions = pd.read_parquet(io.BytesIO(dataset.labelled.completions.content()))
    assert completions["completion"].tolist()[::2] == [answer(task, ids[i]) for i in (0, 2, 4)]
    assert completions["group"].tolist() == [0, 0, 1, 1, 2, 2]
    known = [ids[i] for i in (1, 3, 5)]
    assert preferences_of(dataset)["prompt_id"].tolist() == [NO_PROMPT_ID, *known]


def test_agreement_with_the_gold_rewards_by_hand(task: Task):
    """Two of three agree; not counted are a tie, no number, and a prompt that isn't the task's."""
    first, second, third, *_ = task.ids_in("train")
    exact = pair_of(task, first)
    pairs = [
        exact,
        pair_of(task, second),
        pair_of(task, third)._replace(chosen="100", rejected="99"),
        exact._replace(chosen="100", rejected="100 100"),
        exact._replace(rejected="value"),
        own_pair("7 9 8"),
    ]
    assert task.exact(third)[-1] < 99
    rows = collected(pairs, task).statistics().set_index("statistic")
    assert rows["value"]["agreeing"] == pytest.approx(2 / 3)
    assert rows["n"]["agreeing"] == 3
    assert "kept" not in rows.index


def test_none_to_train_on_is_refused(task: Task):
    pairs = [own_pair("7 9 8"), pair_of(task, task.ids_in("test")[0])]
    assert collected(pairs, task).num_pairs == 1
    with pytest.raises(GoldrmError, match=r"own\.csv holds no pair of the train split"):
        collected(pairs[1:], task)

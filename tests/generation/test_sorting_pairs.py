"""Pairs of the sorting task: the same tables, with the properties of its own prompts."""

import io
from pathlib import Path

import pandas as pd
import pytest
from small_sorting import asked, gold_reward_of, random_backbone, small_sorting

from goldrm.commands.params import Params
from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE
from goldrm.generation.pairs import PAIR_COLUMNS
from goldrm.generation.preferences import COMPLETION_COLUMNS, PreferenceDataset
from goldrm.generation.source import NO_PROMPT_ID, read_source
from goldrm.generation.split_sampling import SplitSampler, sample_split
from goldrm.task.splits import Split
from goldrm.task.task import Task

PROMPT_COLUMNS = ["prompt_id", "template", "numbers", "prompt"]
Tables = dict[Split, tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="module")
def task(params: Params) -> Task:
    return small_sorting(params, held_out_numbers=8)


@pytest.fixture(scope="module")
def sampled(task: Task, params: Params, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Pairs and completions of two splits."""
    backbone = random_backbone(task)
    changes = {"chunk_size": 4, "max_new_tokens": 6, "completions_per_prompt": 2}
    sampling = params.sampling.model_copy(update=changes)
    tables: Tables = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        dataset = PreferenceDataset(split, 12, task)
        sampler = SplitSampler(split, backbone, task, sampling, seed=0)
        sample_split(sampler, dataset, tmp_path_factory.mktemp(split), ALONE)
        pairs, completions = (
            pd.read_parquet(io.BytesIO(buffer.content()))
            for buffer in (dataset.pairs, dataset.completions)
        )
        tables[split] = pairs, completions
    return tables


def test_tables_say_what_is_asked_and_how_right_an_answer_is(sampled: Tables):
    for pairs, completions in sampled.values():
        assert list(pairs) == [*PROMPT_COLUMNS, *PAIR_COLUMNS]
        assert list(completions) == [*PROMPT_COLUMNS, *COMPLETION_COLUMNS]
        assert len(pairs) == 12
        for table in (pairs, completions):
            assert table["numbers"].tolist() == [len(asked(text)) for text in table["prompt"]]
            first_words = table["prompt"].str.split().str[0]
            assert table["template"].tolist() == first_words.map({"sort": 1, "write": 2}).tolist()
        for table, side in ((pairs, "chosen_"), (pairs, "rejected_"), (completions, "")):
            texts = table["prompt"], table[side.rstrip("_") or "completion"]
            expected = list(map(gold_reward_of, *texts))
            assert table[f"{side}gold_reward"].tolist() == pytest.approx(expected, abs=1e-5)
        assert (pairs["margin"] > 0).all()


def test_splits_have_no_list_in_common(sampled: Tables):
    lists = [{tuple(sorted(asked(text))) for text in own["prompt"]} for own, _ in sampled.values()]
    assert all(lists)
    assert not set.intersection(*lists)


def test_own_pairs_are_of_the_tasks_prompts_where_they_begin_with_one(task: Task, tmp_path: Path):
    """A list in an order that the task doesn't have is none of its prompts."""
    prompt_id = task.ids_in("train")[0]
    prompt = task.space[prompt_id].text
    exact = " ".join(map(str, sorted(asked(prompt))))
    other_order = f"sort {exact} from small to large"
    assert other_order not in [task.space[i].text for i in range(len(task.space))]
    worse = f"{exact} 100 100"
    rows = [(text, exact, worse) for text in (prompt, f"{prompt} 7", other_order, "sort 7")]
    path = tmp_path / "pairs.csv"
    gold = dict.fromkeys(["chosen_gold_reward"], 7.0) | {
        "rejected_gold_reward": gold_reward_of(prompt, worse)
    }
    table = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"]).assign(**gold)
    table.to_csv(path, index=False)
    pairs = list(read_source(path, task))
    assert [pair.prompt_id for pair in pairs] == [prompt_id, prompt_id, NO_PROMPT_ID, NO_PROMPT_ID]
    assert [pair.has_gold_rewards for pair in pairs] == [True, False, False, False]
    table.assign(rejected_gold_reward=6.99).to_csv(path, index=False)
    with pytest.raises(GoldrmError, match=r"row 0 .*rejected_gold_reward is 6\.99"):
        list(read_source(path, task))

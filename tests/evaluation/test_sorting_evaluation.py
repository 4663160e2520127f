"""The evaluation where numbers are to be sorted: its tables are by that task's properties."""

from random import Random

import pandas as pd
import pytest
from small_sorting import asked, gold_reward_of, small_sorting

from goldrm.commands.params import Params
from goldrm.edits.probes import PROBE_KINDS
from goldrm.edits.random_edits import random_edit
from goldrm.evaluation import probes, tables
from goldrm.evaluation.data import TEXT, EvaluationData
from goldrm.evaluation.families import drawn_test_prompts
from goldrm.generation.pairs import preference_pairs
from goldrm.task.splits import Split
from goldrm.task.task import Task

HELD_OUT_NUMBERS = 6


@pytest.fixture(scope="module")
def task(params: Params) -> Task:
    return small_sorting(params, HELD_OUT_NUMBERS)


def completions_in(task: Task, split: Split) -> pd.DataFrame:
    """The exact answers of a split's prompts, these the wrong way round, and edits of them."""
    rng = Random(0)
    return task.labelled(
        (group, prompt_id, values)
        for group, prompt_id in enumerate(task.ids_in(split))
        for exact in [task.exact(prompt_id)]
        for values in (exact, exact[::-1], random_edit(exact, 1, 100, rng))
    )


@pytest.fixture(scope="module")
def data(task: Task) -> EvaluationData:
    """With rewards that are minus the gold rewards."""
    splits: tuple[Split, ...] = ("test", "validation")
    completions = {split: task.with_prompts(completions_in(task, split)) for split in splits}
    data = EvaluationData.prepared(
        {split: preference_pairs(table, task) for split, table in completions.items()},
        completions,
        completions_in(task, "test")[:6],
        drawn_test_prompts(task, 2, seed=0),
        task,
    )
    scored = pd.concat([data.completions, data.validation_completions, data.best_of, data.probes])
    gold_rewards = scored.drop_duplicates(TEXT).set_index(TEXT)["gold_reward"]
    return data.with_rewards(-gold_rewards)


def test_results_are_broken_down_by_what_lists_are_like(task: Task, data: EvaluationData):
    table = tables.breakdown(data.pairs, task.space.properties, 0.95)
    assert list(table["by"].unique()) == ["margin", "template", "numbers", "mistake", "held_out"]
    lengths = data.pairs["prompt"].map(asked).map(len)
    for by, expected in (
        ("numbers", lengths.astype(str)),
        ("held_out", (lengths == HELD_OUT_NUMBERS).astype(str)),
    ):
        counts = table[table["by"] == by].set_index("label")["n"]
        assert counts.to_dict() == expected.value_counts().to_dict()
        assert len(counts) > 1


def test_each_completion_stands_beside_what_it_answers(data: EvaluationData):
    table = tables.reward_vs_gold(data.completions)
    assert list(table) == ["prompt", "completion", "mistake", "gold_reward", "reward"]
    expected = list(map(gold_reward_of, data.completions["prompt"], table["completion"]))
    assert table["gold_reward"].tolist() == pytest.approx(expected, abs=1e-5)
    for prompt, text, mistake in zip(
        data.completions["prompt"], table["completion"], table["mistake"], strict=True
    ):
        values, exact = list(map(int, text.split())), sorted(asked(prompt))
        assert (mistake == "exact") == (values == exact)
        assert (mistake == "wrong_order") == (sorted(values) == exact != values)
    assert {"exact", "wrong_order", "one_term_off"} <= set(table["mistake"])


def test_probes_are_worse_than_the_sorted_list(task: Task, data: EvaluationData):
    """So that rewards the other way round are wrong about all of them."""
    rows = probes.probe_completions(drawn_test_prompts(task, 2, seed=0), task)
    expected = list(map(gold_reward_of, rows["prompt"], rows["completion"]))
    assert rows["gold_reward"].tolist() == pytest.approx(expected, abs=1e-5)
    assert ((rows["gold_reward"] == 7) == (rows["kind"] == "exact")).all()
    table = probes.probe_accuracy(data.probes, 0.95)
    assert set(table["probe"]) == set(PROBE_KINDS)
    assert (table["value"] == 0).all()
    assert table["n"].sum() == len(rows) - 2

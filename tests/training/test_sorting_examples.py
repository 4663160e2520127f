"""What is trained on where numbers are to be sorted: exact labels, and nothing held out."""

from pathlib import Path

import pytest
from completions_by_hand import NO_PREFERENCES
from small_sorting import asked, gold_reward_of, random_backbone, small_sorting

from goldrm.commands.params import Params
from goldrm.common.workers import ALONE
from goldrm.edits.kinds import KINDS
from goldrm.task.task import Task
from goldrm.training.example_table import example_table
from goldrm.training.examples import met_test_series, training_set
from goldrm.training.params import DataParams, EditsParams

HELD_OUT_NUMBERS = 8
DATA = DataParams(
    num_pairs=None,
    completions_per_prompt=None,
    label_noise=0.0,
    ties=True,
    edits=EditsParams(lengths=2, mistakes=4, random=4, kinds=list(KINDS), further_prompts=40),
)


@pytest.fixture(scope="module")
def task(params: Params) -> Task:
    return small_sorting(params, HELD_OUT_NUMBERS)


def test_labels_are_exact_and_nothing_held_out_is_trained_on(task: Task, tmp_path: Path):
    """By brute force. The language model spells lists of other splits, which are left out."""
    prompts = {i: task.space[i] for i in range(len(task.space))}
    unseen = {
        " ".join(map(str, p.exact)) for i, p in prompts.items() if task.split_of(i) != "train"
    }
    of_train = [i for i in prompts if task.split_of(i) == "train"][::9]
    answers = [tuple(map(int, text.split())) for text in sorted(unseen)[:3]]
    sampled = task.labelled((*group, own) for group in enumerate(of_train) for own in answers)
    examples = training_set(sampled, NO_PREFERENCES, task, DATA, seed=0)
    table = example_table(examples, random_backbone(task), tmp_path, ALONE)

    expected = list(map(gold_reward_of, table["prompt"], table["completion"]))
    assert table["gold_reward"].tolist() == pytest.approx(expected, abs=1e-5)
    values = [int(word) for text in table["completion"] for word in text.split()]
    assert 0 <= min(values) <= max(values) <= 100
    kept = [i for i in of_train if len(task.exact(i)) != HELD_OUT_NUMBERS]
    assert len(kept) < len(of_train)
    assert {len(asked(text)) for text in table["prompt"]} == {4, 5, 6, 7}
    assert set(kept) < set(table["prompt_id"])
    assert table["prompt_id"].nunique() == len(kept) + 40
    assert set(table["prompt_id"].map(task.split_of)) == {"train"}
    assert unseen.isdisjoint(table["completion"])
    assert met_test_series(table, task) == 0
    exact = table[table["gold_reward"] == 7].groupby("group")["completion"].agg("first")
    assert len(exact) == len(examples.groups)
    # An exact one, the lengths, four mistakes and four edits, but for repeated ones.
    assert table.groupby("group").size().between(8, 1 + 4 + 4 + 4).all()

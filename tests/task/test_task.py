"""Prompts by number have their exact answers and splits, and completions their gold rewards."""

import math
from itertools import product

import pandas as pd
import pytest

from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, HoldoutParams, TaskParams
from goldrm.task.series import SPLITS, Prompt, family_of, split_of
from goldrm.task.task import PROMPT_COLUMNS, Task

TWO_TO_TEN = Prompt(template=1, start=2, difference=2, terms=5)
UP_TO_100 = Prompt(template=2, start=91, difference=9, terms=5)
PROMPTS = [TWO_TO_TEN, UP_TO_100, Prompt(template=3, start=95, difference=9, terms=14)]


@pytest.mark.parametrize(
    ("prompt", "text", "completion", "gold_reward", "exact"),
    [
        (TWO_TO_TEN, "2 4 6 8 10", "2 4 6 8 10", 7.0, True),
        (TWO_TO_TEN, "2 4 6 8 16", "2 4 6 8 16", 1 + 6 / (1 + 0.1 * math.sqrt(6)), False),
        # Tokens that are no integers are removed.
        (TWO_TO_TEN, "2 <SEP> 4 terms 6 <PAD> 8 10 series", "2 4 6 8 10", 7.0, True),
        # The notebook's filter drops 100, so that its exact completion gets 5.5.
        (UP_TO_100, "91 100", "91 100", 7.0, True),
        # The last term repeated costs nothing, by the notebook's padding, and isn't the answer.
        (TWO_TO_TEN, "2 4 6 8 10 10", "2 4 6 8 10 10", 7.0, False),
        (TWO_TO_TEN, "", "", math.nan, False),
        (TWO_TO_TEN, "<SEP> terms", "", math.nan, False),
    ],
)
def test_completion_by_hand(
    task: Task, prompt: Prompt, text: str, completion: str, gold_reward: float, exact: bool
):
    prompt_id = task.space.id_of(prompt)
    row = {
        "group": 3,
        "prompt_id": prompt_id,
        "completion": completion,
        "gold_reward": pytest.approx(gold_reward, abs=1e-12, nan_ok=True),
        "exact": exact,
    }
    assert task.completion(3, prompt_id, task.dictionary.encode(text)) == row
    assert task.series(3, prompt_id, list(map(int, completion.split()))) == row


def test_exact_answers_by_hand(task: Task):
    answers = [task.exact(task.space.id_of(prompt)) for prompt in PROMPTS]
    assert answers == [(2, 4, 6, 8, 10), (91, 100), (95,)]


def test_split_and_family_are_those_of_the_prompt(task: Task):
    for prompt_id in range(0, len(task.space), 97):
        assert task.split_of(prompt_id) == split_of(task.space[prompt_id], task.params)
        assert task.family(prompt_id) == family_of(task.space[prompt_id], task.params)


def test_an_answer_leaks_when_a_later_split_asks_for_it(task: Task):
    """By brute force: all prompts of a split answered with the exact series of all splits."""
    of_split = {split: task.space.ids_in(split)[::97] for split in SPLITS}
    for i, j in product(range(3), range(3)):
        asked, answered = of_split[SPLITS[i]][0], of_split[SPLITS[j]]
        assert {task.leaks(asked, task.exact(answer)) for answer in answered} == {j > i}


def test_an_answer_that_no_family_asks_for_leaks_nowhere(task: Task):
    for prompt_id in range(0, len(task.space), 97):
        assert not task.leaks(prompt_id, (3, 7, 12))
        assert not task.leaks(prompt_id, ())


@pytest.mark.parametrize(
    ("holdout", "held_out"),
    [
        (HoldoutParams(template=[], difference=[], terms=[]), [False, False, False]),
        (HoldoutParams(template=[1, 2], difference=[], terms=[]), [True, True, False]),
        (HoldoutParams(template=[], difference=[9], terms=[]), [False, True, True]),
        (HoldoutParams(template=[1], difference=[], terms=[14]), [True, False, True]),
    ],
)
def test_held_out_prompts_by_hand(
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    holdout: HoldoutParams,
    held_out: list[bool],
):
    changed = task_params.model_copy(update={"holdout": holdout})
    task = Task(dictionary, changed, gold_reward_params)
    assert [task.is_held_out(task.space.id_of(prompt)) for prompt in PROMPTS] == held_out


def test_rows_get_the_columns_of_their_prompts(task: Task):
    prompt_ids = [task.space.id_of(PROMPTS[i]) for i in (2, 0, 2)]
    rows = task.with_prompts(pd.DataFrame({"prompt_id": prompt_ids, "reward": [1.0, 2.0, 3.0]}))
    assert rows["reward"].tolist() == [1.0, 2.0, 3.0]
    assert rows[list(PROMPT_COLUMNS)].dtypes.astype(str).to_dict() == PROMPT_COLUMNS
    assert rows["prompt_id"].tolist() == prompt_ids
    assert rows["prompt"].tolist() == [PROMPTS[i].text for i in (2, 0, 2)]
    numbers = rows[["template", "start", "difference", "terms"]].to_numpy().tolist()
    assert numbers == [[3, 95, 9, 14], [1, 2, 2, 5], [3, 95, 9, 14]]

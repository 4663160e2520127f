"""Edited completions are what they are said to be, with exact labels."""

from collections import Counter
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import pytest
import torch
from notebook_reference import gold_rewards
from tasks_by_hand import with_series

from goldrm.common.params import IntRange
from goldrm.edits.kinds import KINDS
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task
from goldrm.training.edited import Answer, EditedCompletions, Group
from goldrm.training.params import EditsParams


@pytest.fixture(scope="module")
def task(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    """216 prompts."""
    ranges = {"start": IntRange(min=0, max=1), "terms": IntRange(min=5, max=8)}
    return Task(dictionary, with_series(task_params, **ranges), gold_reward_params)


@pytest.fixture(scope="module")
def groups(task: Task) -> list[Group]:
    """Of the train split's prompts, numbered 3, 5, 7 …"""
    return list(map(Group, count(3, 2), task.ids_in("train")))


def edited(task: Task, seed: int = 0, **changes: Any) -> EditedCompletions:
    """Makes the exact series, and what else is asked for."""
    params = EditsParams(lengths=0, mistakes=0, random=0, kinds=list(KINDS), further_prompts=0)
    return EditedCompletions(params.model_copy(update=changes), task, seed)


def assert_labels_are_exact(task: Task, answers: list[Answer]):
    """By the notebook's formula, which computes in 32 bits."""
    for answer, gold in zip(answers, task.labelled(answers)["gold_reward"], strict=True):
        exact, values = task.exact(answer.prompt_id), answer.values
        assert gold == pytest.approx(gold_rewards(exact, values, values)[0], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "most"),
    [({}, 1), ({"random": 3}, 1 + 3), ({"lengths": 2}, 1 + 2 + 2), ({"kinds": [], "random": 3}, 1)],
    ids=str,
)
def test_labels_are_exact(task: Task, groups: list[Group], changes: dict[str, Any], most: int):
    """The exact series first; so many completions a group, but where they would leave the range."""
    maker = edited(task, **changes)
    for group in groups:
        answers = list(maker.completions(group))
        assert 0.8 * most <= len(answers) <= most
        assert answers[0].values == task.exact(group.prompt_id)
        assert {answer[:2] for answer in answers} == {group}
        assert all(0 <= value <= 100 for answer in answers for value in answer.values)
        assert_labels_are_exact(task, answers)


def test_other_lengths(task: Task, groups: list[Group]):
    """One term fewer and one more, that is where it isn't above 100."""
    maker = edited(task, lengths=1)
    for group in groups:
        prompt = task.space[group.prompt_id]
        exact = prompt.exact
        longer = (*exact, exact[-1] + prompt.properties["difference"])
        expected = {exact[:-1], exact} | ({longer} if longer[-1] <= 100 else set())
        found = [answer.values for answer in maker.completions(group)]
        assert set(found) == expected
        assert len(found) == len(expected)


def test_random_edits_are_of_the_kinds_asked_for(task: Task, groups: list[Group]):
    """Truncated, up to three times over: a prefix of the exact series."""
    maker = edited(task, random=5, kinds=["truncated"])
    lengths: Counter[int] = Counter()
    for group in groups:
        exact, *random = (answer.values for answer in maker.completions(group))
        assert len(random) == 5
        assert all(values == exact[: len(values)] for values in random)
        lengths.update(len(exact) - len(values) for values in random)
    assert set(lengths) >= {1, 2, 3}
    assert 0 not in lengths


def test_mistakes_are_the_likely_ones(task: Task):
    """50 first, 99 fourth, 8 in place of the end; the right terms, likelier still, are none."""
    group = Group(3, task.space.id_of(Series(1, start=0, difference=1, terms=5).text))
    ids = [task.dictionary.ids[str(value)] for value in range(101)]
    probs = torch.full((6, len(task.dictionary)), 1e-12)
    for position, value in ((0, 50), (3, 99), (5, 8)):
        probs[position, ids[value]] = 0.01
    for position, value in enumerate(range(5)):
        probs[position, ids[value]] = 0.98
    probs[:, task.dictionary.eos_id] = 0.9
    maker = edited(task, mistakes=300)
    answers = list(maker.mistakes(group, probs.double()))
    assert answers == list(maker.mistakes(group, probs.double()))
    counts = Counter(answer.values for answer in answers)
    likely = {(50, 51, 52, 53, 54), (0, 1, 2, 99, 100), (0, 1, 2, 3, 4, 8)}
    assert len(answers) == 300
    assert set(counts) > likely
    # Half are at the likely positions, half anywhere: at three of six they are at likely ones.
    shares = [counts[values] / 300 for values in likely]
    assert sum(shares) == pytest.approx(0.5 + 0.5 * 3 / 6, abs=0.1)
    assert shares == pytest.approx([0.25] * 3, abs=0.08)
    exact = tuple(range(5))
    assert {answer[:2] for answer in answers} == {group}
    assert_labels_are_exact(task, answers)
    for values in counts:
        wrong = next(i for i, value in enumerate(values) if exact[i : i + 1] != (value,))
        assert values[wrong:] == tuple(range(values[wrong], 101))[: max(5 - wrong, 1)]


def test_mistakes_of_answers_that_count_down_stay_in_the_range(
    task: Task, monkeypatch: pytest.MonkeyPatch
):
    """From 3, of four terms: whatever goes wrong, the next ones follow downwards, to 0 at most."""
    down = replace(task.space[0], exact=(3, 2, 1, 0), step=-1)
    monkeypatch.setattr(task, "space", [down])
    anything = torch.ones(5, len(task.dictionary.tokens))
    made = [answer.values for answer in edited(task, mistakes=200).mistakes(Group(0, 0), anything)]
    wrong = {
        next(i for i in range(5) if values[i : i + 1] != down.exact[i : i + 1]) for values in made
    }
    assert wrong == {0, 1, 2, 3, 4}
    for values in made:
        first = next(i for i in range(5) if values[i : i + 1] != down.exact[i : i + 1])
        steps = {after - before for before, after in pairwise(values[first:])}
        assert steps <= {-1}
        assert min(values) >= 0
        assert max(values) <= 100


def test_groups_of_one_prompt_make_mistakes_of_their_own(task: Task, groups: list[Group]):
    """Drawn from a stream of each, and of each seed."""
    prompt_id = groups[0].prompt_id
    probs = torch.full((len(task.exact(prompt_id)) + 1, len(task.dictionary)), 0.01).double()

    def made(number: int, seed: int) -> list[tuple[int, ...]]:
        maker = edited(task, seed, mistakes=10)
        return [answer.values for answer in maker.mistakes(Group(number, prompt_id), probs)]

    assert made(3, 0) == made(3, 0)
    assert not set(made(3, 0)) >= set(made(4, 0))
    assert not set(made(3, 0)) >= set(made(3, 1))


def test_a_groups_completions_depend_on_seed_and_group_alone(task: Task, groups: list[Group]):
    maker = edited(task, random=4)
    again = edited(task, random=4)
    other = edited(task, seed=1, random=4)
    answers = [list(maker.completions(group)) for group in groups]
    assert answers == [list(again.completions(group)) for group in groups[::-1]][::-1]
    assert answers != [list(other.completions(group)) for group in groups]

"""The table of all examples: likely mistakes, nothing held out, and the same however it is made."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from completions_by_hand import NO_PREFERENCES
from notebook_reference import NotebookLM
from pandas.testing import assert_frame_equal
from small_states import in_context
from tasks_by_hand import with_series

from goldrm.common.params import IntRange
from goldrm.common.workers import ALONE
from goldrm.edits.kinds import KINDS, MAX_ADDED_TERMS
from goldrm.lm.model import Backbone
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.task import Task
from goldrm.training import example_table as example_table_module
from goldrm.training.edited import Answer, EditedCompletions, Group
from goldrm.training.example_table import drawn_mistakes, example_table
from goldrm.training.examples import COLUMNS, SAMPLED_COLUMNS, Examples, training_set
from goldrm.training.params import DataParams, EditsParams

FIRST, SECOND = (
    Series(1, start=3, difference=4, terms=5),
    Series(2, start=9, difference=1, terms=6),
)
NO_EDITS = EditsParams(lengths=0, mistakes=0, random=0, kinds=list(KINDS), further_prompts=0)
ALL_EDITS = EditsParams(
    lengths=MAX_ADDED_TERMS,
    mistakes=10,
    random=10,
    kinds=list(KINDS),
    further_prompts=300,
)


def examples_of(
    task: Task, prompts: Sequence[Series], sampled: Sequence[tuple[int, str]] = (), **edits: int
) -> Examples:
    """A group of each prompt, numbered from 0, with the exact series and the edits asked for."""
    groups = [Group(n, task.space.id_of(prompt.text)) for n, prompt in enumerate(prompts)]
    edited = EditedCompletions(NO_EDITS.model_copy(update=edits), task, seed=0)
    labelled = task.labelled((*groups[group], values_of(text)) for group, text in sampled)
    return Examples(labelled[SAMPLED_COLUMNS], groups, task, edited)


def mistakes_of(examples: Examples, backbone: Backbone) -> list[list[Answer]]:
    """Of each group."""
    answers = list(drawn_mistakes(examples.edited, examples.groups, backbone))
    return [[own for own in answers if own.group == group.number] for group in examples.groups]


def values_of(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def spelled(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


# Mistakes


def test_mistakes_are_drawn_from_what_the_language_model_expects(
    backbone: Backbone, reference_lm: NotebookLM, task: Task
):
    """Of every token after the prompt and after each term of the exact series: the notebook's."""
    examples = examples_of(task, [FIRST, SECOND, FIRST], mistakes=3)
    assert examples.edited is not None
    encode = task.dictionary.encode
    for group, answers in zip(examples.groups, mistakes_of(examples, backbone), strict=True):
        exact = encode(spelled(task.exact(group.prompt_id)))
        ids, last = in_context(encode(task.space[group.prompt_id].text), exact)
        probs = reference_lm(ids)[0, last:].detach().double().softmax(dim=-1)
        assert len(probs) == len(exact) + 1
        assert answers == list(examples.edited.mistakes(group, probs))
        assert len(answers) == 3


def test_every_group_has_mistakes_of_its_own(backbone: Backbone, task: Task, tmp_path: Path):
    """Also where another group has its prompt."""
    examples = examples_of(task, [FIRST, FIRST, SECOND, FIRST], mistakes=5)
    made = mistakes_of(examples, backbone)
    assert list(map(len, made)) == [5] * 4
    assert len({tuple(answer.values for answer in answers) for answers in made}) == 4
    expected = examples.table(examples.groups, chain.from_iterable(made))
    assert_frame_equal(example_table(examples, backbone, tmp_path, ALONE), expected)


def test_mistakes_are_made_where_the_context_has_room(
    backbone: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
):
    """For a term more than the exact series has, behind a whole prompt: 19 tokens."""
    ranges = {"terms": IntRange(min=5, max=30)}
    long_task = Task(dictionary, with_series(task_params, **ranges), gold_reward_params)
    prompts = [Series(1, start=0, difference=1, terms=terms) for terms in (18, 19, 30)]
    made = mistakes_of(examples_of(long_task, prompts, mistakes=5), backbone)
    assert list(map(len, made)) == [5, 0, 0]
    assert mistakes_of(examples_of(long_task, prompts[1:], mistakes=5), backbone) == [[], []]


# Unseen is unseen


def test_nothing_held_out_is_trained_on(
    backbone: Backbone,
    dictionary: Dictionary,
    task_params: TaskParams,
    gold_reward_params: GoldRewardParams,
    tmp_path: Path,
):
    """By brute force: no series of a held-out family, no prompt of one; and all the rest is there.

    Edits do spell such series, and so may the language model, whatever prompt is answered.
    """
    ranges = {"terms": IntRange(min=5, max=7)}  # of all families
    task = Task(dictionary, with_series(task_params, **ranges), gold_reward_params)
    prompts = {prompt_id: task.space[prompt_id] for prompt_id in range(len(task.space))}
    held_out = {i: prompt for i, prompt in prompts.items() if task.split_of(i) != "train"}
    answers = [next(iter(held_out.values())).exact, (0, 1, 2)]
    of_train = [i for i in prompts if i not in held_out][::200]
    sampled = [(*group, answer) for group in enumerate(of_train) for answer in answers]
    data = DataParams(
        num_pairs=None, completions_per_prompt=None, label_noise=0.0, ties=True, edits=ALL_EDITS
    )
    examples = training_set(task.labelled(sampled), NO_PREFERENCES, task, data, seed=0)
    table = example_table(examples, backbone, tmp_path, ALONE)

    exact = {spelled(prompt.exact) for prompt in held_out.values()}
    assert exact.isdisjoint(table["completion"])
    texts = {prompt.text for prompt in held_out.values()}
    assert texts.isdisjoint(table["prompt"])

    assert examples.edited is not None
    made = [own for group in examples.groups for own in examples.edited.completions(group)]
    made += drawn_mistakes(examples.edited, examples.groups, backbone)
    unfiltered = {(group, spelled(values)) for group, _, values in [*made, *sampled]}
    assert sum(text in exact for _, text in unfiltered) > 100
    of_any_length = {
        spelled(replace(series, terms=terms).exact(100))
        for series in (Series(**prompt.properties) for prompt in held_out.values())
        if series.template == 1 and series.terms == 5
        for terms in range(2, 102)
    }
    columns = table[["group", "completion"]]
    assert set(columns.itertuples(index=False, name=None)) == {
        row for row in unfiltered if row[1] not in of_any_length
    }


# However it is made


def test_the_size_of_a_chunk_does_not_decide_what_is_trained_on(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Groups of one prompt are in one chunk, or each in its own."""
    prompts = [FIRST, FIRST, SECOND, FIRST, SECOND, replace(SECOND, terms=5)]
    sampled = [(0, "2 4"), (4, "9"), (4, "9 9")]
    examples = examples_of(task, prompts, sampled, mistakes=4, random=2, lengths=1)
    tables: list[pd.DataFrame] = []
    for chunk in (256, 4, 1):
        monkeypatch.setattr(example_table_module, "GROUPS_A_CHUNK", chunk)
        tables.append(example_table(examples, backbone, tmp_path / str(chunk), ALONE))
        assert len(list((tmp_path / str(chunk)).iterdir())) == -(-6 // chunk)
    assert tables[0].dtypes.astype(str).to_dict() == COLUMNS
    assert tables[0]["group"].drop_duplicates().tolist() == list(range(6))
    for table in tables[1:]:
        assert_frame_equal(table, tables[0])


def test_killed_work_goes_on_from_its_chunks(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed in the second of three chunks, then never."""
    monkeypatch.setattr(example_table_module, "GROUPS_A_CHUNK", 1)
    examples = examples_of(task, [FIRST, SECOND, FIRST], mistakes=4)
    made: list[int] = []
    table_of = Examples.table

    def make(folder: str, kill_at: int | None = None) -> pd.DataFrame:
        made.clear()

        def until_killed(self: Examples, groups: Sequence[Group], mistakes: Iterable[Answer]):
            if len(made) == kill_at:
                raise KeyboardInterrupt
            made.append(groups[0].number)
            return table_of(self, groups, mistakes)

        monkeypatch.setattr(Examples, "table", until_killed)
        return example_table(examples, backbone, tmp_path / folder, ALONE)

    whole = make("whole")
    assert made == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        make("killed", kill_at=1)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["examples-00000.parquet"]
    assert_frame_equal(make("killed"), whole)
    assert made == [1, 2]

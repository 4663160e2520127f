"""Hidden states of the right texts in the right rows, each computed once, and their batches."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.params import IntRange
from goldrm.common.workers import ALONE
from goldrm.edits.kinds import KINDS
from goldrm.lm.model import Backbone
from goldrm.reward_model.reading import EveryTokenReading, LastTokenReading, Reading
from goldrm.reward_model.states import States
from goldrm.task.dictionary import Dictionary
from goldrm.task.params import GoldRewardParams, TaskParams
from goldrm.task.series import Prompt
from goldrm.task.task import Task
from goldrm.training import example_states
from goldrm.training.batches import LabelledCompletions
from goldrm.training.edited import EditedCompletions, Group, Row
from goldrm.training.example_states import labelled_completions, write_states
from goldrm.training.examples import Examples
from goldrm.training.params import EditsParams

FIRST, SECOND = (
    Prompt(1, start=2, difference=2, terms=5),
    Prompt(2, start=9, difference=1, terms=6),
)
WIDTH = 2 * 24  # of the rows of every token
READINGS = {"last_token": LastTokenReading(), "token_damage": EveryTokenReading([0, 2], [1])}
EVERY_TOKEN = READINGS["token_damage"]


@pytest.fixture(scope="module")
def long_task(
    dictionary: Dictionary, task_params: TaskParams, gold_reward_params: GoldRewardParams
) -> Task:
    """Of up to 30 terms: prompts of those that ask for most are cut, so the room may be wanting."""
    ranges = {"terms": IntRange(min=5, max=30)}
    return Task(dictionary, task_params.model_copy(update=ranges), gold_reward_params)


def sampled_examples(task: Task, rows: Sequence[tuple[int, Prompt, str]]) -> Examples:
    """Without edits; groups in the order of their first rows."""
    table = pd.DataFrame(
        [
            task.series(group, task.space.id_of(prompt), tuple(map(int, text.split())))
            for group, prompt, text in rows
        ]
    )
    groups = list(dict.fromkeys((Group(n, task.space.id_of(prompt)) for n, prompt, _ in rows)))
    return Examples(table, groups, task, None)


@pytest.fixture
def examples(task: Task) -> Examples:
    """Groups of two, one and two completions, in an order that isn't their numbers'."""
    return sampled_examples(
        task,
        [
            (0, FIRST, "2 4 6"),
            (0, FIRST, "2 4"),
            (4, SECOND, "9"),
            (2, FIRST, "2 5 8 11"),
            (2, FIRST, "2"),
        ],
    )


def read_alone(
    reading: Reading, backbone: Backbone, task: Task, texts: Sequence[tuple[str, str, str]]
) -> list[States]:
    """Each completion by itself: of (prompt, context prompt, completion)."""
    encode = task.dictionary.encode
    return [
        reading.read(reading.reader(backbone), [encode(prompt)], [encode(text)], [encode(context)])
        for prompt, context, text in texts
    ]


def texts_of(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    columns = table[["prompt", "context_prompt", "completion"]]
    return list(columns.itertuples(index=False, name=None))


def assert_are(found: LabelledCompletions, expected: Sequence[States], tolerance: float):
    """Each completion's rows, expectations and prompt are those of the one read alone."""
    states = found.states
    counts = states.token_counts.tolist()
    assert counts == [int(own.token_counts) for own in expected]
    rows = states.rows[states.token_rows].float().split(counts)
    log_probs = states.lm_log_probs.float().split(counts)
    prompts = states.prompt_rows.float().split(states.prompt_token_counts.tolist())
    for number, own in enumerate(expected):
        for there, alone in (
            (rows[number], own.rows[own.token_rows]),
            (log_probs[number], own.lm_log_probs),
            (prompts[int(states.prompt[number])], own.prompt_rows),
        ):
            torch.testing.assert_close(there, alone, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("chunk", [256, 2, 1])
@pytest.mark.parametrize(
    ("kind", "dtype"), [("last_token", torch.float32), ("token_damage", torch.float16)]
)
def test_completions_are_labelled_in_the_tables_order(
    backbone: Backbone,
    examples: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    kind: str,
    dtype: torch.dtype,
):
    monkeypatch.setattr(example_states, "GROUPS_A_CHUNK", chunk)
    write_states(backbone, READINGS[kind], examples, tmp_path, ALONE)
    found = labelled_completions(tmp_path)
    table = examples.table(examples.groups)
    assert table["completion"].tolist() == ["2 4 6", "2 4", "9", "2 5 8 11", "2"]
    alone = read_alone(READINGS[kind], backbone, examples.task, texts_of(table))
    assert_are(found, alone, 1e-5 if dtype == torch.float32 else 2e-3)
    assert found.states.rows.dtype == dtype
    if kind == "token_damage":
        prompts = {256: 2, 2: 2 + 1, 1: 3}[chunk]
        assert len(found.states.prompt_token_counts) == prompts, "once a chunk"
        shared = {256: 4 + 3 + 2, 2: 4 + 2 + 5, 1: 4 + 2 + 5}[chunk]
        assert len(found.states.rows) == shared, "what completions of a chunk begin with: once"
    assert found.gold_rewards.dtype == torch.float32
    assert found.gold_rewards.tolist() == pytest.approx(table["gold_reward"].tolist())
    assert (found.group_sizes.tolist(), len(found)) == ([2, 1, 2], 3)

    [batch] = found.batches(torch.tensor([2, 0]), 2)
    order = [3, 4, 0, 1]
    chosen = LabelledCompletions(batch.states, batch.gold_rewards, torch.tensor([2, 2]))
    assert_are(chosen, [alone[number] for number in order], 2e-3)
    assert batch.gold_rewards.tolist() == found.gold_rewards[order].tolist()
    better = batch.gold_rewards[batch.chosen] - batch.gold_rewards[batch.rejected]
    assert len(better) == 2
    assert bool((better > 0).all())


def edited_examples(
    task: Task, prompts: Sequence[Prompt], sampled: Sequence[tuple[int, str]] = (), **changes: Any
) -> Examples:
    """A group of each prompt, numbered from 0, with the exact series and the edits asked for."""
    params = EditsParams(
        lengths=0, misread=0, mistakes=0, random=0, kinds=list(KINDS), further_prompts=0
    )
    groups = list(map(Group, count(), map(task.space.id_of, prompts)))
    prompt_ids = {prompt: task.space.id_of(prompt) for prompt in prompts}
    edited = EditedCompletions(params.model_copy(update=changes), task, prompt_ids, seed=0)
    rows = [task.series(*groups[group], tuple(map(int, text.split()))) for group, text in sampled]
    columns = ["group", "prompt_id", "completion", "gold_reward"]
    return Examples(pd.DataFrame(rows, columns=columns), groups, task, edited)


def written_mistakes(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Group, Tensor, list[Row]]]:
    """Of each group from now on: what the language model expects, and which mistakes are made."""
    made: list[tuple[Group, Tensor, list[Row]]] = []
    mistakes = EditedCompletions.mistakes

    def noted(self: EditedCompletions, group: Group, probs: Tensor) -> list[Row]:
        rows = list(mistakes(self, group, probs))
        made.append((group, probs, rows))
        return rows

    monkeypatch.setattr(EditedCompletions, "mistakes", noted)
    return made


@pytest.mark.parametrize("kind", list(READINGS))
def test_mistakes_are_drawn_from_what_the_language_model_expects(
    backbone: Backbone,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
):
    """Of every token after the prompt and after each term of the exact series."""
    examples = edited_examples(task, [FIRST, SECOND, FIRST], [(1, "9 10")], mistakes=3, lengths=1)
    made = written_mistakes(monkeypatch)
    write_states(backbone, READINGS[kind], examples, tmp_path, ALONE)
    assert [group for group, _, _ in made] == examples.groups
    encode = task.dictionary.encode
    for group, probs, _ in made:
        exact = " ".join(map(str, task.exact(group.prompt_id)))
        texts = encode(task.space[group.prompt_id].text), encode(exact)
        reading = EVERY_TOKEN
        alone = reading.read(reading.reader(backbone), *([own] for own in texts))
        said = [*texts[1], backbone.sizes.eos_int]
        torch.testing.assert_close(probs.sum(1), torch.ones(len(said)).double())
        of_said = probs[range(len(said)), said].log().float()
        torch.testing.assert_close(of_said, alone.lm_log_probs[:, 0], atol=1e-4, rtol=0)

    found = labelled_completions(tmp_path)
    table = examples.table(examples.groups, [row for _, _, rows in made for row in rows])
    assert found.gold_rewards.tolist() == pytest.approx(table["gold_reward"].tolist())
    assert found.group_sizes.tolist() == table.groupby("group").size().tolist()
    assert_are(found, read_alone(READINGS[kind], backbone, task, texts_of(table)), 2e-3)


def test_every_group_has_mistakes_of_its_own(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where another group has its prompt; those that others are like are left out."""
    made = written_mistakes(monkeypatch)
    examples = edited_examples(task, [FIRST, FIRST, SECOND, FIRST], mistakes=5)
    write_states(backbone, EVERY_TOKEN, examples, tmp_path, ALONE)
    texts = [[row["completion"] for row in rows] for _, _, rows in made]
    assert [len(own) for own in texts] == [5] * 4
    assert len(set(map(tuple, texts))) == 4
    sizes = labelled_completions(tmp_path).group_sizes.tolist()
    assert sizes == [1 + len(set(own)) for own in texts]


def test_mistakes_are_made_where_the_context_has_room(
    backbone: Backbone, long_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For a term more than the exact series has, behind a whole prompt: 19 tokens."""
    made = written_mistakes(monkeypatch)
    prompts = [Prompt(1, start=0, difference=1, terms=terms) for terms in (18, 19, 30)]
    for reading in READINGS.values():
        made.clear()
        examples = edited_examples(long_task, prompts, mistakes=5)
        write_states(backbone, reading, examples, tmp_path / str(reading.stored_dtype), ALONE)
        assert [group.number for group, _, _ in made] == [0]
    made.clear()
    none_fits = edited_examples(long_task, prompts[1:], mistakes=5)
    write_states(backbone, EVERY_TOKEN, none_fits, tmp_path / "none", ALONE)
    assert made == []
    assert labelled_completions(tmp_path / "none").group_sizes.tolist() == [1, 1]


@pytest.mark.parametrize("kind", list(READINGS))
def test_the_size_of_a_chunk_does_not_decide_what_is_trained_on(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    """Groups of one prompt are in one chunk, or each in its own."""
    prompts = [FIRST, FIRST, SECOND, FIRST, SECOND, Prompt(2, start=9, difference=1, terms=5)]
    changes = {"mistakes": 4, "random": 2, "lengths": 1}
    if kind == "token_damage":
        changes["misread"] = 1
    examples = edited_examples(task, prompts, [(0, "2 4"), (4, "9"), (4, "9 9")], **changes)
    whole: list[LabelledCompletions] = []
    tables: list[pd.DataFrame] = []
    table_of = Examples.table

    def noted(*args: Any) -> pd.DataFrame:
        tables.append(table_of(*args))
        return tables[-1]

    monkeypatch.setattr(Examples, "table", noted)
    written: list[pd.DataFrame] = []
    for chunk in (256, 4, 1):
        tables.clear()
        monkeypatch.setattr(example_states, "GROUPS_A_CHUNK", chunk)
        write_states(backbone, READINGS[kind], examples, tmp_path / str(chunk), ALONE)
        written.append(pd.concat(tables, ignore_index=True))
        whole.append(labelled_completions(tmp_path / str(chunk)))
    for table, found in zip(written[1:], whole[1:], strict=True):
        assert_frame_equal(table, written[0])
        assert found.gold_rewards.tolist() == whole[0].gold_rewards.tolist()
        assert found.group_sizes.tolist() == whole[0].group_sizes.tolist()
    alone = read_alone(READINGS[kind], backbone, task, texts_of(written[0]))
    for found in whole:
        assert_are(found, alone, 2e-3)


def test_misread_completions_answer_their_own_prompts(
    backbone: Backbone, task: Task, tmp_path: Path
):
    """Their states are those behind the prompt that they are read behind."""
    other = Prompt(1, start=2, difference=2, terms=6)
    examples = edited_examples(task, [FIRST, other], misread=1)
    write_states(backbone, EVERY_TOKEN, examples, tmp_path, ALONE)
    found = labelled_completions(tmp_path)
    short, long = "2 4 6 8 10", "2 4 6 8 10 12"
    assert_are(
        found,
        read_alone(
            EVERY_TOKEN,
            backbone,
            task,
            [
                (FIRST.text, FIRST.text, short),
                (FIRST.text, other.text, short),
                (FIRST.text, other.text, long),
                (other.text, other.text, long),
                (other.text, FIRST.text, long),
                (other.text, FIRST.text, short),
            ],
        ),
        2e-3,
    )
    assert found.group_sizes.tolist() == [3, 3]
    assert len(found.states.prompt_token_counts) == 2
    other_length = 1 + 6 / (1 + 0.1 * 2**0.5)  # 12 where 10 is right, or 10 where 12 is
    assert found.gold_rewards.tolist() == pytest.approx([7, 7, other_length] * 2)


def test_prompts_that_are_cut_are_each_completions_own(
    backbone: Backbone, long_task: Task, tmp_path: Path
):
    """A prompt of 18 tokens is whole in front of 5 tokens, cut to 15 and to 10 by 25 and 30.

    They were told apart by their text, so that all were judged by the last one's tokens.
    """
    prompts = [Prompt(2, start=3, difference=1, terms=terms) for terms in (24, 25)]
    long = [" ".join(map(str, range(3, 3 + terms))) for terms in (25, 30, 5)]
    examples = edited_examples(
        long_task, prompts, [(group, text) for group in (0, 1) for text in long], misread=1
    )
    write_states(backbone, EVERY_TOKEN, examples, tmp_path, ALONE)
    found = labelled_completions(tmp_path)
    table = examples.table(examples.groups)
    assert_are(found, read_alone(EVERY_TOKEN, backbone, long_task, texts_of(table)), 2e-3)
    counts = found.states.prompt_token_counts[found.states.prompt]
    expected = [min(40 - max(19, len(text.split())), 18) for text in table["completion"]]
    assert counts.tolist() == expected
    assert len(set(expected)) == 4


def test_killed_work_goes_on_from_its_chunks(
    backbone: Backbone, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed in the second of three chunks, then before the chunks are deleted, then never."""
    monkeypatch.setattr(example_states, "GROUPS_A_CHUNK", 1)
    read: list[int] = []
    read_groups: Callable[..., LabelledCompletions] = example_states.read_groups

    def write(folder: str, kill_at: int | None = None) -> dict[str, bytes]:
        read.clear()

        def until_killed(*args: Any) -> LabelledCompletions:
            if len(read) == kill_at:
                raise KeyboardInterrupt
            read.append(args[-1][0].number)
            return read_groups(*args)

        monkeypatch.setattr(example_states, "read_groups", until_killed)
        write_states(backbone, EVERY_TOKEN, examples, tmp_path / folder, ALONE)
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    whole = write("whole")
    assert read == [0, 4, 2]
    assert sorted(whole) == ["joined.safetensors", "prompt_rows.bin", "rows.bin"]
    with pytest.raises(KeyboardInterrupt):
        write("killed", kill_at=1)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["hidden-00000.safetensors"]
    assert write("killed") == whole
    assert read == [4, 2]
    (tmp_path / "killed/hidden-00002.safetensors").touch()
    assert write("killed") == whole
    assert read == []


def test_many_rows_stay_in_their_files(backbone: Backbone, examples: Examples, tmp_path: Path):
    """What is written there afterwards is seen, so it isn't a copy in memory."""
    write_states(backbone, EVERY_TOKEN, examples, tmp_path, ALONE)
    rows = labelled_completions(tmp_path).states.rows
    path = tmp_path / "rows.bin"
    assert path.stat().st_size == 9 * WIDTH * 2
    with path.open("r+b") as file:
        file.write(torch.full((WIDTH,), 0.25).half().numpy().tobytes())
    first, second = rows.index_select(0, torch.arange(2)).tolist()
    assert first == [0.25] * WIDTH
    assert second != [0.25] * WIDTH


@pytest.mark.parametrize("name", ["rows", "prompt_rows"])
def test_a_file_cut_short_is_named(
    backbone: Backbone, examples: Examples, tmp_path: Path, name: str
):
    write_states(backbone, EVERY_TOKEN, examples, tmp_path, ALONE)
    path = tmp_path / f"{name}.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GoldrmError, match=rf"{name}\.bin was cut short"):
        labelled_completions(tmp_path)

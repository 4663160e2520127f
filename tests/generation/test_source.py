"""Pairs that somebody brings: the same from any format, and what can't be trained on is named."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from completions_by_hand import TWO_TO_TEN
from notebook_reference import save_training_set

from goldrm.common.errors import GoldrmError
from goldrm.generation.source import NO_PROMPT_ID, SourcePair, read_source
from goldrm.generation.text_tables import READERS
from goldrm.task.task import Task

Row = dict[str, Any]
EXACT, WORSE = "2 4 6 8 10", "2 4 6 8 16"  # of TWO_TO_TEN: 7, and one term off by 6
GOLD_WORSE = 5.819474697113037
OWN_PROMPT = "generate a series starting with 2"  # words of the dictionary, but none of the task's


def pair_of(row: Row, gold_rewards: Sequence[float] = ()) -> Row:
    names = ("chosen_gold_reward", "rejected_gold_reward")
    return row | dict(zip(names, gold_rewards, strict=False))


TASKS = {"prompt": TWO_TO_TEN.text, "chosen": EXACT, "rejected": WORSE}
OWN = {"prompt": OWN_PROMPT, "chosen": "2 3", "rejected": "value"}


def written(path: Path, rows: Sequence[Row]) -> Path:
    """A user's file, written without our code."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.fixture(params=[*READERS])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where to write pairs, in each of the three formats."""
    return tmp_path / f"pairs{request.param}"


def test_pairs_without_gold_rewards_keep_their_order(file: Path, task: Task):
    """Also where the task would have it the other way round."""
    other_way = {**TASKS, "chosen": WORSE, "rejected": EXACT}
    prompt_id = task.space.id_of(TWO_TO_TEN.text)
    assert list(read_source(written(file, [TASKS, other_way, OWN]), task)) == [
        SourcePair(prompt_id, TWO_TO_TEN.text, EXACT, WORSE, has_gold_rewards=False),
        SourcePair(prompt_id, TWO_TO_TEN.text, WORSE, EXACT, has_gold_rewards=False),
        SourcePair(NO_PROMPT_ID, OWN_PROMPT, "2 3", "value", has_gold_rewards=False),
    ]


def test_gold_rewards_count_where_the_prompt_is_the_tasks(file: Path, task: Task):
    """Rounded ones, too; a row may lack both."""
    rows = [pair_of(TASKS, (7, 5.8195)), pair_of(TASKS, (None, None)), pair_of(OWN, (3, -0.5))]
    found = list(read_source(written(file, rows), task))
    assert [pair.has_gold_rewards for pair in found] == [True, False, False]


def test_spaces_do_not_matter(tmp_path: Path, task: Task):
    row = {name: f"  {text}\t ".replace(" ", "  ") for name, text in TASKS.items()}
    both = [written(tmp_path / f"{n}.jsonl", [each]) for n, each in enumerate((row, TASKS))]
    assert list(read_source(both[0], task)) == list(read_source(both[1], task))


@pytest.mark.parametrize(
    "prompt",
    [
        f"{TWO_TO_TEN.text} 2",
        replace(TWO_TO_TEN, terms=15).text,
        replace(TWO_TO_TEN, difference=0).text,
    ],
)
def test_prompt_that_is_nearly_the_tasks_has_no_gold_rewards(
    tmp_path: Path, task: Task, prompt: str
):
    """One that begins as the task's does belongs to its family all the same."""
    row = pair_of({**TASKS, "prompt": prompt}, (7, GOLD_WORSE))
    (found,) = read_source(written(tmp_path / "pairs.csv", [row]), task)
    begins = prompt.startswith(TWO_TO_TEN.text + " ")
    assert found.prompt_id == (task.space.id_of(TWO_TO_TEN.text) if begins else NO_PROMPT_ID)
    assert not found.has_gold_rewards


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({**TASKS, "chosen": "2 4 101"}, "'101' in '2 4 101' isn't one of"),
        ({**TASKS, "prompt": "Hello 7"}, "'Hello' in 'Hello 7' isn't one of"),
        ({**TASKS, "prompt": " "}, "has no prompt"),
        ({**TASKS, "rejected": f" {EXACT}"}, "one text as chosen and as rejected"),
        (pair_of(TASKS, (7, "high")), "'7' and 'high', should be numbers"),
        (pair_of(TASKS, (7, None)), "gold rewards 7 of what is chosen and nan"),
        (pair_of(TASKS, (5, 7)), "gold rewards 5 of what is chosen and 7 .* leave out both"),
        (pair_of(TASKS, (7, 5.9)), "rejected_gold_reward is 5.9, but the task's is 5.81947"),
        (pair_of(TASKS, (6.99, 5.8195)), "chosen_gold_reward is 6.99, but the task's is 7"),
        (pair_of({**TASKS, "rejected": "value"}, (7, 1)), "rejected_gold_reward is 1, .* nan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_trained_on_is_named(tmp_path: Path, task: Task, row: Row, named: str):
    path = written(tmp_path / "pairs.csv", [pair_of(TASKS, (7, GOLD_WORSE)), row])
    with pytest.raises(GoldrmError, match=rf"pairs\.csv: row 1 \(counted from 0\).*{named}"):
        list(read_source(path, task))


def test_folder_is_its_files_in_the_order_of_their_names(
    tmp_path: Path, task: Task, archives_opened_here: None
):
    """What isn't pairs, such as a README, is passed over."""
    for number, (name, prompt) in enumerate([("c.csv", "2"), ("a.jsonl", "3"), ("d.parquet", "4")]):
        written(tmp_path / name, [{**OWN, "prompt": prompt, "chosen": str(number)}])
    ids = [task.dictionary.encode(f"{TWO_TO_TEN.text} {text}") for text in ("2 4", "2")]
    entries = [[[torch.tensor(own), torch.tensor(1.0)]] for own in ids]
    save_training_set(tmp_path / "b.pt", entries)
    (tmp_path / "README.md").write_text("pairs")
    found = [(pair.prompt, pair.chosen) for pair in read_source(tmp_path, task)]
    assert found == [("3", "1"), (TWO_TO_TEN.text, "2 4"), ("2", "0"), ("4", "2")]


def test_folder_without_pairs_is_refused(tmp_path: Path, task: Task):
    (tmp_path / "pairs.txt").touch()
    with pytest.raises(GoldrmError, match=r"holds no file that ends in \.jsonl, .*, \.pt"):
        list(read_source(tmp_path, task))

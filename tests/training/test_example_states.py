"""Hidden states of the right texts in the right rows, each computed once, and their batches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE
from goldrm.lm.model import Backbone
from goldrm.reward_model.reading import LastTokenReading, PromptReading, Reading
from goldrm.reward_model.states import States
from goldrm.task.arithmetic_series import Series
from goldrm.task.dictionary import Dictionary
from goldrm.training import example_states
from goldrm.training.batches import LabelledCompletions
from goldrm.training.example_states import labelled_completions, write_states

FIRST, SECOND = (
    Series(1, start=2, difference=2, terms=5),
    Series(2, start=9, difference=1, terms=6),
)
WIDTH = 2 * 24  # of a prompt's rows
LAST_TOKEN, PROMPTS = LastTokenReading(), PromptReading([0, 2])


@pytest.fixture
def table() -> pd.DataFrame:
    """Groups of two, one and two completions, in an order that isn't their numbers'."""
    rows = [
        (0, FIRST.text, "2 4 6", 0.0),
        (0, FIRST.text, "2 4", 1.0),
        (4, SECOND.text, "9", 2.0),
        (2, FIRST.text, "2 5 8 11", 3.0),
        (2, FIRST.text, "2", 4.0),
    ]
    return pd.DataFrame(rows, columns=["group", "prompt", "completion", "gold_reward"])


def read_alone(
    reading: Reading, backbone: Backbone, dictionary: Dictionary, table: pd.DataFrame
) -> list[States]:
    """Each completion by itself."""
    texts = table[["prompt", "completion"]]
    return [
        reading.read(backbone, *([dictionary.encode(text)] for text in row))
        for row in texts.itertuples(index=False)
    ]


def assert_are(found: LabelledCompletions, expected: Sequence[States], tolerance: float):
    """Each completion's rows, its prompt's, and their tokens are those of the one read alone."""
    states = found.states
    counts, prompt_counts = states.token_counts.tolist(), states.prompt_token_counts.tolist()
    assert counts == [int(own.token_counts) for own in expected]
    rows = states.rows[states.token_rows].float().split(counts)
    tokens = states.row_token_ids[states.token_rows].split(counts)
    prompts = states.prompt_rows.float().split(prompt_counts)
    prompt_tokens = states.prompt_row_token_ids.split(prompt_counts)
    for number, own in enumerate(expected):
        prompt = int(states.prompt[number])
        for there, alone in (
            (rows[number], own.rows[own.token_rows]),
            (tokens[number], own.row_token_ids[own.token_rows]),
            (prompts[prompt], own.prompt_rows),
            (prompt_tokens[prompt], own.prompt_row_token_ids),
        ):
            torch.testing.assert_close(there, alone, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("chunk", [256, 2, 1])
@pytest.mark.parametrize(
    ("reading", "dtype"),
    [(LAST_TOKEN, torch.float32), (PROMPTS, torch.float16)],
    ids=["last_token", "prompts"],
)
def test_completions_are_labelled_in_the_tables_order(
    backbone: Backbone,
    dictionary: Dictionary,
    table: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    reading: Reading,
    dtype: torch.dtype,
):
    monkeypatch.setattr(example_states, "GROUPS_A_CHUNK", chunk)
    write_states(backbone, reading, table, dictionary, tmp_path, ALONE)
    found = labelled_completions(tmp_path)
    alone = read_alone(reading, backbone, dictionary, table)
    assert_are(found, alone, 1e-5 if dtype == torch.float32 else 2e-3)
    assert {found.states.rows.dtype, found.states.prompt_rows.dtype} == {dtype}
    if reading is PROMPTS:
        prompts = {256: 2, 2: 2 + 1, 1: 3}[chunk]
        assert len(found.states.prompt_token_counts) == prompts, "once a chunk"
    assert found.gold_rewards.dtype == torch.float32
    assert found.gold_rewards.tolist() == [0, 1, 2, 3, 4]
    assert (found.group_sizes.tolist(), len(found)) == ([2, 1, 2], 3)

    [batch] = found.batches(torch.tensor([2, 0]), 2)
    assert batch.gold_rewards.tolist() == [3, 4, 0, 1]
    chosen = LabelledCompletions.paired(batch.states, batch.gold_rewards, torch.tensor([2, 2]))
    assert_are(chosen, [alone[number] for number in (3, 4, 0, 1)], 2e-3)
    assert (batch.chosen.tolist(), batch.rejected.tolist()) == ([1, 3], [0, 2])


def test_killed_work_goes_on_from_its_chunks(
    backbone: Backbone,
    dictionary: Dictionary,
    table: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Killed in the second of three chunks, then before the chunks are deleted, then never."""
    monkeypatch.setattr(example_states, "GROUPS_A_CHUNK", 1)
    read: list[int] = []
    read_examples: Callable[..., LabelledCompletions] = example_states.read_examples

    def write(folder: str, kill_at: int | None = None) -> dict[str, bytes]:
        read.clear()

        def until_killed(*args: Any) -> LabelledCompletions:
            if len(read) == kill_at:
                raise KeyboardInterrupt
            read.extend(args[2]["group"].unique().tolist())
            return read_examples(*args)

        monkeypatch.setattr(example_states, "read_examples", until_killed)
        write_states(backbone, PROMPTS, table, dictionary, tmp_path / folder, ALONE)
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


def test_many_rows_stay_in_their_files(
    backbone: Backbone, dictionary: Dictionary, table: pd.DataFrame, tmp_path: Path
):
    """What is written there afterwards is seen, so it isn't a copy in memory."""
    write_states(backbone, PROMPTS, table, dictionary, tmp_path, ALONE)
    rows = labelled_completions(tmp_path).states.prompt_rows
    path = tmp_path / "prompt_rows.bin"
    tokens = sum(len(prompt.text.split()) for prompt in (FIRST, SECOND))
    assert tokens * WIDTH * 2 < path.stat().st_size < tokens * WIDTH * 2 + 100
    with path.open("r+b") as file:
        file.write(torch.full((WIDTH,), 0.25).half().numpy().tobytes())
    first, second = rows.index_select(0, torch.arange(2)).tolist()
    assert first == [0.25] * WIDTH
    assert second != [0.25] * WIDTH


@pytest.mark.parametrize(("reading", "name"), [(LAST_TOKEN, "rows"), (PROMPTS, "prompt_rows")])
def test_a_damaged_file_is_named_and_made_again(
    backbone: Backbone,
    dictionary: Dictionary,
    table: pd.DataFrame,
    tmp_path: Path,
    reading: Reading,
    name: str,
):
    write_states(backbone, reading, table, dictionary, tmp_path, ALONE)
    path = tmp_path / f"{name}.bin"
    good = path.read_bytes()
    for damaged in (good[:-1], bytes([good[0] ^ 1]) + good[1:]):
        path.write_bytes(damaged)
        with pytest.raises(GoldrmError, match=rf"{name}\.bin is damaged .* Delete it"):
            labelled_completions(tmp_path)
        path.unlink()
        write_states(backbone, reading, table, dictionary, tmp_path, ALONE)
        assert path.read_bytes() == good
        labelled_completions(tmp_path)

"""Hidden states of the right texts in the right rows, each computed once, and their batches."""

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.lm.model import Backbone
from goldrm.reward_model import reading as features
from goldrm.reward_model.hidden_states import completion_hidden_states, outlook
from goldrm.reward_model.params import RewardModelParams
from goldrm.reward_model.reading import read_completions
from goldrm.reward_model.states import States
from goldrm.task.dictionary import Dictionary
from goldrm.training.row_file import RowFile
from goldrm.training.state_files import labelled_completions, write_states

FIRST, SECOND = "make a series of terms", "Let 5 be the number"
WIDTH = 2 * 24  # of token_damage's rows


@dataclass(frozen=True)
class Table:
    """Groups whose completions are all at hand, but for the mistakes, by completion."""

    rows: pd.DataFrame
    more: dict[str, list[str]] = field(default_factory=dict)
    expected: list[tuple[str, Tensor]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.rows["group"].nunique()

    def __getitem__(self, groups: slice) -> pd.DataFrame:
        return self.rows[self.rows["group"].isin(self.rows["group"].unique()[groups])]

    def mistakes(
        self, first: Mapping[Hashable, Any], expected: Tensor
    ) -> list[dict[Hashable, Any]]:
        self.expected.append((first["completion"], expected))
        texts = self.more.get(first["completion"], [])
        return [{**first, "completion": each, "gold_reward": 1.5} for each in texts]


@pytest.fixture
def completions() -> Table:
    """Groups of two, one and two completions, in an order that isn't the index's."""
    rows = [
        (0, FIRST, "2 4 6", 7.0),
        (0, FIRST, "2 4", 5.0),
        (4, SECOND, "9", 1.25),
        (2, FIRST, "2 5 8 11", 3.5),
        (2, FIRST, "2", 2.0),
    ]
    columns = ["group", "prompt", "completion", "gold_reward"]
    table = pd.DataFrame(rows, columns=columns, index=[3, 1, 0, 4, 2])
    return Table(table.assign(read_behind=table["prompt"]))


@pytest.fixture
def reading(
    backbone: Backbone, dictionary: Dictionary, token_damage: RewardModelParams
) -> Callable[[str, str, str], States]:
    """Reads one completion by itself: readout, prompt, completion → states."""

    def states(readout: str, prompt: str, completion: str) -> States:
        params = token_damage.model_copy(update={"readout": readout})
        return read_completions(backbone, dictionary, params, [prompt], [completion])

    return states


@pytest.mark.parametrize("completion", ["2 4 6", ""])
def test_last_token_reads_what_the_notebook_reads(
    reading, reference_lm: NotebookLM, dictionary: Dictionary, completion: str
):
    ids = torch.tensor(dictionary.encode(f"{FIRST} {completion}"))
    with torch.no_grad():
        expected = reference_lm.hidden_states(NotebookRM(reference_lm).right_align([ids]))[:, -1]
    found = reading("last_token", FIRST, completion)
    torch.testing.assert_close(found.rows, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [[0, 2], [0, 1]], ids=str)
def test_token_damage_reads_the_completions_tokens_and_the_one_before(
    backbone: Backbone, dictionary: Dictionary, token_damage: RewardModelParams, layers: list[int]
):
    """The layers asked for, the outlook from the top whether it is among them, and the prompt."""
    ids = [dictionary.encode(text) for text in (FIRST, "2 4 6")]
    expected = completion_hidden_states(backbone, ids[:1], ids[1:], layers, [1])
    top = completion_hidden_states(backbone, ids[:1], ids[1:], [2], [1])
    params = token_damage.model_copy(update={"layers": layers})
    found = read_completions(backbone, dictionary, params, [FIRST], ["2 4 6"])
    assert (found.rows.shape, found.prompt_rows.shape) == ((4, WIDTH), (5, 24))
    torch.testing.assert_close(found.rows[found.place], expected.completions[0], atol=1e-5, rtol=0)
    of_top = outlook(backbone, top.rows, top.places, ids[1:])
    torch.testing.assert_close(found.outlook, of_top, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.prompt_rows, expected.prompts[0], atol=1e-5, rtol=0)


def test_unknown_word_is_refused(reading):
    with pytest.raises(GoldrmError, match="'eleven'"):
        reading("token_damage", FIRST, "2 eleven")


@pytest.mark.parametrize("at_hand", [0, features.AT_HAND])
@pytest.mark.parametrize("chunk", [256, 2, 1])
@pytest.mark.parametrize(
    ("readout", "lengths", "dtype"),
    [("last_token", [1] * 5, torch.float32), ("token_damage", [4, 3, 2, 5, 2], torch.float16)],
)
def test_completions_are_labelled_in_the_tables_order(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: RewardModelParams,
    completions: Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reading,
    at_hand: int,
    chunk: int,
    readout: str,
    lengths: list[int],
    dtype: torch.dtype,
):
    monkeypatch.setattr(features, "AT_HAND", at_hand)
    monkeypatch.setattr(features, "CHUNK", chunk)
    params = token_damage.model_copy(update={"readout": readout})
    write_states(backbone, dictionary, params, completions, tmp_path)
    found = labelled_completions(tmp_path)
    texts = completions.rows[["prompt", "completion"]].to_numpy()
    alone = [reading(readout, *text) for text in texts]
    assert all_of(found.rows).dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    rows = all_of(found.rows)[found.place]
    for there, own in (
        (rows, [states.rows[states.place] for states in alone]),
        (found.outlook, [states.outlook for states in alone]),
    ):
        torch.testing.assert_close(there.float(), torch.cat(own), atol=tolerance, rtol=tolerance)
    if readout == "token_damage":
        of_prompts = all_of(found.prompt_rows).float().tensor_split(found.prompt_ends[:-1])
        for prompt, states in zip(found.prompt.tolist(), alone, strict=True):
            torch.testing.assert_close(of_prompts[prompt], states.prompt_rows, atol=2e-3, rtol=2e-3)
        assert len(of_prompts) == {256: 2, 2: 2 + 1, 1: 3}[chunk], "once a chunk"
        shared = {256: 4 + 3 + 2, 2: 4 + 2 + 5, 1: 4 + 2 + 5}[chunk]
        assert len(found.rows) == shared, "what completions of a chunk begin with: once"
    assert found.ends.tolist() == np.cumsum(lengths).tolist()
    assert found.gold_rewards.dtype == torch.float32
    assert found.gold_rewards.tolist() == [7.0, 5.0, 1.25, 3.5, 2.0]
    assert (found.groups.tolist(), len(found)) == ([2, 3, 5], 3)

    [batch] = found.batches(torch.tensor([2, 0]), 2)
    states = batch.states
    for found_there, there in ((states.rows[states.place], rows), (states.outlook, found.outlook)):
        last, first = there[sum(lengths[:3]) :], there[: sum(lengths[:2])]
        assert torch.equal(found_there, torch.cat((last, first)))
    assert states.lengths.tolist() == lengths[3:] + lengths[:2]
    assert batch.gold_rewards.tolist() == [3.5, 2.0, 7.0, 5.0]
    assert (batch.chosen.tolist(), batch.rejected.tolist()) == ([0, 2], [1, 3])


def test_mistakes_are_read_as_if_they_had_been_asked_for(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: RewardModelParams,
    completions: Table,
    tmp_path: Path,
):
    """At the end of their group, each once; asked for with what the language model expects."""
    more = Table(completions.rows, {"2 4 6": ["2 4 9 11", "2 4", "2 4 9 11"], "9": ["10 11"]})
    write_states(backbone, dictionary, token_damage, more, tmp_path / "more")
    rows = completions.rows.to_dict("records")
    for place, text in ((2, "2 4 9 11"), (4, "10 11")):
        like = rows[place - 1]
        rows.insert(place, {**like, "completion": text, "gold_reward": 1.5})
    write_states(backbone, dictionary, token_damage, Table(pd.DataFrame(rows)), tmp_path / "given")
    found, given_ = (labelled_completions(tmp_path / folder) for folder in ("more", "given"))
    assert found.gold_rewards.tolist() == [7.0, 5.0, 1.5, 1.25, 1.5, 3.5, 2.0]
    assert found.groups.tolist() == given_.groups.tolist() == [3, 5, 7]
    assert found.ends.tolist() == given_.ends.tolist()
    assert found.prompt.tolist() == given_.prompt.tolist()
    torch.testing.assert_close(
        all_of(found.rows)[found.place], all_of(given_.rows)[given_.place], atol=2e-3, rtol=2e-3
    )
    torch.testing.assert_close(found.outlook, given_.outlook, atol=2e-3, rtol=2e-3)

    asked = sorted(more.expected, key=lambda each: each[0])
    assert [first for first, _ in asked] == ["2 4 6", "9"], "each prompt's first, once"
    for (first, expected), prompt in zip(asked, (FIRST, SECOND), strict=True):
        states = read_completions(backbone, dictionary, token_damage, [prompt], [first])
        said = [*dictionary.encode(first), backbone.sizes.eos_int]
        torch.testing.assert_close(expected.sum(1), torch.ones(len(said)).double())
        of_said = expected[range(len(said)), said].log().float()
        torch.testing.assert_close(of_said, states.outlook[:, 0], atol=1e-4, rtol=0)


def test_misread_completion_answers_its_own_prompt(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: RewardModelParams,
    completions: Table,
    tmp_path: Path,
    reading: Callable[[str, str, str], States],
):
    """Its states are those behind the prompt it is read behind, which no mistake is made of."""
    rows = completions.rows.assign(read_behind=[FIRST, SECOND, SECOND, FIRST, FIRST])
    misread = Table(rows, {"2 4": ["1"], "2 4 6": ["3"]})
    write_states(backbone, dictionary, token_damage, misread, tmp_path / "misread")
    found = labelled_completions(tmp_path / "misread")
    assert found.gold_rewards.tolist() == [7.0, 5.0, 1.5, 1.25, 3.5, 2.0]
    assert sorted(first for first, _ in misread.expected) == ["2 4 6", "9"]
    behind = [(FIRST, "2 4 6"), (SECOND, "2 4"), (FIRST, "3"), (SECOND, "9")]
    alone = [reading("token_damage", *each) for each in behind]
    [batch] = found.batches(torch.tensor([0, 1]), 2)
    states = batch.states
    own = torch.cat([each.rows[each.place] for each in alone])
    torch.testing.assert_close(states.rows[states.place].float(), own, atol=2e-3, rtol=2e-3)
    of_prompts = states.prompt_rows.float().split(states.prompt_lengths.tolist())
    for prompt, answered in zip(states.prompt, [alone[0]] * 3 + [alone[3]], strict=True):
        rows_of = answered.prompt_rows
        torch.testing.assert_close(of_prompts[prompt], rows_of, atol=2e-3, rtol=2e-3)

    last_token = token_damage.model_copy(update={"readout": "last_token"})
    write_states(backbone, dictionary, last_token, misread, tmp_path / "last_token")
    found = labelled_completions(tmp_path / "last_token")
    assert found.gold_rewards.tolist() == [7.0, 1.25, 3.5, 2.0]


def all_of(rows: Tensor | RowFile) -> Tensor:
    return torch.cat(list(rows.split(2)))


def test_many_rows_stay_in_the_file(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: RewardModelParams,
    completions: Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """What is written there afterwards is seen, so it isn't a copy in memory; of few there is."""
    write_states(backbone, dictionary, token_damage, completions, tmp_path)
    monkeypatch.setattr(features, "AT_HAND", 9 * WIDTH * 2)
    copied = labelled_completions(tmp_path).rows
    before = copied.index_select(0, torch.arange(9))
    monkeypatch.setattr(features, "AT_HAND", 9 * WIDTH * 2 - 1)
    rows = labelled_completions(tmp_path).rows
    with (tmp_path / "rows.bin").open("r+b") as file:
        assert file.seek(0, os.SEEK_END) == 9 * WIDTH * 2
        file.seek(0)
        file.write(np.full(WIDTH, 0.25, dtype=np.float16).tobytes())
    first, second = rows.index_select(0, torch.arange(2)).tolist()
    assert first == [0.25] * WIDTH
    assert second != [0.25] * WIDTH
    assert torch.equal(copied[torch.arange(9)], before)


def test_killed_work_goes_on_from_its_chunks(
    backbone: Backbone,
    dictionary: Dictionary,
    token_damage: RewardModelParams,
    completions: Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Killed in the second of three chunks, then before the chunks are deleted, then never."""
    monkeypatch.setattr(features, "CHUNK", 1)
    read: list[str] = []

    def write(folder: str, kill_at: int | None = None) -> dict[str, bytes]:
        read.clear()

        def until_killed(*asked: Any) -> States:
            if len(read) == kill_at:
                raise KeyboardInterrupt
            read.append(asked[4][0])
            return read_completions(*asked)

        monkeypatch.setattr(features, "read_completions", until_killed)
        write_states(backbone, dictionary, token_damage, completions, tmp_path / folder)
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    whole = write("whole")
    assert (len(read), sorted(whole)) == (3, ["joined.safetensors", "prompt_rows.bin", "rows.bin"])
    with pytest.raises(KeyboardInterrupt):
        write("killed", kill_at=1)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["hidden-00000.safetensors"]
    assert write("killed") == whole
    assert read == ["9", "2 5 8 11"]
    (tmp_path / "killed/hidden-00002.safetensors").touch()
    assert write("killed") == whole
    assert read == []

"""Features are the hidden states of the right texts in the right rows, each computed once."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from notebook_reference import NotebookLM, NotebookRM
from torch import Tensor, nn

from goldrm import features
from goldrm.backbone import Backbone
from goldrm.dictionary import Dictionary
from goldrm.features import pair_features


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Four pairs with five distinct texts: completions of two prompts, some of them shared."""
    first, second = "make a series of terms", "Let 5 be the number"
    return pd.DataFrame(
        {
            "prompt": [first, second, first, first],
            "chosen": ["2 4 6", "2 4 6", "2 4 6", "2 4"],
            "rejected": ["2 4", "9", "2 5 8", "2 5 8"],
            "chosen_gold_reward": [7.0, 6.5, 7.0, 5.0],
            "rejected_gold_reward": [5.0, 1.25, 3.5, 3.5],
        }
    )


@torch.no_grad()
def notebooks(lm: NotebookLM, dictionary: Dictionary, pairs: pd.DataFrame) -> Tensor:
    """The hidden states (pairs, 2, d), every text computed on its own."""

    def hidden(text: str) -> Tensor:
        token_ids = torch.tensor(dictionary.encode(text))
        return lm.hidden_states(NotebookRM(lm).right_align([token_ids]))[0, -1]

    rows = [
        [hidden(f"{row['prompt']} {row[side]}") for side in ("chosen", "rejected")]
        for row in pairs.to_dict("records")
    ]
    return torch.stack([torch.stack(row) for row in rows])


def count_sequences(backbone: Backbone) -> list[int]:
    """The number of sequences in each of the backbone's calls from now on."""
    counts: list[int] = []

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        counts.append(len(args[0]))

    backbone.transformer_blocks[0].register_forward_pre_hook(count)
    return counts


@pytest.mark.parametrize("chunk", [512, 5, 2, 1])
def test_rows_are_the_pairs_and_columns_chosen_and_rejected(
    backbone: Backbone,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    pairs: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
):
    monkeypatch.setattr(features, "CHUNK", chunk)
    found = pair_features(backbone, dictionary, pairs, tmp_path)
    expected = notebooks(reference_lm, dictionary, pairs)
    torch.testing.assert_close(found.hidden, expected, atol=1e-5, rtol=0)
    assert len(found) == 4
    assert found.gold_rewards.dtype == found.hidden.dtype == torch.float32
    assert found.gold_rewards.tolist() == [[7.0, 5.0], [6.5, 1.25], [7.0, 3.5], [5.0, 3.5]]


def test_rows_follow_the_order_of_the_table_not_its_index(
    backbone: Backbone,
    reference_lm: NotebookLM,
    dictionary: Dictionary,
    pairs: pd.DataFrame,
    tmp_path: Path,
):
    shuffled = pairs.iloc[[2, 0, 3, 1]]
    found = pair_features(backbone, dictionary, shuffled, tmp_path)
    expected = notebooks(reference_lm, dictionary, shuffled)
    torch.testing.assert_close(found.hidden, expected, atol=1e-5, rtol=0)
    assert found.gold_rewards[:, 1].tolist() == [3.5, 5.0, 3.5, 1.25]


def test_distinct_texts_are_computed_once(
    backbone: Backbone, dictionary: Dictionary, pairs: pd.DataFrame, tmp_path: Path
):
    counts = count_sequences(backbone)
    pair_features(backbone, dictionary, pairs, tmp_path)
    assert sum(counts) == 5


def test_memory_is_bounded_by_the_chunk(
    backbone: Backbone,
    dictionary: Dictionary,
    pairs: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(features, "CHUNK", 2)
    counts = count_sequences(backbone)
    pair_features(backbone, dictionary, pairs, tmp_path)
    assert counts == [2, 2, 1]


def test_killed_work_goes_on_from_its_chunks(
    backbone: Backbone,
    dictionary: Dictionary,
    pairs: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(features, "CHUNK", 2)
    whole = pair_features(backbone, dictionary, pairs, tmp_path)
    files = sorted(tmp_path.iterdir())
    content = [file.read_bytes() for file in files]
    assert len(files) == 3
    for file in files:
        os.utime(file, (0, 0))
    files[1].unlink()
    counts = count_sequences(backbone)

    resumed = pair_features(backbone, dictionary, pairs, tmp_path)

    assert counts == [2]
    assert torch.equal(resumed.hidden, whole.hidden)
    assert [file.read_bytes() for file in files] == content
    assert [file.stat().st_mtime_ns == 0 for file in files] == [True, False, True]

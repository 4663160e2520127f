"""Pairs as TRL reads them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from goldrm.commands.export_pairs import write_pairs
from goldrm.common.errors import GoldrmError
from goldrm.common.tables import write_parquet

PROMPT = "generate an arithmetic series with 2 terms starting with value 1 and common difference 3"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs of the test split."""
    table = pd.DataFrame(
        {
            "prompt_id": [3, 3],
            "prompt": [PROMPT, PROMPT],
            "chosen": ["1 4", "1 4"],
            "rejected": ["1 5", "4"],
            "margin": [0.5, 2.0],
        }
    )
    write_parquet(tmp_path / "data/pairs/test.parquet", table)
    monkeypatch.chdir(tmp_path)


def test_completions_begin_with_the_space_that_keeps_words_apart():
    assert write_pairs(Path("pairs.jsonl"), "test") == 2
    rows = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    assert rows == [
        {"prompt": PROMPT, "chosen": " 1 4", "rejected": " 1 5"},
        {"prompt": PROMPT, "chosen": " 1 4", "rejected": " 4"},
    ]


def test_parquet_holds_the_same():
    write_pairs(Path("pairs.jsonl"), "test")
    write_pairs(Path("pairs.parquet"), "test")
    as_json = pd.read_json("pairs.jsonl", lines=True, dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet("pairs.parquet"), as_json, check_dtype=False)


def test_another_ending_and_missing_pairs_are_refused():
    with pytest.raises(GoldrmError, match=r"pairs.csv must end in .jsonl or .parquet"):
        write_pairs(Path("pairs.csv"), "test")
    with pytest.raises(GoldrmError, match=r"train.parquet doesn't exist. `dvc repro` makes it."):
        write_pairs(Path("pairs.jsonl"), "train")

"""The pairs that users bring are read as texts, and what is wrong with them is named."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from goldrm.commands.pairs_file import read_pairs
from goldrm.common.errors import GoldrmError

PAIRS = [
    {"prompt": "second prompt", "chosen": "7", "rejected": "1 2 3"},
    {"prompt": "first prompt", "chosen": "10 20", "rejected": "07"},
    {"prompt": "second prompt", "chosen": "7 8", "rejected": "0"},
]


def write_pairs(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A user's file, written without our code."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        columns = list(rows[0])
        lines = [
            columns,
            *(["" if row[name] is None else row[name] for name in columns] for row in rows),
        ]
        path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    else:
        pd.DataFrame(rows).to_parquet(path, index=False)
    return path


@pytest.fixture(params=["jsonl", "csv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where to write pairs, in each of the three formats."""
    return tmp_path / f"pairs.{request.param}"


def test_missing_file_is_named(file: Path):
    with pytest.raises(GoldrmError, match=f"{file.name} doesn't exist"):
        read_pairs(file)


def test_folder_is_refused(file: Path):
    file.mkdir()
    with pytest.raises(GoldrmError, match=file.name):
        read_pairs(file)


def test_pairs_keep_the_files_order(file: Path):
    found = read_pairs(write_pairs(file, PAIRS))
    assert found[["prompt", "chosen", "rejected"]].to_dict("records") == PAIRS


def test_other_columns_do_no_harm(file: Path):
    rows = [{"margin": 0.5, **row, "note": "x"} for row in PAIRS]
    found = read_pairs(write_pairs(file, rows))
    assert found[["prompt", "chosen", "rejected"]].to_dict("records") == PAIRS


@pytest.mark.parametrize("as_text", [True, False])
def test_numbers_are_read_as_texts(file: Path, as_text: bool):
    """A completion of one number, 7, must stay "7": not 7.0, and not a number."""
    kind = str if as_text else int
    rows = [{"prompt": "p", "chosen": kind(value), "rejected": kind(3)} for value in (7, 100, 0)]
    found = read_pairs(write_pairs(file, rows))
    assert found["chosen"].tolist() == ["7", "100", "0"]
    assert found["rejected"].tolist() == ["3", "3", "3"]


def test_texts_are_not_taken_for_numbers(file: Path):
    """07 isn't one of the dictionary's tokens: as 7 it would be scored all the same."""
    rows = [{"prompt": "p", "chosen": text, "rejected": "2024"} for text in ("07", "1e2", "7.0")]
    assert read_pairs(write_pairs(file, rows))["chosen"].tolist() == ["07", "1e2", "7.0"]


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
def test_missing_column_is_named(file: Path, column: str):
    rows = [{name: text for name, text in row.items() if name != column} for row in PAIRS]
    with pytest.raises(GoldrmError, match=rf"{file.name} has no column {column}"):
        read_pairs(write_pairs(file, rows))


@pytest.mark.parametrize("column", ["prompt", "chosen", "rejected"])
def test_missing_value_is_named(file: Path, column: str):
    rows = [PAIRS[0], {**PAIRS[1], column: None}, PAIRS[2]]
    with pytest.raises(GoldrmError, match=rf"{file.name}: row 1 .*{column}"):
        read_pairs(write_pairs(file, rows))


@pytest.mark.parametrize("name", ["pairs.txt", "pairs", "pairs.json", "pairs.CSV", "pairs.csv.gz"])
def test_unknown_suffix_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_text("prompt,chosen,rejected\n")
    with pytest.raises(GoldrmError, match=r"must end in \.jsonl, \.csv, \.parquet"):
        read_pairs(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.jsonl", b""),
        ("pairs.jsonl", b"{"),
        ("pairs.jsonl", b'{"prompt": "a"}\n{"prompt"'),
        ("pairs.jsonl", b"1\n2\n"),
        ("pairs.jsonl", b"\xff\xfe"),
        ("pairs.jsonl", b"[" * 100_000),
        ("pairs.csv", b""),
        ("pairs.csv", b"\xff\xfe"),
        ("pairs.csv", b'prompt,chosen,rejected\n"a'),
        ("pairs.csv", b"prompt,chosen,rejected\na,b,c\na,b,c,d\n"),
        ("pairs.csv", b"prompt,chosen,rejected\na,b,c,d\n"),
        ("pairs.parquet", b""),
        ("pairs.parquet", b"PAR1PAR1"),
        ("pairs.parquet", b"prompt,chosen,rejected\n"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_damaged_pairs_are_named(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(GoldrmError) as error:
        read_pairs(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)

"""Tables as files: the same bytes for the same table, and damage that is noticed."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow.dataset import dataset
from pyarrow.parquet import ParquetFile

from goldrm.common import tables
from goldrm.common.errors import GoldrmError
from goldrm.common.tables import (
    ParquetBuffer,
    open_parquet,
    read_csv,
    read_parquet,
    write_csv,
    write_parquet,
)

TABLE = pd.DataFrame(
    {"prompt": ["b", "a"], "margin": [0.1, 1 / 3], "prompt_id": [2, 1], "text": ["1 2", "3"]}
)


def test_parquet_round_trip(tmp_path: Path):
    write_parquet(tmp_path / "table.parquet", TABLE)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "table.parquet"), TABLE)


def test_parquet_keeps_no_index(tmp_path: Path):
    write_parquet(tmp_path / "table.parquet", TABLE[TABLE["prompt_id"] == 1])
    assert read_parquet(tmp_path / "table.parquet").index.tolist() == [0]


def test_same_table_gives_the_same_bytes(tmp_path: Path):
    for write, suffix in ((write_parquet, "parquet"), (write_csv, "csv")):
        for name in ("first", "second"):
            write(tmp_path / f"{name}.{suffix}", TABLE.copy())
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_csv_has_six_significant_digits(tmp_path: Path):
    write_csv(tmp_path / "table.csv", TABLE)
    assert (tmp_path / "table.csv").read_bytes() == (
        b"prompt,margin,prompt_id,text\nb,0.1,2,1 2\na,0.333333,1,3\n"
    )
    assert read_csv(tmp_path / "table.csv")["margin"].tolist() == [0.1, 0.333333]


@pytest.mark.parametrize("kept", [0, 1, 4, 100, -1, -8, -100])
def test_truncated_parquet_is_refused(tmp_path: Path, kept: int):
    path = tmp_path / "train.parquet"
    write_parquet(path, TABLE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GoldrmError, match=r"train\.parquet is not a whole Parquet file"):
        read_parquet(path)


def test_any_flipped_bit_in_parquet_is_noticed(tmp_path: Path):
    path = tmp_path / "train.parquet"
    write_parquet(path, TABLE)
    good = path.read_bytes()
    for index in range(0, len(good), 4):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with pytest.raises(GoldrmError, match=r"train\.parquet is not a whole Parquet file"):
            read_parquet(path)


def test_parquet_is_one_for_other_programs(tmp_path: Path):
    """The checksum lies where a reader has no reason to look."""
    write_parquet(tmp_path / "table.parquet", TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), TABLE)
    whole = dataset(tmp_path / "table.parquet").to_table()
    assert whole.to_pydict() == TABLE.to_dict("list")
    assert (
        ParquetFile(tmp_path / "table.parquet").read_row_group(0).to_pydict() == whole.to_pydict()
    )


def test_parquet_of_others_needs_no_checksum_where_it_may_be_theirs(tmp_path: Path):
    path = tmp_path / "theirs.parquet"
    TABLE.to_parquet(path, index=False)
    with open_parquet(path) as file:
        assert file.read().to_pydict() == TABLE.to_dict("list")
    with pytest.raises(GoldrmError, match=r"theirs\.parquet .*as it was written"):
        read_parquet(path)


@pytest.mark.parametrize(("read", "name"), [(read_parquet, "none.parquet"), (read_csv, "none.csv")])
def test_missing_file_is_named(tmp_path: Path, read: Any, name: str):
    with pytest.raises(GoldrmError, match=f"{name} doesn't exist"):
        read(tmp_path / name)


@pytest.mark.parametrize("cuts", [[], [1], [3, 3], [2, 5, 6], [1, 2, 3, 4, 5, 6]])
def test_parquet_in_pieces_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: list[int]
):
    """Seven rows, of which three at a time are compressed, however they come."""
    monkeypatch.setattr(tables, "ROW_GROUP", 3)
    rows = pd.DataFrame({"text": list("abcdefg"), "id": range(7), "share": [0.5] * 7})
    columns = {"text": "str", "id": "int64"}
    whole, pieces = ParquetBuffer(columns), ParquetBuffer(columns)
    whole.append(rows)
    for start, end in zip([0, *cuts], [*cuts, 7], strict=True):
        pieces.append(rows[start:end])
    assert (len(whole), len(pieces)) == (7, 7)
    content = pieces.content()
    assert content == whole.content()
    (tmp_path / "rows.parquet").write_bytes(content)
    found = read_parquet(tmp_path / "rows.parquet")
    assert found.to_dict("list") == {"text": list("abcdefg"), "id": list(range(7))}


def test_parquet_without_rows_keeps_its_columns(tmp_path: Path):
    (tmp_path / "none.parquet").write_bytes(ParquetBuffer({"id": "int64"}).content())
    found = read_parquet(tmp_path / "none.parquet")
    assert (len(found), found.dtypes.to_dict()) == (0, {"id": "int64"})

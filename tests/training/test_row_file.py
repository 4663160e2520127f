"""Rows come from the file as they were written, whichever are asked for."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldrm.common.errors import GoldrmError
from goldrm.training.row_file import RowFile, RowWriter

ROWS = torch.arange(60, dtype=torch.float16).view(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with RowWriter(tmp_path / "rows.bin") as writer:
        for part in ROWS.split([7, 0, 1, 12]):
            writer.append(part)
    return tmp_path / "rows.bin"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.integers(0, 19)))
def test_any_rows_in_any_order(path: Path, asked: list[int]):
    rows = torch.tensor(asked, dtype=torch.int64)
    found = RowFile(path, 3, torch.float16).index_select(0, rows)
    torch.testing.assert_close(found, ROWS[rows], rtol=0, atol=0)


@pytest.mark.parametrize("size", [1, 7, 20, 100])
def test_all_rows_in_parts(path: Path, size: int):
    found = RowFile(path, 3, torch.float16)
    assert len(found) == 20
    parts = list(found.split(size))
    assert [len(part) for part in parts] == [len(part) for part in ROWS.split(size)]
    torch.testing.assert_close(torch.cat(parts), ROWS, rtol=0, atol=0)


def test_no_rows_and_rows_without_numbers(tmp_path: Path):
    with RowWriter(tmp_path / "none.bin"):
        pass
    for width in (0, 3):
        found = RowFile(tmp_path / "none.bin", width, torch.float32)
        assert len(found) == 0
        assert list(found.split(5)) == []
        assert found.index_select(0, torch.arange(0)).shape == (0, width)


def test_a_file_cut_short_is_named(path: Path):
    found = RowFile(path, 3, torch.float16)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(found.index_select(0, torch.arange(19))) == 19
    with pytest.raises(GoldrmError, match=r"rows\.bin was cut short"):
        found.index_select(0, torch.tensor([19]))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"rows\.bin can't be written: No such file"):
        RowWriter(tmp_path / "nowhere/rows.bin")


def test_writing_begins_anew(path: Path):
    with RowWriter(path) as writer:
        writer.append(ROWS[:2])
    assert len(RowFile(path, 3, torch.float16)) == 2

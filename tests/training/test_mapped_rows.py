"""Rows come from the file as they were written."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldrm.common.errors import GoldrmError
from goldrm.training.mapped_rows import RowWriter, map_rows

ROWS = torch.arange(60, dtype=torch.float16).view(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with RowWriter(tmp_path / "rows.bin") as writer:
        for part in ROWS.split([7, 0, 1, 12]):
            writer.append(part)
    assert (writer.shape, writer.dtype) == ((20, 3), torch.float16)
    return tmp_path / "rows.bin"


def test_all_rows_come_back(path: Path):
    rows = map_rows(path, (20, 3), torch.float16)
    torch.testing.assert_close(rows, ROWS, rtol=0, atol=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.integers(0, 19)))
def test_any_rows_in_any_order(path: Path, asked: list[int]):
    numbers = torch.tensor(asked, dtype=torch.int64)
    found = map_rows(path, (20, 3), torch.float16).index_select(0, numbers)
    torch.testing.assert_close(found, ROWS[numbers], rtol=0, atol=0)


def test_rows_stay_in_the_file(path: Path):
    """What is written there afterwards is seen, so it isn't a copy in memory."""
    rows = map_rows(path, (20, 3), torch.float16)
    with path.open("r+b") as file:
        file.write(torch.full((3,), 0.25).half().numpy().tobytes())
    assert rows[:2].tolist() == [[0.25] * 3, [3.0, 4.0, 5.0]]


@pytest.mark.parametrize("width", [0, 3])
def test_no_rows(tmp_path: Path, width: int):
    with RowWriter(tmp_path / "none.bin") as writer:
        writer.append(torch.empty(0, width))
    found = map_rows(tmp_path / "none.bin", writer.shape, torch.float32)
    assert found.shape == (0, width)
    assert found.dtype == torch.float32


def test_rows_without_numbers(tmp_path: Path):
    with RowWriter(tmp_path / "none.bin") as writer:
        writer.append(torch.empty(5, 0))
    assert map_rows(tmp_path / "none.bin", writer.shape, torch.float32).shape == (5, 0)


def test_a_file_cut_short_is_named(path: Path):
    """Reading behind the end of a mapped file would end the process."""
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        GoldrmError, match=r"rows\.bin was cut short.*Delete it and run `dvc repro`"
    ):
        map_rows(path, (20, 3), torch.float16)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"rows\.bin was cut short"):
        map_rows(tmp_path / "rows.bin", (20, 3), torch.float16)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"rows\.bin can't be written: No such file"):
        RowWriter(tmp_path / "nowhere/rows.bin")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("rows", [1, 1_000_000])
def test_a_full_disk_is_a_sentence(rows: int):
    """Noticed while writing, or when what is left is written at the end."""
    full = pytest.raises(GoldrmError, match=r"/dev/full can't be written: No space left")
    with full, RowWriter(Path("/dev/full")) as writer:
        writer.append(torch.zeros(rows, 3))


def test_writing_begins_anew(path: Path):
    with RowWriter(path) as writer:
        writer.append(ROWS[:2])
    assert torch.equal(map_rows(path, (2, 3), torch.float16), ROWS[:2])

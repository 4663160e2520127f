"""Rows come from the file as they were written."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldrm.common.errors import GoldrmError
from goldrm.training import mapped_rows
from goldrm.training.mapped_rows import RowWriter, map_rows

ROWS = torch.arange(60, dtype=torch.float16).view(20, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with RowWriter(tmp_path / "rows.bin") as writer:
        for part in ROWS.split([7, 0, 1, 12]):
            writer.append(part)
    return tmp_path / "rows.bin"


def test_all_rows_come_back(path: Path):
    rows = map_rows(path)
    torch.testing.assert_close(rows, ROWS, rtol=0, atol=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.integers(0, 19)))
def test_any_rows_in_any_order(path: Path, asked: list[int]):
    numbers = torch.tensor(asked, dtype=torch.int64)
    found = map_rows(path).index_select(0, numbers)
    torch.testing.assert_close(found, ROWS[numbers], rtol=0, atol=0)


def test_rows_stay_in_the_file(path: Path):
    """What is written there afterwards is seen, so it isn't a copy in memory."""
    rows = map_rows(path)
    with path.open("r+b") as file:
        file.write(torch.full((3,), 0.25).half().numpy().tobytes())
    assert rows[:2].tolist() == [[0.25] * 3, [3.0, 4.0, 5.0]]


@pytest.mark.parametrize("width", [0, 3])
def test_no_rows(tmp_path: Path, width: int):
    with RowWriter(tmp_path / "none.bin") as writer:
        writer.append(torch.empty(0, width))
    found = map_rows(tmp_path / "none.bin")
    assert found.shape == (0, width)
    assert found.dtype == torch.float32


def test_rows_without_numbers(tmp_path: Path):
    with RowWriter(tmp_path / "none.bin") as writer:
        writer.append(torch.empty(5, 0))
    assert map_rows(tmp_path / "none.bin").shape == (5, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rows_keep_their_type(tmp_path: Path, dtype: torch.dtype):
    with RowWriter(tmp_path / "rows.bin") as writer:
        writer.append(ROWS.to(dtype))
    torch.testing.assert_close(map_rows(tmp_path / "rows.bin"), ROWS.to(dtype), rtol=0, atol=0)


def test_rows_in_parts_have_the_same_bytes(path: Path, tmp_path: Path):
    with RowWriter(tmp_path / "whole.bin") as writer:
        writer.append(ROWS)
    assert (tmp_path / "whole.bin").read_bytes() == path.read_bytes()


DAMAGED = r"rows\.bin is damaged.*Delete it and run `dvc repro`"


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 64, 100, -32, -1])
def test_a_file_cut_short_is_named(path: Path, kept: int):
    """Reading behind the end of a mapped file would end the process."""
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GoldrmError, match=DAMAGED):
        map_rows(path)


def test_any_flipped_bit_is_named(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where the file is read in parts that end in the middle of it, or of a row."""
    good = path.read_bytes()
    for part_bytes in (1, 7, len(good), 1 << 20):
        monkeypatch.setattr(mapped_rows, "PART_BYTES", part_bytes)
        path.write_bytes(good)
        torch.testing.assert_close(map_rows(path), ROWS, rtol=0, atol=0)
        for index in range(len(good)):
            path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
            with pytest.raises(GoldrmError, match=DAMAGED):
                map_rows(path)


def test_what_a_kill_left_is_named(path: Path):
    """The ending comes last, so that rows alone are no file."""
    writer = RowWriter(path)
    writer.append(ROWS)
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    with pytest.raises(GoldrmError, match=DAMAGED):
        map_rows(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"rows\.bin is damaged \(No such file"):
        map_rows(tmp_path / "rows.bin")


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
    assert torch.equal(map_rows(path), ROWS[:2])

"""Checkpoints come back as they were saved, or are refused."""

from pathlib import Path

import pytest
import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.resume import ResumePoint

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "ids": torch.tensor([1, 2, 3])}


def test_resume_point_round_trip(tmp_path: Path):
    point = ResumePoint(tmp_path / "work/training.pt")
    assert point.load() is None
    point.save({"epoch": 3, "curve": [{"step": 1.5}], "state": TENSORS})
    point.save({"epoch": 4, "curve": [{"step": 2.5}], "state": TENSORS})
    found = point.load()
    assert found is not None
    assert (found["epoch"], found["curve"]) == (4, [{"step": 2.5}])
    torch.testing.assert_close(found["state"], TENSORS, rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["training.pt"]


def test_resume_points_bytes_are_the_same(tmp_path: Path):
    """`torch.save(path)` writes the file's own name into the file."""
    for name in ("first.pt", "second.pt"):
        ResumePoint(tmp_path / name).save({"epoch": 3, "state": TENSORS})
    assert (tmp_path / "first.pt").read_bytes() == (tmp_path / "second.pt").read_bytes()


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "overwritten", "flipped"])
def test_damaged_resume_point_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "training.pt"
    ResumePoint(path).save({"epoch": 3, "state": TENSORS})
    good = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "truncated": good[: len(good) // 2],
            "text": b"epoch: 3",
            "overwritten": good.replace(b"PK", b"XX"),
            # a value, which torch.load would read as another one
            "flipped": good.replace(torch.tensor(5.0).numpy().tobytes(), b"flip", 1),
        }[damage]
    )
    with pytest.raises(GoldrmError, match=r"training\.pt is damaged .* Delete it"):
        ResumePoint(path).load()

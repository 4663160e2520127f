"""Tensor files: the same bytes for the same tensors, and damage that is noticed."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from goldrm.common.errors import GoldrmError
from goldrm.common.tensor_files import read_tensors, read_tensors_of_others, write_tensors

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "half": torch.tensor([0.5, -1.0], dtype=torch.float16),
    "ids": torch.tensor([1, 2, 3]),
}
METADATA = {"d": 24, "dropout": 0.1, "name": "schön", "none": None}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A .safetensors file of ours."""
    path = tmp_path / "model.safetensors"
    write_tensors(path, TENSORS, METADATA)
    return path


def test_tensors_round_trip(saved: Path):
    torch.testing.assert_close(read_tensors(saved), TENSORS, rtol=0, atol=0)
    tensors, metadata = read_tensors_of_others(saved, "it")
    torch.testing.assert_close(tensors, TENSORS, rtol=0, atol=0)
    assert metadata == METADATA


def test_tensors_of_others_have_no_metadata(tmp_path: Path):
    path = tmp_path / "plain.safetensors"
    path.write_bytes(safetensors.torch.save(TENSORS))
    tensors, metadata = read_tensors_of_others(path, "it")
    torch.testing.assert_close(tensors, TENSORS, rtol=0, atol=0)
    assert metadata == {}
    with pytest.raises(GoldrmError, match=r"plain\.safetensors .* aren't those"):
        read_tensors(path)


def test_views_are_saved_as_what_they_show(tmp_path: Path):
    weight = torch.arange(6.0).reshape(2, 3)
    write_tensors(tmp_path / "view.safetensors", {"transposed": weight.T, "row": weight[1]})
    expected = {"transposed": torch.tensor([[0.0, 3], [1, 4], [2, 5]]), "row": weight[1].clone()}
    torch.testing.assert_close(
        read_tensors(tmp_path / "view.safetensors"), expected, rtol=0, atol=0
    )


def test_same_tensors_give_the_same_bytes(saved: Path, tmp_path: Path):
    """Names, and key order of the metadata, don't matter to safetensors (its issue 584)."""
    for name in ("again.safetensors", "other_name.safetensors"):
        write_tensors(tmp_path / name, TENSORS, METADATA)
        assert (tmp_path / name).read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -1])
def test_truncated_tensors_are_refused(saved: Path, kept: int):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(GoldrmError, match=r"model\.safetensors is not a whole \.safetensors file"):
        read_tensors(saved)


def test_tensors_in_use_do_not_change_with_their_file(saved: Path):
    tensors = read_tensors(saved)
    with saved.open("r+b") as file:
        file.write(bytes(saved.stat().st_size))
    torch.testing.assert_close(tensors, TENSORS, rtol=0, atol=0)


@pytest.mark.parametrize("metadata", ["{", "[" * 100_000, "[]", "3", '"text"', "null"])
def test_metadata_that_is_no_mapping_is_refused(tmp_path: Path, metadata: str):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save(TENSORS, {"goldrm": metadata}))
    for read in (read_tensors, lambda path: read_tensors_of_others(path, str(path))):
        with pytest.raises(GoldrmError, match=r"model\.safetensors"):
            read(path)


def test_missing_tensors_are_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"none\.safetensors doesn't exist"):
        read_tensors(tmp_path / "none.safetensors")


def test_folder_is_no_tensors(tmp_path: Path):
    with pytest.raises(GoldrmError, match=str(tmp_path)):
        read_tensors(tmp_path)

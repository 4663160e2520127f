"""Files that appear whole or not at all, and damage that is noticed."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from goldrm.common.errors import GoldrmError
from goldrm.common.files import write_atomic, write_json
from goldrm.common.resume import ResumePoint
from goldrm.common.tensor_files import read_tensors, write_tensors

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


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_write_atomic_makes_folders_and_replaces(tmp_path: Path):
    path = tmp_path / "a/b/file.bin"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_write_left_goes_with_the_next(tmp_path: Path):
    """Also where it is a trap: a link to another file."""
    other = tmp_path / "other"
    other.write_bytes(b"other")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".file.bin.part").symlink_to(other)
    write_atomic(folder / "file.bin", b"new")
    assert list(folder.iterdir()) == [folder / "file.bin"]
    assert (other.read_bytes(), (folder / "file.bin").is_symlink()) == (b"other", False)


def test_killed_write_leaves_the_old_file_or_the_new_one(tmp_path: Path):
    path = tmp_path / "model.bin"
    code = (
        "import sys; from pathlib import Path; from goldrm.checkpoint import write_atomic\n"
        "print(flush=True)\n"
        "while True:\n"
        "    for byte in b'ab': write_atomic(Path(sys.argv[1]), bytes([byte]) * 1_000_000)"
    )
    for moment in range(5):
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.05 + 0.0037 * moment)
            writer.kill()
        content = path.read_bytes()
        assert content in (b"a" * 1_000_000, b"b" * 1_000_000)
    write_atomic(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_are_readable_by_all(tmp_path: Path):
    write_atomic(tmp_path / "file.bin", b"")
    assert (tmp_path / "file.bin").stat().st_mode & 0o777 == 0o644


def test_file_for_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "metrics").write_text("a file")
    with pytest.raises(GoldrmError, match=r"metrics/eval\.json can't be written"):
        write_atomic(tmp_path / "metrics/eval.json", b"new")
    assert (tmp_path / "metrics").read_text() == "a file"
    assert list(tmp_path.iterdir()) == [tmp_path / "metrics"]


def test_folder_in_the_way_is_refused(tmp_path: Path):
    """The rename fails last, when the new content is already on disk."""
    folder = tmp_path / "eval.json"
    folder.mkdir()
    with pytest.raises(GoldrmError, match=r"eval\.json can't be written: Is a directory"):
        write_atomic(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_full_disk_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    code = (
        "import sys; from pathlib import Path; from goldrm.checkpoint import write_atomic\n"
        "from goldrm.errors import GoldrmError\n"
        "try: write_atomic(Path(sys.argv[1]), bytes(100_000))\n"
        "except GoldrmError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, path],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.stderr == ""
    assert f"{path} can't be written: File too large" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_keeps_order_and_bytes(tmp_path: Path):
    content = {"z": 1, "a": {"c": [1.5, None], "b": "x"}}
    for name in ("first.json", "second.json"):
        write_json(tmp_path / name, content)
    text = (tmp_path / "first.json").read_text()
    assert json.loads(text) == content
    assert text.index('"z"') < text.index('"a"') < text.index('"c"') < text.index('"b"')
    assert text.endswith("}\n")
    assert (tmp_path / "second.json").read_text() == text


def test_json_refuses_nan(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "eval.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_tensors_round_trip(saved: Path):
    tensors, metadata = read_tensors(saved)
    assert_equal(tensors, TENSORS)
    assert metadata == METADATA


def test_tensors_of_others_have_no_metadata(tmp_path: Path):
    write_tensors(tmp_path / "plain.safetensors", TENSORS)
    assert read_tensors(tmp_path / "plain.safetensors")[1] == {}


def test_views_are_saved_as_what_they_show(tmp_path: Path):
    weight = torch.arange(6.0).reshape(2, 3)
    write_tensors(tmp_path / "view.safetensors", {"transposed": weight.T, "row": weight[1]})
    expected = {"transposed": torch.tensor([[0.0, 3], [1, 4], [2, 5]]), "row": weight[1].clone()}
    assert_equal(read_tensors(tmp_path / "view.safetensors")[0], expected)


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


@pytest.mark.parametrize("bit", [0, 5])
def test_bit_flip_in_the_header_is_no_traceback(saved: Path, bit: int):
    """Either the header is still a whole one or the sentence comes; never another exception."""
    good = saved.read_bytes()
    header_end = 8 + int.from_bytes(good[:8], "little")
    refused = 0
    for place in range(header_end):
        damaged = bytearray(good)
        damaged[place] ^= 1 << bit
        saved.write_bytes(damaged)
        try:
            read_tensors(saved)
        except GoldrmError:
            refused += 1
    assert refused > header_end / 3


def test_any_flipped_bit_in_the_values_is_noticed(saved: Path):
    good = saved.read_bytes()
    for place in range(8 + int.from_bytes(good[:8], "little"), len(good)):
        saved.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        with pytest.raises(GoldrmError, match=r"model\.safetensors .* aren't those .* Delete it"):
            read_tensors(saved)


def test_tensors_in_use_do_not_change_with_their_file(saved: Path):
    tensors, _ = read_tensors(saved)
    with saved.open("r+b") as file:
        file.write(bytes(saved.stat().st_size))
    assert_equal(tensors, TENSORS)


@pytest.mark.parametrize("metadata", ["{", "[" * 100_000, "[]", "3", '"text"', "null"])
def test_metadata_that_is_no_mapping_is_refused(tmp_path: Path, metadata: str):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save(TENSORS, {"goldrm": metadata}))
    with pytest.raises(GoldrmError, match=r"model\.safetensors"):
        read_tensors(path)


def test_missing_tensors_are_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"none\.safetensors doesn't exist"):
        read_tensors(tmp_path / "none.safetensors")


def test_folder_is_no_tensors(tmp_path: Path):
    with pytest.raises(GoldrmError, match=str(tmp_path)):
        read_tensors(tmp_path)


def test_resume_point_round_trip(tmp_path: Path):
    point = ResumePoint(tmp_path / "work/training.pt")
    assert point.load() is None
    point.save({"epoch": 3, "curve": [{"step": 1.5}], "state": TENSORS})
    point.save({"epoch": 4, "curve": [{"step": 2.5}], "state": TENSORS})
    found = point.load()
    assert found is not None
    assert (found["epoch"], found["curve"]) == (4, [{"step": 2.5}])
    assert_equal(found["state"], TENSORS)
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

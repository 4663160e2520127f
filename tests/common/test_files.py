"""Files that appear whole or not at all."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goldrm.common.errors import GoldrmError
from goldrm.common.files import (
    read_checked_json,
    read_text,
    write_atomic,
    write_checked_json,
    write_json,
)


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
        "import sys; from pathlib import Path; from goldrm.common.files import write_atomic\n"
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
        "import sys; from pathlib import Path; from goldrm.common.files import write_atomic\n"
        "from goldrm.common.errors import GoldrmError\n"
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


CONTENT = {"name": "schön", "sizes": [1, 2.5, 1e-300], "none": None, "inner": {"yes": True}}


def test_checked_json_round_trip(tmp_path: Path):
    path = tmp_path / "config.json"
    write_checked_json(path, CONTENT)
    assert read_checked_json(path) == CONTENT
    stored = json.loads(path.read_text())
    assert (list(stored)[:-1], list(stored)[-1]) == (list(CONTENT), "checksum")
    assert stored | CONTENT == stored


def test_checked_json_may_be_laid_out_anew(tmp_path: Path):
    """What it says is checked, not how."""
    path = tmp_path / "config.json"
    write_checked_json(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7, ensure_ascii=False))
    assert read_checked_json(path) == CONTENT


@pytest.mark.parametrize(
    "change",
    [
        {"name": "schon"},
        {"none": 0},
        {"sizes": [1.0, 2.5, 1e-300]},
        {"inner": {"yes": 1}},
        {"d": 1},
    ],
    ids=str,
)
def test_edited_json_is_refused(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "config.json"
    write_checked_json(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        GoldrmError, match=r"config\.json is damaged. Delete it; `dvc repro` makes it"
    ):
        read_checked_json(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"3", b"{}", b"\xff", b"[" * 100_000, b'{"checksum": {}}', b"9" * 5000],
    ids=lambda content: repr(content[:12]),
)
def test_other_content_is_no_checked_json(tmp_path: Path, content: bytes):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(GoldrmError, match=r"config\.json is damaged"):
        read_checked_json(path)


def test_missing_json_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"config\.json doesn't exist. `dvc repro` makes it"):
        read_checked_json(tmp_path / "config.json")


def test_text_is_read_up_to_its_limit(tmp_path: Path):
    path = tmp_path / "text"
    path.write_bytes("schön".encode())
    assert read_text(path, 6) == "schön"
    for endless in (path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="more than 5 bytes"):
            read_text(endless, 5)

"""Files of DVC's that it would refuse are put aside, whole; never deleted."""

import re
import subprocess
from pathlib import Path

import pytest
from dvc.lock import make_lock
from small_models import ROOT

from goldrm.commands.dvc_files import put_damaged_aside
from goldrm.common.errors import GoldrmError

LOCK = b"""\
schema: '2.0'
stages:
  first:
    cmd: cp a b
    deps:
    - path: a
      hash: md5
      md5: 131919b19bd3a25fb251ee73d55e9791
      size: 858
"""
PATHS = ["dvc.lock", "upstream/dvc.lock", ".dvc/tmp/rwlock"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root folder with sound files."""
    monkeypatch.chdir(tmp_path)
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(
            LOCK if path.endswith("dvc.lock") else b'{"write": {}, "read": {}}'
        )
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "rwlock.lock"
    }


def test_sound_and_missing_files_are_left_alone(project: Path):
    before = contents(project)
    assert put_damaged_aside() == []
    assert contents(project) == before
    for path in PATHS:
        (project / path).unlink()
    assert put_damaged_aside() == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        LOCK[: LOCK.index(b"cmd:") + 3],
        b"\xff",
        b"[]",
        b"{",
        b'{"write": 3}',
        b"a: 1\n",
        b"[" * 2000,
    ],
    ids=range(8),
)
def test_damaged_file_is_renamed_and_kept(project: Path, path: str, content: bytes):
    before = contents(project)
    (project / path).write_bytes(content)
    (note,) = put_damaged_aside()
    assert note.startswith(f"{path} was cut short, so it is now {path}.damaged-1. ")
    before.pop(path)
    assert contents(project) == {**before, f"{path}.damaged-1": content}
    assert put_damaged_aside() == []


def test_no_earlier_one_is_overwritten(project: Path):
    for content in (b"[", b"]"):
        (project / "dvc.lock").write_bytes(content)
        put_damaged_aside()
    assert (project / "dvc.lock.damaged-1").read_bytes() == b"["
    assert (project / "dvc.lock.damaged-2").read_bytes() == b"]"


def test_what_is_put_aside_is_ignored_by_git():
    names = [f"{path}.damaged-1" for path in PATHS]
    ignored = ["git", "check-ignore", *names]
    listed = subprocess.run(ignored, cwd=ROOT, check=True, capture_output=True, text=True)
    assert listed.stdout.split() == names


def test_record_of_users_is_not_taken_from_a_living_dvc(project: Path):
    path = project / ".dvc/tmp/rwlock"
    path.write_text("{")
    with make_lock(str(path.with_name("rwlock.lock")), tmp_dir=str(path.parent)):
        assert put_damaged_aside() == []
    assert path.read_text() == "{"


@pytest.mark.parametrize("side", ["HEAD", "theirs"])
def test_merge_conflict_stays_and_the_remedy_resolves_it(project: Path, side: str):
    """A real one, after which the sentence's command gives a file that DVC reads."""

    def git(*arguments: str, check: bool = True) -> None:
        subprocess.run(["git", *arguments], check=check, capture_output=True)

    path = project / "dvc.lock"
    git("init", "--quiet", "--initial-branch=ours")
    for branch, word in (("base", b"001"), ("theirs", b"002"), ("ours", b"003")):
        git("checkout", "--quiet", "-B", branch, *(["base"] if branch != "base" else []))
        path.write_bytes(LOCK.replace(b"size: 858", b"size: " + word))
        git("add", "dvc.lock")
        git("commit", "--quiet", "--message", branch)
    ours = path.read_bytes()
    git("merge", "theirs", check=False)
    conflict = path.read_bytes()
    assert b"<<<<<<< " in conflict
    if side == "theirs":
        git("add", "dvc.lock")  # as somebody does who thinks that it is resolved
    with pytest.raises(GoldrmError, match=r"dvc\.lock is in a merge conflict\.") as error:
        put_damaged_aside()
    assert path.read_bytes() == conflict
    assert not list(project.glob("*.damaged*"))
    (command,) = re.findall("`(git .+?)`", str(error.value))
    subprocess.run(command.split(), check=True, capture_output=True)
    assert path.read_bytes() == ours
    assert put_damaged_aside() == []


def test_what_cannot_be_read_or_renamed_is_one_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (project / "dvc.lock").write_bytes(b"[")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(GoldrmError, match=r"dvc\.lock .*can't be renamed: Permission denied"):
        put_damaged_aside()
    (project / "dvc.lock").unlink()
    (project / "dvc.lock").mkdir()
    with pytest.raises(GoldrmError, match=r"dvc\.lock can't be read: Is a directory"):
        put_damaged_aside()

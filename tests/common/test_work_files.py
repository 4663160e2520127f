"""Chunks that are there already aren't made again."""

from pathlib import Path

from goldrm.common.work_files import make_missing
from goldrm.common.workers import ALONE


def test_only_what_is_missing_is_made(tmp_path: Path):
    files = [tmp_path / str(number) for number in range(4)]
    files[1].write_text("kept")
    made: list[int] = []

    def make(number: int) -> str:
        made.append(number)
        return f"made {number}"

    for _ in range(2):
        make_missing(files, make, Path.write_text, ALONE, "test")
    assert made == [0, 2, 3]
    assert [file.read_text() for file in files] == ["made 0", "kept", "made 2", "made 3"]

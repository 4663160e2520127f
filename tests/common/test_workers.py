"""Several processes do what one does, and only the leader gets the results."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from goldrm.common.workers import ALONE

PROGRAM = """\
import os
import sys
from pathlib import Path

from goldrm.common.errors import GoldrmError
from goldrm.common.workers import join_or_launch

def square(chunk):
    if chunk == failing:
        sys.exit("chunk failed")
    Path(f"made-by-{os.environ.get('RANK', 0)}").touch()
    return chunk * chunk

def until_enough():
    chunk = 3
    while sum(result for _, result in done) < 200:
        yield chunk
        chunk += 1

processes, failing = int(sys.argv[1]), int(sys.argv[2])
done = []
try:
    workers = join_or_launch(processes)
    for chunk, result in workers.map(until_enough(), square):
        done.append((chunk, result))
except GoldrmError as error:
    sys.exit(str(error))
second = list(workers.map(range(2), square, same_machine=True))
assert workers.map_to_all(range(5), square) == [0, 1, 4, 9, 16]
mine = "the leader's" if workers.is_leader else None
assert workers.broadcast(mine) == "the leader's"
assert workers.hide_progress is (None if workers.is_leader else True)
if workers.is_leader:
    print(done, second)
else:
    assert not done and not second
"""

MACHINES = """\
import os

from goldrm.common.workers import join_or_launch

workers = join_or_launch(1)
os.environ["LOCAL_WORLD_SIZE"] = "2"  # of the launcher's four
made = list(workers.map(range(5), lambda _: int(os.environ["RANK"]), same_machine=True))
everywhere = workers.map_to_all(range(5), lambda _: int(os.environ["RANK"]))
if workers.is_leader:
    print((made, everywhere))
"""


def run(folder: Path, processes: int, failing: int = -1) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", str(processes), str(failing)]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_chunks(tmp_path: Path, processes: int):
    """3² + 4² + … + 8² = 199 isn't enough; 9² more is, and some processes are ahead of it."""
    done = run(tmp_path, processes)
    assert done.returncode == 0, done.stderr
    enough = [(n, n * n) for n in range(3, 10)]
    found, second = ast.literal_eval(done.stdout.replace("] [", "], ["))
    assert found[: len(enough)] == enough
    assert len(found) < len(enough) + processes
    assert second == [(0, 0), (1, 1)]
    assert len(list(tmp_path.glob("made-by-*"))) == processes


def test_a_failing_process_ends_them_all_with_its_own_words(tmp_path: Path):
    done = run(tmp_path, processes=2, failing=4)
    assert done.returncode == 1
    first, *others = done.stderr.splitlines()
    assert first == "chunk failed"
    assert all(line.startswith("another process that shared this work") for line in others)


def test_alone_it_leads_and_works_lazily():
    made: list[int] = []
    results = ALONE.map(iter([5, 6]), lambda chunk: made.append(chunk) or chunk)
    assert ALONE.is_leader
    assert ALONE.hide_progress is None
    assert next(results) == (5, 5)
    assert made == [5]
    assert ALONE.map_to_all([3, 1], str) == ["3", "1"]
    assert ALONE.broadcast("its own word") == "its own word"


def test_work_on_the_leaders_machine_is_left_to_its_processes(tmp_path: Path):
    """Two machines of two processes each, as the launcher would number them."""
    (tmp_path / "program.py").write_text(MACHINES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    done = subprocess.run(
        [*command, "program.py"], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made, everywhere = ast.literal_eval(done.stdout)
    assert made == [(n, n % 2) for n in range(5)]
    assert everywhere == [0, 1, 2, 3, 0]

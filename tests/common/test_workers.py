"""Several processes do what one does, only the leader gets the results, one says what fails."""

import ast
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from goldrm.common import workers
from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE, join

PROGRAM = """\
import os
import sys
from pathlib import Path

from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE, join, launch

def square(chunk):
    if chunk == failing:
        raise GoldrmError("chunk failed")
    Path(f"made-by-{os.environ.get('RANK', 0)}").touch()
    return chunk * chunk

def until_enough():
    chunk = 3
    while sum(result for _, result in done) < 200:
        yield chunk
        chunk += 1

processes, failing = int(sys.argv[1]), int(sys.argv[2])
done = []
workers = join()
if workers is ALONE and processes > 1:
    launch(processes)
try:
    for chunk, result in workers.map(until_enough(), square):
        done.append((chunk, result))
except GoldrmError as error:
    workers.let_first_fail()
    sys.exit(str(error))
second = list(workers.map(range(2), square, same_machine=True))
assert workers.map_to_all(range(5), square) == [0, 1, 4, 9, 16]
mine = "the leader's" if workers.is_leader else None
assert workers.broadcast(mine) == "the leader's"
assert workers.hide_progress is not workers.is_leader
if workers.is_leader:
    print(done, second)
else:
    assert not done and not second
"""

FAILING = """\
import os
import sys
import time

from goldrm.common.errors import GoldrmError
from goldrm.common.workers import ALONE, join, launch

workers, (how, *ranks) = ALONE, sys.argv[1:]
try:
    workers = join()
    if workers is ALONE:
        launch(2)
    if os.environ["RANK"] not in ranks:
        workers.broadcast(1 if workers.is_leader else None)
        workers.broadcast(2 if workers.is_leader else None)
        time.sleep(60)  # it computes
    elif how == "error":
        raise GoldrmError("the disk is full")
    elif how == "bug":
        raise ZeroDivisionError
    elif how == "killed":
        os.kill(os.getpid(), 9)
except GoldrmError as error:
    workers.let_first_fail()
    sys.exit(str(error))
except Exception:
    workers.let_first_fail()
    raise
"""

MACHINES = """\
import os

from goldrm.common.workers import join

workers = join()
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
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "chunk failed\n")


def failing(folder: Path, how: str, *ranks: int) -> subprocess.CompletedProcess[str]:
    """Two processes, of which some fail."""
    (folder / "program.py").write_text(FAILING)
    command = [sys.executable, "program.py", how, *map(str, ranks)]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("ranks", [(1,), (0, 1)])
def test_an_error_is_said_once_by_whom_it_happened_to(tmp_path: Path, ranks: tuple[int, ...]):
    """Of one process, which the others notice, or of all at the same moment."""
    done = failing(tmp_path, "error", *ranks)
    assert (done.returncode, done.stderr) == (1, "the disk is full\n")


def test_a_bug_in_all_processes_has_one_traceback(tmp_path: Path):
    done = failing(tmp_path, "bug", 0, 1)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == done.stderr.count("ZeroDivisionError") - 1 == 1


def test_a_process_that_was_killed_is_said_by_the_one_that_launched_it(tmp_path: Path):
    done = failing(tmp_path, "killed", 1)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "a process that shared this work was ended by SIGKILL"
    )
    assert done.stderr.count("\n") == 1


# A name that nobody knows, and a resolver that nobody answers.
NAMELESS = 'mount --bind resolv.conf /etc/resolv.conf && hostname nowhere.invalid && exec "$@"'
UNSHARE = ["unshare", "--map-root-user", "--uts", "--mount", "sh", "-c", NAMELESS, "sh"]


def test_one_machine_needs_no_name(tmp_path: Path):
    """Its own once was looked up, for 10 minutes, by all processes."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:9\n")
    if subprocess.run([*UNSHARE, "true"], cwd=tmp_path, check=False, stderr=-3).returncode:
        pytest.skip("this system lets nobody change the host's name in a namespace")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [*UNSHARE, sys.executable, "program.py", "2", "-1"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("made-by-*"))) == 2


def test_who_cannot_be_reached_is_said_once_a_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As on the second of two machines, where torchrun was given a name that only the first has."""
    told = {
        **{"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
        **{"MASTER_ADDR": "first.invalid", "MASTER_PORT": "1"},
        **{"TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        GoldrmError, match=r"can't reach the other .* first\.invalid .*--local-addr"
    ):
        join()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # where nobody listens
    monkeypatch.setattr(workers, "JOINING", timedelta(seconds=0.1))
    with pytest.raises(GoldrmError, match=r"can't reach .*Connection refused"):
        join()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as end:
        join()
    assert end.value.code == 1
    assert capsys.readouterr() == ("", "")


def test_alone_it_leads_and_works_lazily():
    made: list[int] = []
    results = ALONE.map(iter([5, 6]), lambda chunk: made.append(chunk) or chunk)
    assert ALONE.is_leader
    assert ALONE.hide_progress is False
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

"""Whatever a hostile file makes its reader do is over in time, and only a child has suffered."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import hostile_readers as readers
import psutil
import pytest

from goldrm.common.errors import GoldrmError
from goldrm.course.limits import memory_limit, run_limited

MIB = 1 << 20
LIMIT = 256 * MIB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file.pkl").write_text("")
    return tmp_path / "file.pkl"


def assert_all_end(path: Path, count: int, within: float = 5) -> None:
    """So many processes have noted their numbers in a file, and none of them is left."""
    numbers = [int(line) for line in path.read_text().splitlines()]
    assert len(numbers) == count
    end = time.monotonic() + within
    while alive := [n for n in numbers if psutil.pid_exists(n) and not is_zombie(n)]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)


def is_zombie(number: int) -> bool:
    """In a container nobody may be there to collect a killed grandchild."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_reads_well_has_no_reason(path: Path):
    assert run_limited(readers.succeed, path, LIMIT) is None


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (readers.raise_an_error, f"ValueError: file.pkl holds {'x' * 145}"),
        (readers.end_in_a_sentence, "file.pkl isn't ours. " + "It is too long to be cut. " * 20),
        (readers.take_memory_at_once, "it takes more than 256 MiB of memory. Get the right file."),
        (
            readers.take_memory_bit_by_bit,
            "it takes more than 256 MiB of memory. Get the right file.",
        ),
        (readers.crash, "it makes the reader crash. Get the right file."),
        (readers.leave, "it makes the reader crash. Get the right file."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_failure_has_its_reason(path: Path, read: Callable[[Path], object], reason: str):
    assert run_limited(read, path, LIMIT) == reason


@pytest.mark.parametrize(
    "read", [readers.sleep, readers.compute, readers.stop], ids=lambda read: read.__name__
)
def test_time_is_the_clocks(path: Path, read: Callable[[Path], object]):
    """A limit on the processor's time would let a reader sleep for ever."""
    start = time.monotonic()
    assert (
        run_limited(read, path, LIMIT, seconds=1) == "it takes more than 1 s. Get the right file."
    )
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("read", "count"),
    [(readers.note_and_sleep, 1), (readers.ignore_signals, 1), (readers.fork_and_sleep, 2)],
    ids=["alone", "ignoring signals", "forked"],
)
def test_all_its_processes_are_killed(path: Path, read: Callable[[Path], object], count: int):
    reason = run_limited(read, path, LIMIT, seconds=2)
    assert reason == "it takes more than 2 s. Get the right file."
    assert_all_end(path, count)


def test_children_of_a_crashed_one_are_killed(path: Path):
    assert run_limited(readers.fork_and_crash, path, LIMIT, seconds=2) is not None
    assert_all_end(path, 1)


def test_it_ends_in_time_where_its_parent_was_killed(path: Path):
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pathlib import Path\n"
        "import hostile_readers; from goldrm.course.limits import run_limited\n"
        "run_limited(hostile_readers.note_and_sleep, Path(sys.argv[2]), 1 << 28, seconds=3)"
    )
    with subprocess.Popen([sys.executable, "-Bc", code, json.dumps(sys.path), path]) as parent:
        while not path.read_text().endswith("\n"):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    assert_all_end(path, 1, within=10)


def test_interrupted_it_leaves_nothing(path: Path):
    def interrupt() -> None:
        while not path.read_text().endswith("\n"):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_limited(readers.note_and_sleep, path, LIMIT, seconds=30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert_all_end(path, 1)


def test_a_lock_that_another_thread_holds_is_no_trouble(path: Path):
    """A fork would copy the lock, but not the thread that releases it."""
    with readers.LOCK:
        assert run_limited(readers.wait_for_lock, path, LIMIT, seconds=10) is None


def test_nothing_that_it_prints_is_shown(path: Path, capfd: pytest.CaptureFixture[str]):
    path.write_text("help!\n")
    assert run_limited(readers.print_much, path, LIMIT) is None
    assert capfd.readouterr() == ("", "")


def test_it_reads_no_terminal_and_leaves_no_core(path: Path):
    assert run_limited(readers.crash, path, LIMIT) is not None
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert run_limited(readers.succeed, Path("/dev/stdin"), LIMIT, seconds=10) is None


def test_it_finds_what_this_process_found(
    path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """Code in an archive, and not what lies about under the name of a standard module."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(elsewhere / "code.zip", "w") as archive:
        archive.writestr("zipped_reader.py", "def read(path): raise ValueError('from the zip')")
    monkeypatch.syspath_prepend(elsewhere / "code.zip")
    import zipped_reader  # pyright: ignore[reportMissingImports]

    for trap in ("json", "sys", "goldrm", "resource", "sitecustomize"):
        (elsewhere / f"{trap}.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    assert run_limited(zipped_reader.read, path, LIMIT) == "ValueError: from the zip"


def test_a_process_that_cannot_be_started_is_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", str(path))
    with pytest.raises(GoldrmError, match=r"file\.pkl can't be tried.*Permission denied"):
        run_limited(readers.succeed, path, LIMIT)


def test_memory_limit_ends_with_its_block():
    with pytest.raises(MemoryError), memory_limit(LIMIT):
        bytearray(2 * LIMIT)
    assert len(bytearray(2 * LIMIT)) == 2 * LIMIT

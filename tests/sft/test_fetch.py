"""Files brought here from a path or a URL: whole and as pinned, or not at all."""

import hashlib
import importlib.util
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from goldrm.common.errors import GoldrmError
from goldrm.sft.fetch import fetch

CONTENT = bytes(range(256)) * 10_000  # more than two parts of 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT under a name that says how."""

    released = threading.Event()

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        if self.path.startswith("/whole"):
            self.wfile.write(CONTENT)
        elif self.path == "/half.pkl":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
        elif self.path == "/reset.pkl":
            self.wfile.write(CONTENT[:1000])
            now = struct.pack("ii", 1, 0)  # linger for 0 seconds: close with a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.connection.close()
        elif self.path == "/hang.pkl":
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            self.released.wait(20)

    def _head(self) -> None:
        status = {"/404.pkl": 404, "/500.pkl": 500, "/moved.pkl": 302, "/out.pkl": 302}
        self.send_response(status.get(self.path, 200))
        if self.path == "/moved.pkl":
            self.send_header("Location", "/whole.pkl")
        if self.path == "/out.pkl":
            self.send_header("Location", "file:///etc/passwd")
        length = 0 if self.path in status else len(CONTENT)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is no access log."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a server on the loopback device."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        Handler.released.set()
        http.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "course model.pkl"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_local_file_is_copied(tmp_path: Path, source: Path, sha256: str | None):
    copy = tmp_path / "new/folder/fetched.pkl"
    assert fetch(str(source), sha256, copy) == SHA256
    assert copy.read_bytes() == source.read_bytes() == CONTENT


def test_relative_path_is_read_from_here(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert fetch(source.name, SHA256, Path("fetched.pkl")) == SHA256


def test_earlier_copy_is_replaced(tmp_path: Path, source: Path):
    copy = tmp_path / "fetched.pkl"
    copy.write_bytes(CONTENT * 2)
    assert fetch(str(source), None, copy) == SHA256
    assert copy.read_bytes() == CONTENT


def test_other_file_than_pinned_is_refused(tmp_path: Path, source: Path):
    copy = tmp_path / "fetched.pkl"
    with pytest.raises(GoldrmError) as error:
        fetch(str(source), OTHER, copy)
    assert [text for text in (str(source), SHA256, OTHER) if text not in str(error.value)] == []
    assert not copy.exists()
    assert source.read_bytes() == CONTENT


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"none\.pkl doesn't exist"):
        fetch(str(tmp_path / "none.pkl"), None, tmp_path / "fetched.pkl")


def test_folder_is_refused(tmp_path: Path):
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(GoldrmError, match=r"folder\.pkl can't be read"):
        fetch(str(tmp_path / "folder.pkl"), None, tmp_path / "fetched.pkl")


@pytest.mark.parametrize("name", ["whole.pkl", "whole.pkl?download=1", "moved.pkl"])
def test_url_is_copied(tmp_path: Path, server: str, name: str):
    assert fetch(f"{server}/{name}", SHA256, tmp_path / "fetched.pkl") == SHA256
    assert (tmp_path / "fetched.pkl").read_bytes() == CONTENT


def test_other_file_than_pinned_is_refused_from_a_url(tmp_path: Path, server: str):
    with pytest.raises(GoldrmError, match=f"{SHA256}.*{OTHER}"):
        fetch(f"{server}/whole.pkl", OTHER, tmp_path / "fetched.pkl")
    assert not (tmp_path / "fetched.pkl").exists()


def test_url_that_is_not_there_is_named(tmp_path: Path, server: str):
    with pytest.raises(GoldrmError, match=r"404\.pkl (doesn't exist|.*Not Found)"):
        fetch(f"{server}/404.pkl", None, tmp_path / "fetched.pkl")


@pytest.mark.parametrize("name", ["half.pkl", "reset.pkl", "hang.pkl", "500.pkl", "out.pkl"])
def test_failing_server_is_named(tmp_path: Path, server: str, name: str):
    with pytest.raises(GoldrmError, match=rf"{name} can't be read") as error:
        fetch(f"{server}/{name}", None, tmp_path / "fetched.pkl", read_seconds=0.5)
    assert "\n" not in str(error.value)


def test_no_server_is_named(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and not listening
        source = f"http://127.0.0.1:{unused.getsockname()[1]}/model.pkl"
        with pytest.raises(GoldrmError, match=r"model\.pkl can't be read"):
            fetch(source, None, tmp_path / "fetched.pkl")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="the extra is installed")
def test_s3_without_its_extra_says_which(tmp_path: Path):
    with pytest.raises(GoldrmError, match=r"s3://bucket/model\.pkl .*goldrm\[s3\]"):
        fetch("s3://bucket/model.pkl", None, tmp_path / "fetched.pkl")


def test_names_are_no_chain_of_file_systems(tmp_path: Path, source: Path):
    """To fsspec, `::` joins file systems: this name would open an archive's member."""
    odd = tmp_path / "file::model.pkl"
    source.rename(odd)
    assert fetch(str(odd), SHA256, tmp_path / "fetched.pkl") == SHA256


@pytest.mark.parametrize("from_url", [False, True], ids=["path", "URL"])
def test_full_disk_is_not_blamed_on_the_source(
    tmp_path: Path, server: str, source: Path, from_url: bool
):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, limit[1]))
    try:
        with pytest.raises(GoldrmError, match=r"copied to .*fetched\.pkl: File too large.*room"):
            fetch(
                f"{server}/whole.pkl" if from_url else str(source), None, tmp_path / "fetched.pkl"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == [source]


def test_copy_that_cannot_be_written_is_named(tmp_path: Path, source: Path):
    with pytest.raises(GoldrmError, match=r"can't be copied to .*model\.pkl/fetched\.pkl: "):
        fetch(str(source), None, source / "fetched.pkl")


def test_file_that_changes_while_it_is_copied_is_checked_as_copied(tmp_path: Path, source: Path):
    """Whatever mixture of both was read: it is what was hashed, or the pin refuses it."""
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            source.write_bytes(CONTENT[::-1])
            source.write_bytes(CONTENT)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(30):
            copy = tmp_path / "fetched.pkl"
            assert fetch(str(source), None, copy) == hashlib.sha256(copy.read_bytes()).hexdigest()
            with suppress(GoldrmError):
                fetch(str(source), SHA256, copy)
                assert copy.read_bytes() == CONTENT
    finally:
        stop.set()
        writer.join()

"""`goldrm serve`: a real server's answers are the model's rewards, and what it refuses is said."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from small_models import ROOT
from small_project import write_small_project

import goldrm
from goldrm.commands.serve import MAX_CONNECTIONS, listening
from goldrm.commands.service import MAX_BODY_BYTES, MAX_TEXTS

PROMPT = "generate an arithmetic series with 5 terms starting with value 10 and common difference 3"
COMPLETIONS = ["10 13 16 19 22", "10 13", ""]


class Server(NamedTuple):
    """A running service, and the model in this process."""

    process: subprocess.Popen[str]
    port: int
    model: goldrm.TrainedModel


class Answer(NamedTuple):
    status: int
    body: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served") / "project"
    write_small_project(folder)
    command = [
        Path(sys.executable).parent / "goldrm",
        "serve",
        "--port",
        "0",
        "--model",
        "notebook",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.fullmatch(r"notebook at http://127\.0\.0\.1:(\d+); Ctrl-C ends it\n", said)
        assert found, said + process.stderr.read()
        yield Server(process, int(found[1]), goldrm.load(folder / "data/models/notebook"))
        process.send_signal(signal.SIGINT)
        assert set(process.stderr.read().splitlines()) <= {"WARNING:  Exceeded concurrency limit."}
    assert process.returncode == 0


def ask(server: Server, path: str, content: bytes | None = None) -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", content)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def score(server: Server, query: object, prompts: object, **others: object) -> Answer:
    return ask(
        server, "/score", json.dumps({"query": query, "prompts": prompts, **others}).encode()
    )


def rewards(answer: Answer) -> list[float]:
    assert answer.status == 200, answer.body
    content = json.loads(answer.body)
    assert [*content] == ["rewards"]
    return content["rewards"]


def test_rewards_are_the_models(server: Server):
    """As OpenRLHF asks, whose queries are decoded with the tokens that pad and end them."""
    prompts = [PROMPT] * 3
    expected = pytest.approx(server.model.score(prompts, COMPLETIONS), abs=1e-6)
    plain = [f"{PROMPT} {completion}" for completion in COMPLETIONS]
    assert rewards(score(server, plain, prompts)) == expected
    decoded = [f"<PAD> <PAD> {text} <EOS> <PAD>" for text in plain]
    assert rewards(score(server, decoded, prompts, labels=["", None, 3])) == expected
    assert rewards(score(server, [], [])) == []


def test_request_of_the_documentation_is_answered(server: Server):
    page = (ROOT / "docs/api.md").read_text()
    (command,) = re.findall(r"^curl .*?}'$", page, re.MULTILINE | re.DOTALL)
    _, url, *options = shlex.split(command)
    assert options[:3] == ["-H", "Content-Type: application/json", "-d"]
    path = url.removeprefix("http://127.0.0.1:8000")
    megabytes, rest = divmod(MAX_BODY_BYTES, 1_000_000)
    assert rest == 0
    bounds = f"{MAX_TEXTS:,} texts and {megabytes} MB a request; {MAX_CONNECTIONS} connections"
    assert bounds in page
    expected = server.model.score([PROMPT], ["10 13 16 19 22"])
    assert rewards(ask(server, path, options[3].encode())) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("query", "prompts", "said"),
    [
        ([PROMPT], [], "there are 1 texts in query and 0 in prompts"),
        ([PROMPT], [f"{PROMPT} 10"], "text 0 (counted from 0) of query"),
        (["10 13", "10"], ["10", "13"], "text 1 (counted from 0) of query, '10', doesn't begin"),
        ([f"{PROMPT} ten"], [PROMPT], "'ten' in 'ten' isn't one of the dictionary's 129 tokens"),
        (["x" * 1_000_000], [""], "'xxx"),
        (["\ud800"], [""], "\\ud800"),
        ([""], ["<EOS>"], "without a word have no reward"),
        ([3], ["3"], "query.0: Input should be a valid string."),
        ("10", ["10"], "query: Input should be a valid list."),
        ([""] * (MAX_TEXTS + 1), [], f"query: List should have at most {MAX_TEXTS} items"),
    ],
)
def test_what_cannot_be_scored_is_said_shortly(
    server: Server, query: object, prompts: object, said: str
):
    answer = score(server, query, prompts)
    assert answer.status == 422
    assert said in json.loads(answer.body)["detail"]
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"query": []}', 422),
    ],
)
def test_what_is_no_request_is_refused(server: Server, content: bytes, status: int):
    answer = ask(server, "/score", content)
    assert answer.status == status
    assert len(answer.body) < 2000


def test_body_that_is_too_long_is_not_read(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        head = f"POST /score HTTP/1.1\r\nHost: here\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_health_and_unknown_paths(server: Server):
    assert ask(server, "/health") == (200, '{"status":"ok","model":"notebook"}')
    assert ask(server, "/score").status == 405
    assert ask(server, "/docs").status == 404  # would be fetched from elsewhere


def counted(server: Server) -> dict[str, float]:
    lines = ask(server, "/metrics").body.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_metrics_count_what_was_asked(server: Server):
    score(server, ["10"], ["11"])
    before = counted(server)
    score(server, [PROMPT] * 3, [PROMPT] * 3)
    score(server, ["10"], ["11"])
    ask(server, "/health")
    after = counted(server)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown['goldrm_requests_total{status="200"}'] == 1
    assert grown['goldrm_requests_total{status="422"}'] == 1
    assert grown["goldrm_completions_total"] == 3
    assert grown["goldrm_score_seconds_count"] == 1
    assert 0 < grown["goldrm_score_seconds_sum"] < 60


def test_requests_at_one_time_get_their_own_rewards(server: Server):
    texts = [f"{PROMPT} {value}" for value in range(100)]
    expected = server.model.score([PROMPT] * 100, [str(value) for value in range(100)])
    with ThreadPoolExecutor(64) as pool:
        answers = pool.map(lambda text: rewards(score(server, [text], [PROMPT])), texts)
    assert [reward for (reward,) in answers] == pytest.approx(expected, abs=1e-5)


def test_more_connections_than_are_served_are_told_to_come_again(server: Server):
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            address = ("127.0.0.1", server.port)
            stack.enter_context(socket.create_connection(address, timeout=10))
        assert ask(server, "/health").status == 503
    while ask(server, "/health").status == 503:
        pass


def test_only_the_loopback_address_is_listened_at(server: Server):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=10)


def test_address_that_cannot_be_used_is_a_sentence(server: Server):
    with pytest.raises(goldrm.GoldrmError, match="Address already in use.*Choose another --port"):
        listening("127.0.0.1", server.port)
    with pytest.raises(goldrm.GoldrmError, match="listen at 192.0.2.1, port 0: Cannot assign"):
        listening("192.0.2.1", 0)
    with pytest.raises(goldrm.GoldrmError, match="port 0: no host has such a name. Choose another"):
        listening("a" * 64, 0)

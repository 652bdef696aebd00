"""The load test: it counts what a server answers, of every kind, and leaves no server behind."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet import DataError, Network, ServerError, to_toml
from alexnet.cli import app
from alexnet.server.benchmark_serve import BATCHED, PLAIN, benchmark_serving
from alexnet.server.load import Load, ask_at, keep_asking, request

Answering = Callable[[bytes], int]


def answer(status: str, *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", "content-length: 2", *fields, "", "{}")).encode()


@pytest.fixture
def answering() -> Iterator[Answering]:
    """A server, in threads, that gives everybody the same answer; "" hangs up."""
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket, told: bytes) -> None:
        with closing(connection):
            while connection.recv(65536) and told:
                connection.sendall(told)

    def listen(listening: socket.socket, told: bytes) -> None:
        with listening:
            while not stopping.is_set():
                connection = listening.accept()[0]
                threading.Thread(target=serve, args=(connection, told), daemon=True).start()

    ports: list[int] = []

    def start(told: bytes) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        ports.append(listening.getsockname()[1])
        threads.append(threading.Thread(target=listen, args=(listening, told)))
        threads[-1].start()
        return ports[-1]

    yield start
    stopping.set()
    for port, thread in zip(ports, threads, strict=True):
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (answer("200 OK"), "200"),
        (answer("503 Service Unavailable", "Retry-After: 1"), "503"),
        (answer("500 Internal Server Error", "Connection: close"), "500"),
        (b"", "IncompleteReadError"),
    ],
)
def test_every_request_is_counted_by_what_came_of_it(answering: Answering, told: bytes, status: str) -> None:
    port = answering(told)
    load = keep_asking(port, [request(b"x")], clients=3, asked=20)
    assert load.statuses == {status: 20}
    assert len(load.latencies) == (20 if status == "200" else 0)
    assert load.failures == (0 if status in ("200", "503") else 20)


def test_requests_are_sent_at_their_rate_over_no_more_connections_than_may(answering: Answering) -> None:
    port = answering(answer("200 OK"))
    load = ask_at(port, [request(b"x")], rate=200, asked=60, connections=2)
    assert load.statuses == {"200": 60}
    assert load.seconds >= 59 / 200


def test_percentiles_are_those_of_the_latencies() -> None:
    load = Load(seconds=2.0, latencies=[i / 100 for i in range(101)])
    assert (load.percentile(0.5), load.percentile(0.95)) == pytest.approx((0.5, 0.95))


@pytest.mark.slow
def test_both_servers_are_asked_and_stopped(small: Network, coloured: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(to_toml(small), encoding="utf-8")
    options = ["--network", str(tmp_path / "small.toml"), "--requests", "30", "--soak", "100"]
    options += ["--clients", "1", "--clients", "4", "--format", "json"]
    done = CliRunner().invoke(app, ["benchmark", "serve", str(coloured), *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [each["way"] for each in told] == [PLAIN] * 2 + [BATCHED] * 13
    assert {each["failed"] for each in told} == {0}
    assert all(0 < each["p50"] <= each["p95"] <= each["p99"] for each in told)
    assert all(each["rate"] > 0 and each["memory"] > 10 for each in told)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_pictures_of_which_none_is_answered_are_refused(small: Network, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("none")
    with pytest.raises(ServerError, match=r"no picture of .* was answered \(4..: 10\)"):
        benchmark_serving(small, tmp_path, clients=(1,), requests=10)


def test_what_cannot_be_measured_is_refused(small: Network, coloured: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        benchmark_serving(small, tmp_path)
    with pytest.raises(ServerError, match="at least 1"):
        benchmark_serving(small, coloured, clients=(0,))
    with pytest.raises(ServerError, match="soak 5; must be at least 10, or 0"):
        benchmark_serving(small, coloured, soak=5)
    with pytest.raises(ServerError, match="at least 1"):
        benchmark_serving(small, coloured, requests=0)

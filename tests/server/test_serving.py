"""`alexnet serve` as a process of its own, asked over loopback: its limits on clients, and how it stops."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import httpx2
import pytest
from PIL import Image

from alexnet import ServerError
from alexnet.server.serving import bind, read_api_key

Start = tuple[list[str], dict[str, str]]
pytestmark = pytest.mark.slow  # a server takes a second to start


@dataclass
class Server:
    """One that answers."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def takes_more(self) -> bool:
        """Whether somebody new can connect."""
        try:
            self.connect().close()
        except ConnectionError:
            return False
        return True

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def serve(python: Start, weights_file: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server with these options, on a port that is free; all end with the last test."""
    command, environment = python
    with ExitStack() as stack:

        def start(*options: str, **variables: str) -> Server:
            arguments = [
                "-m",
                "alexnet",
                "serve",
                str(weights_file),
                "--port",
                "0",
                "--engine",
                "onnxruntime",
            ]
            process = subprocess.Popen(
                [*command, *arguments, *options],
                env={**environment, **variables},
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.terminate)
            assert process.stderr is not None
            told = process.stderr.readline()
            found = re.search(r"http://\S+", told)
            assert found, told + process.stderr.read()
            return Server(process, found[0])

        yield start


@pytest.fixture(scope="module")
def strict(serve: Callable[..., Server]) -> Server:
    """One that waits a second for what is to come, and takes little of it."""
    seconds = ("--header-seconds", "1", "--body-seconds", "1")
    return serve(*seconds, "--max-bytes", "10000", "--body-memory", "15000")


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(stream, "PNG")
    return stream.getvalue()


def request(body: bytes, *, path: str = "/v1/predict", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {told}\r\n\r\n"
    return head.encode() + body


def received(connection: socket.socket) -> bytes:
    """All until the server hangs up."""
    pieces = []
    with closing(connection):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def ask(server: Server) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/v1/predict", content=picture(), headers={"Content-Type": "image/png"}, timeout=60
    )


def hung_up(connection: socket.socket) -> bool:
    """Whether a byte more can no longer be sent."""
    try:
        connection.sendall(b"x")
    except ConnectionError:
        return True
    return False


def test_it_answers_and_ends_well_when_it_is_told_to(serve: Callable[..., Server]) -> None:
    server = serve()
    response = ask(server)
    assert response.status_code == 200
    assert len(response.json()["pictures"][0]["labels"]) == 3
    assert "server" not in response.headers
    assert server.stop() == 0
    assert server.process.stdout is not None
    assert server.process.stderr is not None
    assert server.process.stdout.read() == server.process.stderr.read() == ""


EARLY = """
import os, signal, sys
from pathlib import Path
import uvicorn
from alexnet.server import serving

run = uvicorn.Server.run

def told_to_end_first(*given, **named):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return run(*given, **named)

uvicorn.Server.run = told_to_end_first
serving.serve(Path(sys.argv[1]), port=0)
"""


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_a_signal_before_it_listens_to_them_ends_it_too(python: Start, weights_file: Path, how: str) -> None:
    command, environment = python
    ended = subprocess.run([*command, "-c", EARLY, weights_file, how], env=environment, timeout=60)
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("how", "processes"), [(signal.SIGTERM, "1"), (signal.SIGINT, "1"), (signal.SIGTERM, "2")]
)
def test_what_was_begun_is_finished_and_nothing_more_is_taken(
    serve: Callable[..., Server], how: signal.Signals, processes: str
) -> None:
    server = serve("--processes", processes)
    whole = request(picture())
    with server.connect() as connection:
        connection.sendall(whole[:-20])
        assert httpx2.get(f"{server.url}/readyz").status_code == 200  # it has read what came before
        server.process.send_signal(how)
        while server.takes_more():
            pass
        connection.sendall(whole[-20:])
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"probability"' in answer
    assert server.process.wait(30) == 0


def test_told_twice_it_ends_at_once_and_says_so(serve: Callable[..., Server]) -> None:
    server = serve()
    with server.connect() as connection:
        connection.sendall(request(picture())[:-20])
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
        server.process.send_signal(signal.SIGINT)
        while server.takes_more():
            pass
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
    assert server.process.stderr is not None
    assert server.process.stderr.read() == "alexnet: stopped at once; what was begun is not answered\n"


def test_headers_that_do_not_end_are_hung_up_on(strict: Server) -> None:
    silent, slow, second = strict.connect(), strict.connect(), strict.connect()
    slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost:")
    second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    while b"ok" not in second.recv(65536):
        pass
    second.sendall(b"GET /healthz HTTP/1.1\r\n")  # on a connection that was answered already
    assert received(silent) == received(slow) == received(second) == b""
    assert ask(strict).status_code == 200


def test_a_body_that_does_not_end_is_told_so(strict: Server) -> None:
    with strict.connect() as connection:
        connection.sendall(request(b"abc", length=100))
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"1 s" in answer
    assert ask(strict).status_code == 200


def test_bodies_that_would_take_too_much_memory_together_are_refused(strict: Server) -> None:
    with strict.connect() as first, strict.connect() as second:
        first.sendall(request(picture(), length=10_000))
        assert httpx2.get(f"{strict.url}/readyz").status_code == 200
        second.sendall(request(picture().ljust(9_000, b"\0")))
        answer = second.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in answer.lower()
        first.sendall(bytes(10_000 - len(picture())))
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert ask(strict).status_code == 200


def test_who_sends_too_much_reads_why(strict: Server) -> None:
    for length in (10_001, 20_000, 10_000_000):
        with strict.connect() as connection:
            with contextlib.suppress(ConnectionError):  # cut off: it has been answered already
                connection.sendall(request(picture().ljust(min(length, 20_000), b"\0"), length=length))
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_goes_on_after_the_answer_is_hung_up_on(serve: Callable[..., Server]) -> None:
    server = serve("--header-seconds", "0.5", ALEXNET_API_KEY="key")
    with server.connect() as connection:
        connection.sendall(request(b"abc", length=1_000_000_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
        while not hung_up(connection):
            pass


def test_two_lengths_of_one_body_are_refused(strict: Server) -> None:
    """By the shorter one more bodies would be taken than there is memory for."""
    head = request(b"", length=1).removesuffix(b"\r\n") + b"Transfer-Encoding: chunked\r\n\r\n"
    connection = strict.connect()
    connection.sendall(head + b"1000\r\n" + bytes(0x1000) + b"\r\n0\r\n\r\n")
    answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"both Content-Length and Transfer-Encoding" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_who_does_not_read_is_cut_off(serve: Callable[..., Server]) -> None:
    server = serve("--answer-seconds", "1", "--header-seconds", "1", "--connections", "1")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(1)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with suppress(TimeoutError, ConnectionError):
            connection.sendall(asked * 3000)
        begin = perf_counter()
        # The only connection that may be is free again.
        while httpx2.get(f"{server.url}/healthz").status_code == 503:
            assert perf_counter() - begin < 20
            sleep(0.1)
    assert server.stop() == 0


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
sys.argv[1:3] = []
import alexnet.cli
alexnet.cli.app(prog_name="alexnet")
"""
"""The command line with so many open files, and so many that it may ask for."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
def test_connections_are_no_more_than_files_may_be_open(python: Start, weights_file: Path) -> None:
    """The soft limit is raised as far as is needed, and where the hard one is too low, that is told."""
    command, environment = python
    arguments = ["serve", str(weights_file), "--port", "0", "--engine", "onnxruntime"]
    for hard, told in ((4096, ""), (300, "44 connections instead of 300")):
        process = subprocess.Popen(
            [*command, "-c", LIMITED, "64", f"{hard}", *arguments, "--connections", "300"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            said = ""
            while not (found := re.search(r"http://\S+", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            server = Server(process, found[0])
            assert told in said
            with ExitStack() as stack:
                for _ in range(280 if not told else 44):
                    stack.enter_context(server.connect())
                status = httpx2.get(f"{server.url}/healthz", timeout=30).status_code
            assert status == (503 if told else 200)
            assert server.stop() == 0


def test_more_connections_than_may_are_refused(serve: Callable[..., Server]) -> None:
    server = serve("--connections", "2")
    with server.connect():
        assert ask(server).status_code == 200
        with server.connect():
            refused = ask(server)
    assert refused.status_code == 503
    assert refused.json() == {"error": "too many connections; come again"}
    assert (refused.headers["Retry-After"], refused.headers["Connection"]) == ("1", "close")
    while ask(server).status_code == 503:  # until it has seen that they are gone
        pass
    assert ask(server).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000,
    ],
)
def test_what_is_no_request_is_hung_up_on(strict: Server, sent: bytes) -> None:
    with strict.connect() as connection:
        try:
            connection.sendall(sent)
            answer = received(connection)
        except ConnectionError:  # hung up on before all was sent
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 2")
    assert not answer.startswith(b"HTTP/1.1 5")
    assert ask(strict).status_code == 200


def test_a_client_that_leaves_is_nothing_to_complain_of(serve: Callable[..., Server]) -> None:
    server = serve()
    for sent in (request(b"abc", length=100), request(picture())):
        with server.connect() as connection:
            connection.sendall(sent)
    assert ask(server).status_code == 200
    assert server.stop() == 0
    assert server.process.stderr is not None
    assert server.process.stderr.read() == ""


GONE = """
import sys
from pathlib import Path
from alexnet import ServerError
from alexnet.server.serving import bind, serve

weights = Path(sys.argv[1])
try:
    serve(weights, port=0, processes=2, engine="onnxruntime", on_listening=lambda _: weights.unlink())
except ServerError as error:
    sys.exit(f"told: {error}")
"""
"""Weights that are there when the first process looks, and not for those that it starts."""


def test_processes_that_cannot_start_are_an_error(python: Start, weights_file: Path, tmp_path: Path) -> None:
    command, environment = python
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights_file.read_bytes())
    arguments = [*command, "-c", GONE, str(copy)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert f"alexnet: {copy}" in done.stderr
    assert "told: processes: 2; one of them could not start, for the reason above" in done.stderr
    assert "Traceback" not in done.stderr


def test_whatever_the_openapi_document_allows_or_not_is_answered_as_it_says(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    # Not that bytes which the document allows are taken: no schema says what a picture is.
    checked = ("--exclude-checks", "positive_data_acceptance", "--max-examples", "50", "--seed", "1")
    document = f"{serve().url}/openapi.json"
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", document, *checked, "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "Tested: 5" in done.stdout


def test_the_key_is_read_from_a_file_or_the_environment(serve: Callable[..., Server], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("one\nrest of the file\n", encoding="utf-8")
    for server, right in ((serve("--api-key-file", str(key)), "one"), (serve(ALEXNET_API_KEY="two"), "two")):
        assert httpx2.get(f"{server.url}/v1/model").status_code == 401
        headers = {"Authorization": f"Bearer {right}"}
        assert httpx2.get(f"{server.url}/v1/model", headers=headers).status_code == 200


def test_a_key_that_is_empty_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("empty", "binary", "missing"):
        with pytest.raises(ServerError, match=name):
            read_api_key(tmp_path / name, {})
    with pytest.raises(ServerError, match="ALEXNET_API_KEY"):
        read_api_key(None, {"ALEXNET_API_KEY": " "})
    assert read_api_key(None, {}) is None


def test_a_port_that_is_taken_is_one_line(python: Start, weights_file: Path) -> None:
    command, environment = python
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *command,
                "-m",
                "alexnet",
                "serve",
                str(weights_file),
                "--port",
                str(port),
                "--engine",
                "onnxruntime",
            ],
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"alexnet: 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


def test_several_processes_share_the_port_and_what_they_count(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve("--processes", "2", TMPDIR=str(tmp_path))
    asked = 0
    while len(counting(tmp_path)) < 2:  # until both have answered; the system deals connections out
        assert ask(server).status_code == 200
        asked += 1
    told = httpx2.get(f"{server.url}/metrics", timeout=60).text
    assert f'alexnet_requests_total{{path="/v1/predict",status="200"}} {asked}.0' in told
    victim = min(counting(tmp_path))
    os.kill(int(victim), signal.SIGKILL)
    while len(counting(tmp_path) - {victim}) < 2:  # until another has taken its place
        with contextlib.suppress(httpx2.HTTPError):  # what the victim had accepted is lost
            assert ask(server).status_code == 200
    assert httpx2.get(f"{server.url}/metrics", timeout=60).status_code == 200
    assert list(tmp_path.glob(f"alexnet-*/gauge_livesum_*{victim}*")) == []
    assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []


def counting(folder: Path) -> set[str]:
    """Which processes, dead ones too, have counted anything."""
    return {path.stem.removeprefix("counter_") for path in folder.glob("alexnet-*/counter_*.db")}


@pytest.mark.slow
def test_a_monitor_may_ask_for_the_head_alone(serve: Callable[..., Server]) -> None:
    url = serve().url
    for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/model"):
        whole, head = httpx2.get(url + path), httpx2.head(url + path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert httpx2.head(f"{url}/v1/predict").status_code == 405


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_is_none_is_told(port: int) -> None:
    with pytest.raises(ServerError, match=f"port: {port}; must be from 0"):
        bind("127.0.0.1", port)


def test_a_key_in_a_file_of_windows_is_the_key_alone(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    assert read_api_key(tmp_path / "key", {}) == "secret"


def test_a_name_that_can_be_no_host_s_is_told() -> None:
    with pytest.raises(ServerError, match=r"a\.\.b:0: cannot be listened on: no host has such a name"):
        bind("a..b", 0)

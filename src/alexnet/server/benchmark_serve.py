"""What a server stands here: the rate and the time of its answers, with few clients, many, and too many."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from alexnet.architecture.network import Network
from alexnet.errors import DataError, ServerError
from alexnet.images.folders import find_below
from alexnet.learning.classifier import Classifier
from alexnet.server.limits import Limits
from alexnet.server.load import Load, ask_at, keep_asking, request

BATCHED, PLAIN = "alexnet serve, int8", "one at a time, torch eager, float32"
_OVERLOAD = 2.0  # times the rate that it stands
_SOAKS = 10  # parts of a soak, behind each of which the memory is told
_CONNECTIONS = 512  # of the clients that are too many
_BYTES_A_MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How a server answered under a load."""

    way: str
    clients: str  # how many at a time, or at which rate they asked
    rate: float  # answers a second
    p50: float  # seconds within which half of the answers came
    p95: float
    p99: float
    refused: int  # 503
    failed: int  # neither answered nor refused
    memory: float  # MiB that the server's process holds at the end


def benchmark_serving(
    network: Network,
    folder: str | Path,
    *,
    clients: Sequence[int] = (1, 8, 64),
    requests: int = 1000,
    soak: int = 0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Answers, ...]:
    """Ask two servers for the pictures in `folder`, over loopback, and time the answers.

    The first is the same handler with batches of one in plain torch, the second `alexnet serve` with the
    network in 8 bits. Weights are made up, which does not change the work. Then the second is asked at twice
    the rate that it stood with the most clients, and, for `soak` requests, again and again, with its memory
    told on the way. The clients run in this process and share the processor. Raises DataError for a folder
    without pictures, ServerError for a number below 1 and where nothing is answered.
    """
    if min(clients, default=0) < 1 or requests < 1:
        raise ServerError(f"benchmark: clients {clients}, requests {requests}; must be at least 1")
    if soak and soak < _SOAKS:
        raise ServerError(f"benchmark: soak {soak}; must be at least {_SOAKS}, or 0 for none")
    files = list(find_below(Path(folder)))[:256]
    if not files:
        raise DataError(f"{folder}: no pictures in this folder; must hold some; check the path")
    asked = [request(path.read_bytes()) for path in files]
    found: list[Answers] = []
    with TemporaryDirectory(prefix="alexnet-") as scratch:
        on_progress("preparing the networks")
        plain, rounded = _write_models(network, Path(scratch))
        with _serving(PLAIN, plain) as (port, process):
            for most in clients:
                on_progress(f"{PLAIN}: {most} clients")
                keep_asking(port, asked, clients=most, asked=max(requests // 10, 1))
                # It is slow: a third of the requests tells as much.
                load = keep_asking(port, asked, clients=most, asked=max(requests // 3, 1))
                found.append(_answers(PLAIN, f"{most}", load, process))
        with _serving(BATCHED, rounded) as (port, process):
            for most in clients:
                on_progress(f"{BATCHED}: {most} clients")
                keep_asking(port, asked, clients=most, asked=max(requests // 10, 1))
                load = keep_asking(port, asked, clients=most, asked=requests)
                found.append(_answers(BATCHED, f"{most}", load, process))
            if not load.statuses["200"]:
                told = ", ".join(f"{status}: {times:,}" for status, times in load.statuses.most_common())
                raise ServerError(
                    f"benchmark: no picture of {folder} was answered ({told}); must hold pictures"
                )
            rate = _OVERLOAD * found[-1].rate
            on_progress(f"{BATCHED}: {rate:.0f} requests a second, twice what it stands")
            load = ask_at(port, asked, rate=rate, asked=2 * requests, connections=_CONNECTIONS)
            found.append(_answers(BATCHED, f"{rate:.0f}/s, too many", load, process))
            each = soak // _SOAKS
            for done in range(each, _SOAKS * each + 1, each) if soak else ():
                load = keep_asking(port, asked, clients=clients[-1], asked=each)
                found.append(_answers(BATCHED, f"{clients[-1]}, {done:,} in all", load, process))
                on_progress(f"{done:,} requests: {found[-1].memory:.0f} MiB")
    return tuple(found)


def _answers(way: str, clients: str, load: Load, process: int) -> Answers:
    return Answers(
        way=way,
        clients=clients,
        rate=load.rate,
        p50=load.percentile(0.5),
        p95=load.percentile(0.95),
        p99=load.percentile(0.99),
        refused=load.statuses["503"],
        failed=load.failures,
        memory=_resident(process),
    )


def _resident(process: int) -> float:
    """MiB; not a number where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kibibytes) * 1024 / _BYTES_A_MEBIBYTE


def _write_models(network: Network, folder: Path) -> tuple[Path, Path]:
    from alexnet.inference.benchmark import exported_models
    from alexnet.learning.weights import save_weights, untrained_weights

    plain, rounded = folder / "plain.safetensors", folder / "rounded.onnx"
    weights = untrained_weights(network)
    save_weights(plain, weights)
    rounded.write_bytes(exported_models(weights)[1])
    return plain, rounded


@contextmanager
def _serving(way: str, weights: Path) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and the process's number."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(way, weights, there))
    process.start()
    there.close()
    try:
        port = here.recv()
        assert process.pid is not None
        yield port, process.pid
    except EOFError:
        raise ServerError(f"benchmark: {way}: did not start; the line above says why") from None
    finally:
        process.terminate()
        process.join()
        here.close()


def _serve(way: str, weights: Path, told: Connection) -> None:
    from alexnet.inference.engines import open_classifier
    from alexnet.server.app import create_app
    from alexnet.server.serving import bind, run_app

    limits = Limits()
    if way == PLAIN:
        limits = Limits(batch_size=1)
        classifier = _plain_classifier(weights)
    else:
        classifier = open_classifier(weights)
    with bind("127.0.0.1", 0) as listening:
        app = create_app(classifier, limits=limits)
        listening.listen(socket.SOMAXCONN)
        told.send(listening.getsockname()[1])
        run_app(app, listening, limits)


def _plain_classifier(weights: Path) -> Classifier:
    from alexnet.inference.benchmark import plain_torch
    from alexnet.learning.weights import load_weights

    loaded = load_weights(weights)
    return Classifier(
        run=plain_torch(loaded.model),
        network=loaded.model.network,
        class_names=loaded.class_names,
        view=loaded.view,
    )

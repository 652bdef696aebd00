"""Several processes that train one network: parts of batches, the same curve as one process, lost ones."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from select import select
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alexnet import Network, TrainingError, to_toml
from alexnet.learning.devices import choose_device
from alexnet.learning.processes import ALONE, Processes, processes
from alexnet.learning.progress import Tally

Python = tuple[list[str], dict[str, str]]

# --- whose part is what -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 10))
def test_the_parts_cover_every_batch_once_and_in_order(count: int) -> None:
    for pictures in [*range(40), 127, 128, 129, 1000]:
        parts = [range(pictures)[Processes(rank=rank, count=count).part(pictures)] for rank in range(count)]
        assert [place for part in parts for place in part] == list(range(pictures))


@pytest.mark.parametrize("count", range(2, 10))
def test_the_parts_are_nearly_alike_and_keep_neighbours_together(count: int) -> None:
    """Neighbours, 0 and 1, 2 and 3 and so on, are what cutmix mixes."""
    for pictures in range(200):
        parts = [Processes(rank=rank, count=count).part(pictures) for rank in range(count)]
        sizes = [part.stop - part.start for part in parts]
        assert max(sizes) - min(sizes) <= 2 + pictures % 2
        assert all(part.start % 2 == 0 or part.start == pictures for part in parts)


def test_one_alone_does_what_it_would_without_others() -> None:
    module = torch.nn.Linear(2, 2)
    tally = Tally.on(torch.device("cpu"))
    assert ALONE.leads
    assert ALONE.share(module) is module
    assert ALONE.total_of(tally) is tally
    assert ALONE.gather(5) == [5]
    assert ALONE.agree_on(lambda: 6) == 6


def test_who_was_not_started_with_others_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes() as together:
        assert together == ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    with processes() as together:
        assert together == ALONE


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK", "MASTER_ADDR"])
def test_an_environment_that_is_not_torchrun_s_is_an_error(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    whole = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    whole |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in whole.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(TrainingError, match="start all with torchrun"), processes():
        pass


def test_each_of_several_has_a_gpu_of_its_own_or_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("auto", "cuda"):
        assert choose_device(name, own_gpu=1, alone=False) == torch.device("cuda", 1)
    assert choose_device("auto", own_gpu=None, alone=False) == torch.device("cpu")
    assert choose_device("cpu", own_gpu=1, alone=False) == torch.device("cpu")
    with pytest.raises(TrainingError, match="fewer GPUs than processes"):
        choose_device("cuda", own_gpu=None, alone=False)


@pytest.mark.parametrize(("gpus", "backend"), [(0, "gloo"), (1, "gloo"), (2, "cpu:gloo,cuda:nccl")])
@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_of_a_machine_come_to_the_same_backend(
    monkeypatch: pytest.MonkeyPatch, gpus: int, backend: str, rank: int
) -> None:
    """By what a machine with so many GPUs would answer: there is none here."""
    named: list[str] = []
    taken: list[int] = []
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", named.append)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2 + rank)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    with processes() as together:
        assert together.own_gpu == (rank if gpus == 2 else None)
    assert named == [backend]
    assert taken == ([rank] if gpus == 2 else [])


# --- two and three against one ----------------------------------------------------------------------------

_WORKER = """
import json, os, signal, sys
import alexnet.cli
from alexnet.learning import loop, validation
def counted(module, name):
    plain = getattr(module, name)
    def count(*arguments, **settings):
        told[name] = told.get(name, 0) - 1
        if not told[name]:
            signal.raise_signal(told["signal"])
        return plain(*arguments, **settings)
    setattr(module, name, count)
counted(loop, "training_step")
counted(validation, "evaluate")
for line in sys.stdin:
    told = json.loads(line)
    os.environ.update(told["environment"])
    with open(told["stderr"], "w") as sys.stderr:
        sys.stdout = sys.stderr
        try:
            alexnet.cli.app(told["arguments"], prog_name="alexnet")
        except SystemExit as end:
            code = end.code
    print(code, file=sys.__stdout__, flush=True)
"""
"""Runs one command after the other, and sends itself a signal in a step or validation where it is told to."""


@pytest.fixture(scope="module")
def workers(python: Python) -> Iterator[list[subprocess.Popen[bytes]]]:
    command, environment = python
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            [*command, "-c", _WORKER],
            env=environment | {"OMP_NUM_THREADS": "1"} | loopback(),
            stdin=pipe,
            stdout=pipe,
            bufsize=0,
        )
        for _ in range(3)
    ]
    yield started
    for each in started:
        each.communicate(timeout=60)


def loopback() -> dict[str, str]:
    """Gloo by way of this machine alone, whatever its name resolves to."""
    names = {name for _, name in socket.if_nameindex()}
    return {"GLOO_SOCKET_IFNAME": "lo"} if "lo" in names else {}


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def pictures(paint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    paint(folder / "train", count=12)
    paint(folder / "val", count=5)
    return folder


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"ALEXNET_CACHE": str(tmp_path_factory.getbasetemp() / "cache-of-processes")}


@pytest.fixture
def arguments(pooled: Network, pictures: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Of a command that trains with all that is random."""
    network = tmp_path / "pooled.toml"
    network.write_text(to_toml(pooled))

    def arguments(output: Path, *more: str, data: Path = pictures) -> list[str]:
        usual = ["train", str(data), "--network", str(network), "--output", str(output), "--resume"]
        usual += ["--epochs", "3", "--batch-size", "8", "--lr", "0.02", "--precision", "fp32"]
        usual += ["--workers", "1", "--device", "cpu", "--with", "jitter=0.3", "--with", "colour_noise=0.1"]
        usual += ["--with", "build_up=0"]
        return [*usual, "--with", "cutmix=0.5", "--with", "dropout=0.3", "--with", "averaging=0.9", *more]

    return arguments


@pytest.fixture
def together(
    workers: list[subprocess.Popen[bytes]], cache: dict[str, str], tmp_path: Path
) -> Callable[..., list[tuple[int, str]]]:
    """Run a command in so many processes; the exit code of each and what it said.

    `sent` has, by rank, the step of this start in which it gets a signal, or the validation, and which.
    """

    def together(
        count: int,
        arguments: list[str],
        sent: dict[int, tuple[int, int]] | None = None,
        during: str = "training_step",
    ) -> list[tuple[int, str]]:
        port = str(free_port())
        for rank, worker in enumerate(workers[:count]):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} | cache
            steps, number = (sent or {}).get(rank, (0, 0))
            told: dict[str, Any] = {"arguments": arguments, during: steps, "signal": number}
            told |= {"environment": own | shared, "stderr": str(tmp_path / f"{rank}")}
            assert worker.stdin is not None
            worker.stdin.write(json.dumps(told).encode() + b"\n")
        ended = []
        for rank, worker in enumerate(workers[:count]):
            assert worker.stdout is not None
            if not select([worker.stdout], [], [], 100)[0]:
                for each in workers:
                    each.kill()
                pytest.fail(f"process {rank} of {count} waits for the others, and they for it")
            ended.append((int(worker.stdout.readline()), (tmp_path / f"{rank}").read_text()))
        return ended

    return together


def figures(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of metrics.csv or steps.csv, but for times."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = [name for name in lines[0] if name not in ("seconds", "pictures_per_second")]
    return {name: np.array([float(line[name]) for line in lines]) for name in names}


@pytest.fixture(scope="module")
def undisturbed_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def undisturbed(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    undisturbed_runs: Path,
) -> Callable[..., Path]:
    """The folder of a run by so many processes; the same for all tests that ask for the same."""

    def undisturbed(count: int, *more: str) -> Path:
        folder = undisturbed_runs / "-".join((str(count), *more))
        if not (folder / "report.html").exists():
            assert [code for code, _ in together(count, arguments(folder, *more))] == [0] * count
        return folder

    return undisturbed


def assert_alike(one: Path, several: Path) -> None:
    """The same curves and weights: a sum in another order is all that differs."""
    for name in ("steps.csv", "metrics.csv"):
        expected, found = figures(one / name), figures(several / name)
        assert expected.keys() == found.keys()
        for column, values in expected.items():
            # Six digits are written.
            np.testing.assert_allclose(found[column], values, rtol=1e-5, err_msg=f"{name}: {column}")
    for name in ("last.safetensors", "best.safetensors"):
        weights, others = load_file(one / name), load_file(several / name)
        assert weights.keys() == others.keys()
        for each, tensor in weights.items():
            torch.testing.assert_close(others[each], tensor, rtol=1e-4, atol=1e-5)
    names = {path.name for path in several.iterdir() if not path.name.startswith("events.")}
    assert names == {path.name for path in one.iterdir() if not path.name.startswith("events.")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "more"),
    [
        (2, ()),
        (3, ()),
        (2, ("--batch-size", "5")),  # 36 pictures: the last batch is of one, and one process has none of it
        (3, ("--batch-size", "7", "--balance", "weights")),
        (2, ("--balance", "sampling")),
        (2, ("--with", "smallest_side=0.5")),
        (2, ("--recipe", "paper", "--batch-size", "10", "--epochs", "2")),
    ],
    ids=str,
)
def test_several_processes_train_what_one_would(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    count: int,
    more: tuple[str, ...],
) -> None:
    one, several = undisturbed(1, *more), tmp_path / "several"
    ended = together(count, arguments(several, *more))
    assert [code for code, _ in ended] == [0] * count, ended
    assert_alike(one, several)
    # The leading one speaks, the others do not.
    assert "validation: top-1" in ended[0][1]
    assert [said for _, said in ended[1:]] == [""] * (count - 1)
    described = [json.loads((folder / "run.json").read_text()) for folder in (one, several)]
    assert [each["processes"] for each in described] == [1, count]
    assert described[0]["best_validation_top1"] == described[1]["best_validation_top1"]


@pytest.mark.slow
def test_the_comparison_can_fail(undisturbed: Callable[..., Path]) -> None:
    with pytest.raises(AssertionError, match=r"steps\.csv"):
        assert_alike(undisturbed(1), undisturbed(1, "--seed", "1"))


@pytest.mark.slow
def test_pictures_that_cannot_be_read_are_left_out_alike_and_all_listed(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    paint: Callable[..., Path],
    tmp_path: Path,
) -> None:
    data = tmp_path / "photos"
    paint(data / "train", count=12)
    paint(data / "val", count=5)
    bad = [data / "train" / "red" / f"{index:02}.png" for index in (3, 4, 5, 8)]
    bad += [data / "train" / "blue" / "00.png", data / "val" / "red" / "02.png"]
    for path in bad:
        path.write_bytes(b"not a picture")
    more = ("--most-unreadable", "0.2", "--with", "cutmix=0")  # it mixes what is left in another way
    one, several = tmp_path / "one", tmp_path / "several"
    assert [code for code, _ in together(1, arguments(one, *more, data=data))] == [0]
    ended = together(2, arguments(several, *more, data=data))
    assert [code for code, _ in ended] == [0, 0], ended
    assert_alike(one, several)
    for folder in (one, several):
        with (folder / "skipped.csv").open(newline="") as file:
            assert {line["picture"] for line in csv.DictReader(file)} == {str(path) for path in bad}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_more_that_cannot_be_read_than_may_be_end_the_run_however_many_find_them(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    paint: Callable[..., Path],
    tmp_path: Path,
    count: int,
) -> None:
    """Two of 36 are 5.6 %; each of two processes comes across one of them."""
    data = tmp_path / "photos"
    paint(data / "train", count=12)
    paint(data / "val", count=5)
    files, order = sorted((data / "train").rglob("*.png")), np.random.default_rng((0, 1)).permutation(36)
    for index in order[[0, 7]]:  # the first and the last of a batch of eight
        files[index].write_bytes(b"not a picture")
    ended = together(count, arguments(tmp_path / "run", data=data))
    assert all(code for code, _ in ended), ended
    assert "2 of 36 training pictures cannot be read; at most 5% may be" in ended[0][1]


@pytest.mark.slow
def test_a_whole_part_that_cannot_be_read_holds_nobody_up(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    paint: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Of the first batch, and so of all that the leading process has seen by then."""
    data = tmp_path / "photos"
    paint(data / "train", count=12)
    paint(data / "val", count=5)
    first = np.random.default_rng((0, 1)).permutation(36)[:4]
    files = sorted((data / "train").rglob("*.png"))
    for index in first:
        files[index].write_bytes(b"not a picture")
    more = ("--most-unreadable", "0.2", "--with", "cutmix=0", "--with", "averaging=0")
    one, several = tmp_path / "one", tmp_path / "several"
    assert [code for code, _ in together(1, arguments(one, *more, data=data))] == [0]
    ended = together(2, arguments(several, *more, data=data))
    assert [code for code, _ in ended] == [0, 0], ended
    assert_alike(one, several)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (1, 2), (2, 3)])
def test_another_number_of_processes_may_go_on_with_a_run(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    counts: tuple[int, int],
) -> None:
    """Even from the last step of an epoch, where nothing but the validation is left to do."""
    several = tmp_path / "several"
    settings = ("--batch-size", "6", "--checkpoint", "0s")
    one = undisturbed(1, *settings, "--epochs", "4")
    # The rate follows the whole run: a first part of it with the schedule of all.
    before = together(counts[0], arguments(several, *settings, "--epochs", "4", "--patience", "1"))
    assert [code for code, _ in before] == [0] * counts[0], before
    assert len(figures(several / "metrics.csv")["epoch"]) < 4
    ended = together(counts[1], arguments(several, *settings, "--epochs", "4"))
    assert [code for code, _ in ended] == [0] * counts[1], ended
    assert_alike(one, several)


@pytest.mark.slow
def test_a_time_limit_ends_all_at_the_same_step(
    together: Callable[..., list[tuple[int, str]]], arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    more = ("--time-limit", "2s", "--epochs", "100000", "--with", "smallest_side=0.5")
    ended = together(2, arguments(tmp_path / "run", *more))
    assert [code for code, _ in ended] == [0, 0], ended
    pictures = figures(tmp_path / "run" / "metrics.csv")["pictures"][-1]
    again = together(2, arguments(tmp_path / "run", *more))
    assert [code for code, _ in again] == [0, 0], again
    assert figures(tmp_path / "run" / "metrics.csv")["pictures"][-1] == pictures


@pytest.mark.slow
def test_an_error_of_the_leading_process_ends_all_in_one_line(
    together: Callable[..., list[tuple[int, str]]], arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    ended = together(2, arguments(tmp_path / "run"))
    assert [code for code, _ in ended] == [2, 2]
    for _, said in ended:
        assert said.splitlines()[-1].startswith(f"alexnet: {tmp_path / 'run'}: not empty")
        assert "Traceback" not in said


@pytest.mark.slow
def test_a_batch_too_small_for_so_many_is_refused(
    together: Callable[..., list[tuple[int, str]]], arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    ended = together(3, arguments(tmp_path / "run", "--batch-size", "5"))
    assert [code for code, _ in ended] == [2, 2, 2]
    assert "batch size: 5 for 3 processes; must be at least 2 for each" in ended[0][1]


# --- one that is stopped, or lost -------------------------------------------------------------------------


def wait_for_states(folder: Path, number: int, *, still: Callable[[], bool] = lambda: True) -> None:
    """Until so many states have been written."""
    path, seen = folder / "state.safetensors", set[int]()
    while len(seen) <= number:
        assert still()
        with suppress(FileNotFoundError):
            seen.add(path.stat().st_mtime_ns)


LONG = ("--epochs", "30", "--checkpoint", "0s")


@pytest.mark.slow
@pytest.mark.parametrize(("step", "trained"), [(1, 8), (12, 36 + 36 + 8 + 8)])  # five an epoch
@pytest.mark.parametrize("to", [0, 1])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_one_stops_all_and_together_they_go_on(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    to: int,
    step: int,
    trained: int,
) -> None:
    """At the end of that step: who started them may not wait for long before it kills them."""
    ended = together(2, arguments(tmp_path / "run", "--epochs", "4"), {to: (step, number)})
    assert [each for each, _ in ended] == [code, 0], ended
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pictures_trained"] == trained
    ended = together(2, arguments(tmp_path / "run", "--epochs", "4"))
    assert [each for each, _ in ended] == [0, 0], ended
    assert_alike(undisturbed(2, "--epochs", "4"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("val", [5, 2])  # of each of three classes: shared, and judged by each
@pytest.mark.parametrize("to", [0, 1])
def test_sigterm_to_one_while_it_validates_stops_all_and_together_they_go_on(
    together: Callable[..., list[tuple[int, str]]],
    arguments: Callable[..., list[str]],
    paint: Callable[..., Path],
    tmp_path: Path,
    to: int,
    val: int,
) -> None:
    paint(tmp_path / "photos" / "train", count=12)
    paint(tmp_path / "photos" / "val", count=val)
    command = partial(arguments, data=tmp_path / "photos")
    assert [each for each, _ in together(2, command(tmp_path / "plain"))] == [0, 0]
    folder = tmp_path / "run"
    ended = together(2, command(folder), {to: (2, signal.SIGTERM)}, "evaluate")
    assert [each for each, _ in ended] == [143, 0], ended
    assert len(figures(folder / "metrics.csv")["epoch"]) == 1  # the second is not judged yet
    assert json.loads((folder / "run.json").read_text())["pictures_trained"] == 72
    assert [each for each, _ in together(2, command(folder))] == [0, 0]
    assert_alike(tmp_path / "plain", folder)


_NOTED = """
import os, pathlib, runpy
noted = pathlib.Path(os.environ["NOTED"], os.environ["TORCHELASTIC_RESTART_COUNT"] + "-" + os.environ["RANK"])
noted.write_text(str(os.getpid()))
runpy.run_module("alexnet", run_name="__main__", alter_sys=True)
"""
"""`python -m alexnet`, with its id noted by the number of the start and its rank."""


@pytest.mark.slow
def test_torchrun_starts_all_again_where_one_was_lost(
    undisturbed: Callable[..., Path],
    arguments: Callable[..., list[str]],
    python: Python,
    cache: dict[str, str],
    tmp_path: Path,
) -> None:
    """First one that follows is killed, then the one that leads."""
    script, noted, folder = tmp_path / "noted.py", tmp_path / "ids", tmp_path / "run"
    script.write_text(_NOTED)
    noted.mkdir()
    command = [python[0][0], "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "2", str(script), *arguments(folder, *LONG)]
    # Without this, torchrun's restarted processes may find each other's addresses of before.
    own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1", "NOTED": str(noted)}
    environment = python[1] | own | loopback() | cache
    begin = perf_counter()
    with (tmp_path / "said").open("w") as said:
        torchrun = subprocess.Popen(command, env=environment, stdout=said, stderr=said)

    def runs() -> bool:
        return torchrun.poll() is None and perf_counter() - begin < 200

    try:
        for restart, rank in ((0, 1), (1, 0)):
            path = noted / f"{restart}-{rank}"
            while not path.exists() or not path.read_text():
                assert runs(), (tmp_path / "said").read_text()
            wait_for_states(folder, 3, still=runs)
            os.kill(int(path.read_text()), signal.SIGKILL)
        assert torchrun.wait(timeout=200) == 0, (tmp_path / "said").read_text()
    finally:
        torchrun.terminate()
        torchrun.wait()
    assert {path.name for path in noted.iterdir()} == {f"{start}-{rank}" for start in "012" for rank in "01"}
    assert_alike(undisturbed(2, *LONG), folder)

"""`alexnet benchmark`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from alexnet.cli.options import (
    device_option,
    format_option,
    precision_option,
    timed_network_option,
    workers_option,
)
from alexnet.cli.printing import note, show

if TYPE_CHECKING:
    from alexnet.learning.benchmark import Timing


@click.group()
def benchmark() -> None:
    """Time what this machine does, beside the plain way of doing it, in one run."""


@benchmark.command("train")
@timed_network_option
@click.option("--batch-size", type=int, default=128, show_default=True, help="Pictures a step.")
@click.option("--rounds", type=int, help="Turns of each way.  [default: 5; with --data 3]")
@click.option("--data", help="A folder of pictures: time the whole way from their files, too.")
@click.option("--steps", type=int, default=6, show_default=True, help="With --data: steps a turn.")
@device_option
@precision_option
@format_option
def benchmark_train(
    network: str,
    batch_size: int,
    rounds: int | None,
    data: str | None,
    steps: int,
    device: str,
    precision: str,
    form: str,
) -> None:
    """A training step: the plain eager float32 loop, then that of `alexnet train`."""
    from alexnet.architecture.zoo import get_network
    from alexnet.images.datasets import open_dataset
    from alexnet.learning.benchmark import benchmark_training
    from alexnet.learning.benchmark_folder import benchmark_folder

    described = get_network(network)
    if data is None:
        timings = benchmark_training(
            described,
            batch_size=batch_size,
            rounds=5 if rounds is None else rounds,
            device=device,
            precision=precision,
            on_progress=note,
        )
    else:
        timings = benchmark_folder(
            described,
            open_dataset(data),
            batch_size=batch_size,
            steps=steps,
            rounds=3 if rounds is None else rounds,
            device=device,
            precision=precision,
            on_progress=note,
        )
    show_timings(timings, form)


@benchmark.command("predict")
@click.argument("folder")
@timed_network_option
@click.option("--pictures", type=int, default=512, show_default=True, help="Of FOLDER, a turn.")
@click.option("--rounds", type=int, default=3, show_default=True, help="Turns of each way.")
@workers_option
@format_option
def benchmark_predict(folder: str, network: str, pictures: int, rounds: int, workers: int, form: str) -> None:
    """FOLDER of pictures to a CSV of answers: the plain script, then `alexnet predict` with each engine."""
    from alexnet.architecture.zoo import get_network
    from alexnet.inference.benchmark_predict import benchmark_predict as time_predicting

    timings = time_predicting(
        get_network(network), folder, pictures=pictures, rounds=rounds, workers=workers, on_progress=note
    )
    show_timings(timings, form)


@benchmark.command("infer")
@timed_network_option
@click.option(
    "--batch-size",
    "batch_sizes",
    type=int,
    multiple=True,
    help="Pictures at a time. Repeatable.  [default: 1, 64]",
)
@click.option("--rounds", type=int, default=5, show_default=True, help="Turns of each way.")
@format_option
def benchmark_infer(network: str, batch_sizes: tuple[int, ...], rounds: int, form: str) -> None:
    """Answers on the processor: plain eager torch in float32, then every engine that is installed."""
    from alexnet.architecture.zoo import get_network
    from alexnet.inference.benchmark import benchmark_answers
    from alexnet.terminal import timing_table

    described = get_network(network)
    found = []
    for batch_size in batch_sizes or (1, 64):
        timings = benchmark_answers(described, batch_size=batch_size, rounds=rounds, on_progress=note)
        found.append({"batch_size": batch_size, "ways": [asdict(each) for each in timings]})
        if form != "json":
            show(f"batches of {batch_size}\n{timing_table(timings)}\n")
    if form == "json":
        click.echo(json.dumps(found, indent=2))


@benchmark.command("serve")
@click.argument("folder")
@timed_network_option
@click.option("--clients", type=int, multiple=True, help="At a time. Repeatable.  [default: 1, 8, 64]")
@click.option("--requests", type=int, default=1000, show_default=True, help="For each number of clients.")
@click.option("--soak", type=int, default=0, help="Requests after that, with the memory told on the way.")
@format_option
def benchmark_serve(
    folder: str, network: str, clients: tuple[int, ...], requests: int, soak: int, form: str
) -> None:
    """Requests for FOLDER's pictures over loopback: batches of one in plain torch, then `alexnet serve`."""
    from alexnet.architecture.zoo import get_network
    from alexnet.server.benchmark_serve import benchmark_serving
    from alexnet.terminal import answers_table

    answers = benchmark_serving(
        get_network(network),
        folder,
        clients=clients or (1, 8, 64),
        requests=requests,
        soak=soak,
        on_progress=note,
    )
    if form == "json":
        click.echo(json.dumps([asdict(each) for each in answers], indent=2))
    else:
        show(answers_table(answers))


def show_timings(timings: Sequence[Timing], form: str) -> None:
    """As a table, or as JSON."""
    from alexnet.terminal import timing_table

    if form == "json":
        click.echo(json.dumps([asdict(timing) for timing in timings], indent=2))
    else:
        show(timing_table(timings))

"""How fast training is here, beside the plain way of doing it, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from alexnet.architecture.network import Network
from alexnet.errors import TrainingError
from alexnet.learning.devices import choose_device, choose_precision, prepare
from alexnet.learning.fused import Colour, FusedForward
from alexnet.learning.model import AlexNet, set_layout
from alexnet.learning.recipe import DEFAULT
from alexnet.learning.step import Loss, TrainingBatch, make_optimizer, training_step

_WARM_UP = 2  # steps


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One way of doing the same work, timed."""

    name: str
    pictures_per_second: float  # at the median step
    slowest: float  # pictures a second at the slowest step
    fastest: float  # and at the fastest
    ratio: float  # of the medians, to the first way's


def benchmark_training(
    network: Network,
    *,
    batch_size: int = 128,
    rounds: int = 5,
    device: str = "auto",
    precision: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Timing, ...]:
    """Time a step (forward, backward, update) of the plain eager float32 loop and of `train`, by turns.

    The pictures are random, on the device already: loading them is not counted. Two steps of each warm up.
    Both run in this process, which keeps freed memory as `train` has it: the plain loop by itself is slower
    than it is here.
    """
    if batch_size < 1 or rounds < 1:
        raise TrainingError(f"benchmark: batch size {batch_size}, rounds {rounds}; both must be at least 1")
    on = choose_device(device)
    prepare(on)
    batch = torch.randint(0, 256, (batch_size, *network.input), dtype=torch.uint8, device=on)
    labels = torch.randint(0, network.classes, (batch_size,), device=on)
    chosen = choose_precision(precision, on)
    mean = [128.0] * network.input[2]  # whole grey levels, as in a run
    ways = {
        "plain loop, float32": _plain_step(AlexNet(network).to(on), batch, labels),
        f"alexnet train, {str(chosen).removeprefix('torch.')}": _train_loop(
            AlexNet(network, mean=mean).to(on), batch, labels, chosen
        ),
    }
    turns = {name: [step] * (_WARM_UP + rounds) for name, step in ways.items()}
    return time_by_turns(turns, warm_up=_WARM_UP, pictures=batch_size, device=on, on_progress=on_progress)


def time_by_turns(
    ways: Mapping[str, Sequence[Callable[[], None]]],
    *,
    warm_up: int,
    pictures: int,
    device: torch.device,
    on_progress: Callable[[str], None],
) -> tuple[Timing, ...]:
    """Time what each way does in each turn, all ways' first turns before their second ones.

    Every way has as many turns, of which the first `warm_up` are not counted; the others are of as many
    `pictures` each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number, turn in enumerate(zip(*ways.values(), strict=True), start=1 - warm_up):
        rounds = len(next(iter(ways.values()))) - warm_up
        for (name, times), run in zip(seconds.items(), turn, strict=True):
            on_progress(f"{name}: {'warm-up' if number < 1 else f'round {number} of {rounds}'}")
            started = perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= 1:
                times.append(perf_counter() - started)
    plain = median(next(iter(seconds.values())))
    return tuple(
        Timing(
            name=name,
            pictures_per_second=pictures / median(times),
            slowest=pictures / max(times),
            fastest=pictures / min(times),
            ratio=plain / median(times),
        )
        for name, times in seconds.items()
    )


def _plain_step(model: AlexNet, batch: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    pictures = model.get_submodule("normalize")(batch).contiguous()
    step = plain_loop(model)
    return lambda: step(pictures, labels)


def plain_loop(model: AlexNet) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """What a tutorial writes: float32, contiguous NCHW, torch.optim.SGD as it comes; a step at a time."""
    layers = set_layout(nn.Sequential(*list(model.children())[1:]), torch.contiguous_format)
    optimizer = torch.optim.SGD(
        layers.parameters(),
        lr=DEFAULT.learning_rate,
        momentum=DEFAULT.momentum,
        weight_decay=DEFAULT.weight_decay,
    )

    def step(pictures: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss = cross_entropy(layers(pictures), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()

    return step


def _train_loop(
    model: AlexNet, batch: torch.Tensor, labels: torch.Tensor, precision: torch.dtype
) -> Callable[[], None]:
    optimizer = make_optimizer(model, DEFAULT)
    forward = FusedForward(model, precision=precision)
    loss = Loss(label_smoothing=DEFAULT.label_smoothing)
    places = torch.arange(len(labels), device=labels.device)
    # Colours are changed on the way in, as `train` does.
    gain, shift = torch.ones((len(labels), 1)), torch.zeros((len(labels), 3))
    pictures = TrainingBatch(
        step=0,
        pictures=batch,
        labels=labels,
        total=len(labels),
        places=places,
        dropout=DEFAULT.dropout,
        colour=Colour(gain=gain.to(batch.device), shift=shift.to(batch.device)),
    )

    def step() -> None:
        training_step(forward, optimizer, pictures, loss=loss, clip_norm=DEFAULT.clip_norm)[0].item()

    return step

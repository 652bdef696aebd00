"""How long Winograd's way takes beside torch's convolution, forwards and backwards, and what the rule says.

Layers of a side of 13 and of 28, from few channels to many, then the notes' own with one to 128 pictures.
Below 1 it is faster. The rule's estimate is of forwards; backwards gains more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from alexnet.learning.devices import prepare
from alexnet.learning.winograd import convolve, estimate

ROUNDS = 5
WAYS: tuple[Callable[..., Tensor], ...] = (conv2d, convolve)


def compare(count: int, depth: int, filters: int, kernel: int, side: int) -> None:
    """Print one layer's line: medians of the ratios of as many rounds, after a warm-up, by turns."""
    operands = [
        torch.randn(count, depth, side, side).to(memory_format=torch.channels_last).requires_grad_(),
        torch.randn(filters, depth, kernel, kernel).to(memory_format=torch.channels_last).requires_grad_(),
        torch.zeros(filters, requires_grad=True),
    ]
    slope = torch.randn_like(WAYS[0](*operands, padding=kernel // 2))
    times = [
        [seconds(partial(way, padding=kernel // 2), operands, slope) for way in WAYS]
        for _ in range(ROUNDS + 1)
    ]
    forwards, backwards = (median(ours[part] / theirs[part] for theirs, ours in times[1:]) for part in (0, 1))
    guess = estimate(operands[0], operands[1], padding=kernel // 2)
    print(
        f"{count:>8}  {f'{depth} -> {filters}':>10}  {f'{kernel}x{kernel}':>6}  {f'{side}x{side}':>7}  "
        f"{guess:>8.2f}  {forwards:>8.2f}  {backwards:>9.2f}",
        flush=True,
    )


def seconds(way: partial[Tensor], operands: list[Tensor], slope: Tensor) -> tuple[float, float]:
    """Forwards, and backwards."""
    started = perf_counter()
    result = way(*operands)
    done = perf_counter()
    torch.autograd.grad(result, operands, slope)
    return done - started, perf_counter() - done


if __name__ == "__main__":
    prepare(torch.device("cpu"))
    print("pictures    channels  kernel  outputs  estimate  forwards  backwards")
    for kernel in (3, 5):
        for side in (13, 28):
            for depth, filters in ((16, 32), (32, 64), (64, 64), (64, 192), (128, 128)):
                compare(64, depth, filters, kernel, side)
    for count in (1, 4, 16, 128):
        compare(count, 96, 256, 5, 23)
        compare(count, 256, 384, 3, 9)
        compare(count, 384, 384, 3, 7)

"""What would make a network fit whose layers do not: the smallest changes, each tried before it is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby
from math import log

from alexnet.architecture.arithmetic import Misfit, output_shape
from alexnet.architecture.layers import Conv, MaxPool
from alexnet.architecture.network import Network, Shape, edit

Edits = tuple[str, ...]  # settings as `edit` takes them

_LOOK_BACK = 16  # layers with windows before the misfit that are tried: keeps the search short
_VALUES = 12  # of one setting that are tried: a farther one is no slip
_LARGEST_INPUT = 1 << 16  # pixels a side; no picture classifier takes more


def first_misfit(network: Network) -> int | None:
    """Which layer (its index) cannot take what reaches it; None where all fit."""
    shape: Shape = network.input
    for index, layer in enumerate(network.layers):
        leaving = output_shape(layer, shape)
        if isinstance(leaving, Misfit):
            return index
        shape = leaving
    return None


def repairs(network: Network, *, most: int = 4) -> tuple[Edits, ...]:
    """Up to `most` sets of one or two edits under which every layer fits, the smallest change first.

    >>> from alexnet.architecture.zoo import NOTES
    >>> repairs(edit(NOTES, "input=60"), most=1)
    (('input=195',),)

    Empty where the network fits already, and where no one or two changes mend it.
    """
    broken = first_misfit(network)
    if broken is None:
        return ()
    candidates = list(_candidates(network, broken))
    found: list[tuple[float, Edits]] = []
    for _, group in groupby(candidates, key=lambda each: _target(each[1])):
        # The nearest value of a setting that mends it alone; a farther one would only change more.
        found += [(cost, (setting,)) for cost, setting in group if _fits(network, setting)][:1]
    if (larger := _larger_input(network)) is not None:
        found.append(larger)
    alone = {edits[0] for _, edits in found}
    strides = [each for each in candidates if ".stride=" in each[1] and each[1] not in alone]
    for (cost, first), (other_cost, second) in combinations(strides, 2):
        if _target(first) != _target(second) and _fits(network, first, second):
            found.append((cost + other_cost, (first, second)))
    found.sort(key=lambda each: each[0])
    return tuple(edits for _, edits in found[:most])


def _fits(network: Network, *settings: str) -> bool:
    return first_misfit(edit(network, *settings)) is None


def _target(setting: str) -> str:
    return setting.partition("=")[0]


def _candidates(network: Network, broken: int) -> Iterator[tuple[float, str]]:
    """Settings that leave more pixels for the layer that broke, each with its cost.

    Layers nearest to it come first, and of each setting the nearest values.
    """
    windowed = [layer for layer in network.layers[: broken + 1] if isinstance(layer, Conv | MaxPool)]
    for layer in reversed(windowed[-_LOOK_BACK:]):
        for stride in range(layer.stride - 1, 0, -1)[:_VALUES]:
            yield log(layer.stride / stride), f"{layer.name}.stride={stride}"
        most = layer.kernel - 1 if isinstance(layer, Conv) else layer.kernel // 2
        for padding in range(layer.padding + 1, most + 1)[:_VALUES]:
            yield log(1 + padding - layer.padding), f"{layer.name}.padding={padding}"
        if layer is network.layers[broken]:
            smallest = 2 * layer.padding if isinstance(layer, MaxPool) else 1
            for kernel in range(layer.kernel - 1, max(1, smallest) - 1, -1)[:_VALUES]:
                yield log(layer.kernel / kernel), f"{layer.name}.kernel={kernel}"


def _larger_input(network: Network) -> tuple[float, Edits] | None:
    """The smallest larger input that fits, found by bisection: more pixels never leave fewer further on."""
    height, width, _ = network.input
    low, high = 0, _LARGEST_INPUT

    def setting(more: int) -> str:
        return f"input={height + more}" + (f"x{width + more}" if width != height else "")

    if not _fits(network, setting(high)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(network, setting(middle)) else (middle, high)
    return log((height + high) / height), (setting(high),)

"""Between what values activations lie, seen on real pictures: what 8-bit arithmetic has to know.

A range is not from the smallest value to the largest: few pictures have those, and 256 steps have to do for
all. Of the ranges that could be, that with the least squared error over all values is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.architecture.network import Network
from alexnet.inference.graph import INPUT, Range, build, rounded_layers, takes_raw_pixels, tensor_of
from alexnet.learning.weights_file import Floats

Values = npt.NDArray[np.floating[Any]]
Pictures = npt.NDArray[np.uint8]

_BINS = 2048
_SHARES = np.linspace(0.1, 1.0, 91)  # of the extreme values, that are tried as the range's ends


def calibrate(
    network: Network, tensors: Mapping[str, Floats], batches: Callable[[], Iterator[Pictures]]
) -> dict[str, Range]:
    """The range of everything that is rounded where the network is computed in 8 bits.

    `batches` gives the pictures, uint8 (N, H, W, 3), and is called twice. By layer; INPUT stands for
    normalised pixels, where those are rounded.
    """
    names = rounded_layers(network)
    extremes: dict[str, tuple[float, float]] = {}
    for name, values in _seen(network, tensors, names, batches()):
        low, high = extremes.get(name, (0.0, 0.0))
        extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
    counts = {name: np.zeros(_BINS) for name in extremes}
    for name, values in _seen(network, tensors, names, batches()):
        counts[name] += np.histogram(values, bins=_BINS, range=_proper(*extremes[name]))[0]
    return {name: best_range(counts[name], *_proper(*extremes[name])) for name in extremes}


def best_range(counts: Values, low: float, high: float) -> Range:
    """The range that rounds the values of a histogram from `low` to `high` with the least squared error.

    >>> best_range(np.ones(100), 0.0, 10.0)
    Range(low=0.0, high=10.0)
    """
    width = (high - low) / len(counts)
    values = low + (np.arange(len(counts)) + 0.5) * width
    candidates = [Range(low=float(low * share), high=float(high * share)) for share in _SHARES]
    errors = [float(counts @ (rounded(values, each) - values) ** 2) for each in candidates]
    return candidates[int(np.argmin(errors))]


def rounded(values: Values, to: Range) -> Values:
    """What is left of values in 8 bits."""
    numbers = np.clip(np.rint(values / to.step) + to.zero, 0, 255)
    back: Values = (numbers - to.zero) * to.step
    return back


def _proper(low: float, high: float) -> tuple[float, float]:
    """Where all values are 0 there is no range; then any will do."""
    return (low, high) if high > low else (0.0, 1.0)


def _seen(
    network: Network, tensors: Mapping[str, Floats], names: tuple[str, ...], batches: Iterator[Pictures]
) -> Iterator[tuple[str, Floats]]:
    """What the layers give for each batch, in float32."""
    from alexnet.inference.onnx_engine import open_session

    session = open_session(build(network, tensors, seen=names).SerializeToString())
    mean, scale = tensors["normalize.mean"], tensors["normalize.scale"]
    for batch in batches:
        if not takes_raw_pixels(network):
            yield INPUT, (batch - mean) / scale
        if names:  # of none asked for, a session gives all
            yield from zip(names, session.run(list(map(tensor_of, names)), {INPUT: batch}), strict=True)

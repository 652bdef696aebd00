"""The first convolution's kernels as colour pictures: what the network looks for in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.architecture.layers import Conv
from alexnet.architecture.network import Network
from alexnet.learning.model import AlexNet


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Every kernel of the first convolution, as a picture."""

    layer: str
    tiles: npt.NDArray[np.uint8]  # (filters, kernel, kernel, 3), RGB
    largest: npt.NDArray[np.float32]  # (filters,), each one's largest weight, signs left out
    towers: int  # equal parts that the filters fall into, in order: the next convolution's groups


def first_kernels(model: AlexNet) -> Kernels | None:
    """The first convolution's kernels; None where there is none, or it does not look at red, green and blue.

    Each kernel has its own scale: grey is 0, and its largest weight is as far from it as bytes go,

        byte = round(127.5 + 127.5 * weight / largest)

    so that a kernel's picture tells its form, and `largest` its strength.
    """
    network = model.network
    first = next((layer for layer in network.layers if isinstance(layer, Conv)), None)
    if first is None:
        return None
    weights = model.get_parameter(f"{first.name}.weight").detach().float().cpu().numpy()
    if weights.shape[1] != 3:
        return None
    largest = np.abs(weights).max(axis=(1, 2, 3))
    scale = np.where(largest > 0, largest, 1)[:, None, None, None]
    tiles = np.rint(127.5 + 127.5 * weights / scale).astype(np.uint8)
    return Kernels(
        layer=first.name,
        tiles=np.ascontiguousarray(tiles.transpose(0, 2, 3, 1)),
        largest=largest.astype(np.float32),
        towers=_towers(network, first),
    )


def _towers(network: Network, first: Conv) -> int:
    """In how many parts the next convolution takes what the first one gives."""
    behind = network.layers[network.layers.index(first) + 1 :]
    groups = next((layer.groups for layer in behind if isinstance(layer, Conv)), 1)
    return groups if first.filters % groups == 0 else 1

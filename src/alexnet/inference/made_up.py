"""Pictures of nothing, for what needs some and has none: ranges without data, and speed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alexnet.architecture.network import Network
from alexnet.images import views

_MADE_UP = 64


def made_up(network: Network, count: int = _MADE_UP) -> npt.NDArray[np.uint8]:
    """Pictures of smooth random colours, (count, H, W, 3): the same each time.

    Raises NetworkError for a network that takes no colour pictures.
    """
    network.check_takes_colours()
    random = np.random.default_rng(0)
    height, width = network.input[:2]
    coarse = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    squares = [views.resized(each, height, width) for each in coarse]
    return np.stack(squares)

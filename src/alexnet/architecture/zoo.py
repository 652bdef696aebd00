"""The networks that go by a name here, as data; every figure of them is computed in summary.py."""

from __future__ import annotations

import os
from pathlib import Path

from alexnet.architecture.layers import Conv, Dense, Flatten, MaxPool, ReLU
from alexnet.architecture.network import Network, read_network, suggest
from alexnet.errors import NetworkError

# The notes print pool1 with stride 4 and pool2 with stride 3 beside outputs that need 2 and 2; the
# outputs are what the rest of their table stands on (docs/notes.md). They are silent on ReLU between the
# fully connected layers: there is one, as in Krizhevsky et al. 2012, section 3.5, and none after the last.
NOTES = Network(
    name="notes",
    source='One Fourth Labs, PadhAI: CNN Architectures, "Understanding all the layers of AlexNet"',
    input=(227, 227, 3),
    layers=(
        Conv(name="conv1", filters=96, kernel=11, stride=4),
        ReLU(name="relu1"),
        MaxPool(name="pool1", kernel=3, stride=2),
        Conv(name="conv2", filters=256, kernel=5),
        ReLU(name="relu2"),
        MaxPool(name="pool2", kernel=3, stride=2),
        Conv(name="conv3", filters=384, kernel=3),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=384, kernel=3),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=256, kernel=3),
        ReLU(name="relu5"),
        MaxPool(name="pool3", kernel=3, stride=2),
        Flatten(name="flatten"),
        Dense(name="fc1", units=4096),
        ReLU(name="relu6"),
        Dense(name="fc2", units=4096),
        ReLU(name="relu7"),
        Dense(name="fc3", units=1000),
    ),
)

NETWORKS: dict[str, Network] = {network.name: network for network in (NOTES,)}


def get_network(spec: str | Path) -> Network:
    """The network of that name, or the one that a TOML or weights file holds.

    >>> get_network("notes").input
    (227, 227, 3)

    Raises NetworkError with the nearest name where there is neither.
    """
    if str(spec) in NETWORKS:
        return NETWORKS[str(spec)]
    is_file = os.path.isfile(spec)  # noqa: PTH113  # Path.is_file raises where a name is too long
    if is_file or Path(spec).suffix in (".toml", ".safetensors"):
        return read_network(spec)
    raise NetworkError(f"network '{spec}': unknown; {suggest(str(spec), NETWORKS)}, or a TOML file")

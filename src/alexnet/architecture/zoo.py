"""The networks that go by a name here, as data; every figure of them is computed.

Layers are named as their source names them, or as Caffe does where it does not.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from alexnet.architecture.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    ReLU,
)
from alexnet.architecture.network import Network, edit, read_network, suggest
from alexnet.errors import NetworkError

# The notes print pool1 with stride 4 and pool2 with stride 3 beside outputs that need 2 and 2; the
# outputs are what the rest of their table stands on (README.md). They are silent on ReLU between the
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

# The paper says 224; with sizes rounded down, as here, 55 needs 227. Its formula for the normalisation has
# alpha times the sum of squares. Initial weights and biases: section 5.
PAPER = Network(
    name="paper",
    source="Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural "
    "Networks, NIPS 2012, section 3; 227 for its 224",
    input=(227, 227, 3),
    layers=(
        Conv(name="conv1", filters=96, kernel=11, stride=4, weight_deviation=0.01, bias=0.0),
        ReLU(name="relu1"),
        LocalResponseNorm(name="norm1", mean=False),
        MaxPool(name="pool1", kernel=3, stride=2),
        Conv(name="conv2", filters=256, kernel=5, padding=2, groups=2, weight_deviation=0.01, bias=1.0),
        ReLU(name="relu2"),
        LocalResponseNorm(name="norm2", mean=False),
        MaxPool(name="pool2", kernel=3, stride=2),
        Conv(name="conv3", filters=384, kernel=3, padding=1, weight_deviation=0.01, bias=0.0),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=384, kernel=3, padding=1, groups=2, weight_deviation=0.01, bias=1.0),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=256, kernel=3, padding=1, groups=2, weight_deviation=0.01, bias=1.0),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2),
        Flatten(name="flatten"),
        Dense(name="fc6", units=4096, weight_deviation=0.01, bias=1.0),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=4096, weight_deviation=0.01, bias=1.0),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=1000, weight_deviation=0.01, bias=0.0),
    ),
)

# Sizes round up (layer.py), so 224 makes 55; the first normalisation is before pooling and ReLU, and alpha is
# over the mean of squares; biases learn at twice the weights' rate.
SOURCE2012 = Network(
    name="source2012",
    source="the code released with the paper: layers-145.cfg, layer-params-145.cfg, layer.py",
    input=(224, 224, 3),
    layers=(
        Conv(
            name="conv1",
            filters=96,
            kernel=11,
            stride=4,
            rounding="up",
            weight_deviation=0.01,
            bias=0.0,
            bias_rate=2.0,
        ),
        LocalResponseNorm(name="norm1"),
        MaxPool(name="pool1", kernel=3, stride=2, rounding="up"),
        ReLU(name="relu1"),
        Conv(
            name="conv2",
            filters=256,
            kernel=5,
            padding=2,
            groups=2,
            rounding="up",
            weight_deviation=0.01,
            bias=1.0,
            bias_rate=2.0,
        ),
        ReLU(name="relu2"),
        LocalResponseNorm(name="norm2"),
        MaxPool(name="pool2", kernel=3, stride=2, rounding="up"),
        Conv(
            name="conv3",
            filters=384,
            kernel=3,
            padding=1,
            rounding="up",
            weight_deviation=0.03,
            bias=0.0,
            bias_rate=2.0,
        ),
        ReLU(name="relu3"),
        Conv(
            name="conv4",
            filters=384,
            kernel=3,
            padding=1,
            groups=2,
            rounding="up",
            weight_deviation=0.03,
            bias=1.0,
            bias_rate=2.0,
        ),
        ReLU(name="relu4"),
        Conv(
            name="conv5",
            filters=256,
            kernel=3,
            padding=1,
            groups=2,
            rounding="up",
            weight_deviation=0.03,
            bias=1.0,
            bias_rate=2.0,
        ),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2, rounding="up"),
        Flatten(name="flatten"),
        Dense(name="fc6", units=4096, weight_deviation=0.01, bias=1.0, bias_rate=2.0),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=4096, weight_deviation=0.01, bias=1.0, bias_rate=2.0),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=1000, weight_deviation=0.01, bias=0.0, bias_rate=2.0),
    ),
)

# Pooling before normalisation, whose k is Caffe's default, 1; Caffe's pooling rounds up.
CAFFENET = Network(
    name="caffenet",
    source="BVLC, Caffe: models/bvlc_reference_caffenet",
    input=(227, 227, 3),
    layers=(
        Conv(name="conv1", filters=96, kernel=11, stride=4),
        ReLU(name="relu1"),
        MaxPool(name="pool1", kernel=3, stride=2, rounding="up"),
        LocalResponseNorm(name="norm1", k=1.0),
        Conv(name="conv2", filters=256, kernel=5, padding=2, groups=2),
        ReLU(name="relu2"),
        MaxPool(name="pool2", kernel=3, stride=2, rounding="up"),
        LocalResponseNorm(name="norm2", k=1.0),
        Conv(name="conv3", filters=384, kernel=3, padding=1),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=384, kernel=3, padding=1, groups=2),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=256, kernel=3, padding=1, groups=2),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2, rounding="up"),
        Flatten(name="flatten"),
        Dense(name="fc6", units=4096),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=4096),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=1000),
    ),
)

TORCHVISION = Network(
    name="torchvision",
    source="torchvision.models.alexnet",
    input=(224, 224, 3),
    layers=(
        Conv(name="conv1", filters=64, kernel=11, stride=4, padding=2),
        ReLU(name="relu1"),
        MaxPool(name="pool1", kernel=3, stride=2),
        Conv(name="conv2", filters=192, kernel=5, padding=2),
        ReLU(name="relu2"),
        MaxPool(name="pool2", kernel=3, stride=2),
        Conv(name="conv3", filters=384, kernel=3, padding=1),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=256, kernel=3, padding=1),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=256, kernel=3, padding=1),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2),
        AdaptiveAvgPool(name="avgpool", size=6),
        Flatten(name="flatten"),
        Dropout(name="drop6"),
        Dense(name="fc6", units=4096),
        ReLU(name="relu6"),
        Dropout(name="drop7"),
        Dense(name="fc7", units=4096),
        ReLU(name="relu7"),
        Dense(name="fc8", units=1000),
    ),
)


def _without(network: Network, *names: str) -> Network:
    return replace(network, layers=tuple(layer for layer in network.layers if layer.name not in names))


# The one that is drawn in blogs and answers: one tower, no normalisation.
UNGROUPED = replace(
    edit(
        _without(CAFFENET, "norm1", "norm2"),
        *(f"{name}.groups=1" for name in ("conv2", "conv4", "conv5")),
        *(f"{name}.rounding=down" for name in ("pool1", "pool2", "pool5")),
    ),
    name="ungrouped",
    source="LearnOpenCV and others: the 2012 network in one tower, without normalisation",
)

WEIRD_TRICK = replace(
    edit(_without(TORCHVISION, "avgpool"), "conv4.filters=384"),
    name="weird-trick",
    source="Krizhevsky, One weird trick for parallelizing convolutional neural networks, "
    "arXiv:1404.5997, its footnote",
)

SMALL = Network(
    name="small",
    source="here: the same eight layers for pictures of 32x32, which a laptop trains in minutes",
    input=(32, 32, 3),
    layers=(
        Conv(name="conv1", filters=48, kernel=5, padding=2),
        ReLU(name="relu1"),
        MaxPool(name="pool1", kernel=3, stride=2),
        Conv(name="conv2", filters=128, kernel=3, padding=1),
        ReLU(name="relu2"),
        MaxPool(name="pool2", kernel=3, stride=2),
        Conv(name="conv3", filters=192, kernel=3, padding=1),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=192, kernel=3, padding=1),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=128, kernel=3, padding=1),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2),
        Flatten(name="flatten"),
        Dense(name="fc6", units=1024),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=1024),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=10),
    ),
)

# Not AlexNets: the language is not only theirs.
ZFNET = Network(
    name="zfnet",
    source="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, figure 3",
    input=(224, 224, 3),
    layers=(
        Conv(name="conv1", filters=96, kernel=7, stride=2, padding=1),
        ReLU(name="relu1"),
        MaxPool(name="pool1", kernel=3, stride=2, rounding="up"),
        Conv(name="conv2", filters=256, kernel=5, stride=2),
        ReLU(name="relu2"),
        MaxPool(name="pool2", kernel=3, stride=2, rounding="up"),
        Conv(name="conv3", filters=384, kernel=3, padding=1),
        ReLU(name="relu3"),
        Conv(name="conv4", filters=384, kernel=3, padding=1),
        ReLU(name="relu4"),
        Conv(name="conv5", filters=256, kernel=3, padding=1),
        ReLU(name="relu5"),
        MaxPool(name="pool5", kernel=3, stride=2),
        Flatten(name="flatten"),
        Dense(name="fc6", units=4096),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=4096),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=1000),
    ),
)


def _vgg_block(block: int, *, filters: int, convolutions: int) -> tuple[Conv | ReLU | MaxPool, ...]:
    layers: list[Conv | ReLU | MaxPool] = []
    for number in range(1, convolutions + 1):
        layers.append(Conv(name=f"conv{block}_{number}", filters=filters, kernel=3, padding=1))
        layers.append(ReLU(name=f"relu{block}_{number}"))
    return (*layers, MaxPool(name=f"pool{block}", kernel=2, stride=2))


VGG16 = Network(
    name="vgg16",
    source="Simonyan and Zisserman, Very Deep Convolutional Networks, arXiv:1409.1556, table 1, column D",
    input=(224, 224, 3),
    layers=(
        *_vgg_block(1, filters=64, convolutions=2),
        *_vgg_block(2, filters=128, convolutions=2),
        *_vgg_block(3, filters=256, convolutions=3),
        *_vgg_block(4, filters=512, convolutions=3),
        *_vgg_block(5, filters=512, convolutions=3),
        Flatten(name="flatten"),
        Dense(name="fc6", units=4096),
        ReLU(name="relu6"),
        Dropout(name="drop6"),
        Dense(name="fc7", units=4096),
        ReLU(name="relu7"),
        Dropout(name="drop7"),
        Dense(name="fc8", units=1000),
    ),
)

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        NOTES,
        PAPER,
        SOURCE2012,
        CAFFENET,
        UNGROUPED,
        TORCHVISION,
        WEIRD_TRICK,
        SMALL,
        ZFNET,
        VGG16,
    )
}


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

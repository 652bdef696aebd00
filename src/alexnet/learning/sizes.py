"""The sizes of the pictures that a run trains on: small ones first, which take a fraction of the time.

A network that ends in fully connected layers takes pictures of one size. While it trains on smaller ones, its
last pooling spreads its windows over the smaller maps, so that it gives as many values as ever: multi-size
training, He, Zhang, Ren and Sun 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.3.
On pictures of the network's own size it is the pooling that it always was, and the network the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, takewhile

from alexnet.architecture.layers import AdaptiveAvgPool, Conv, Flatten, MaxPool
from alexnet.architecture.network import Network
from alexnet.architecture.summary import MisfitError, summarize

Size = tuple[int, int]  # height and width, in pixels

GROWN = 0.8  # share of a run after which all pictures have the network's own size


@dataclass(frozen=True, kw_only=True)
class LastPool:
    """The pooling that can give the fully connected layers what they take from maps of any size."""

    layer: MaxPool | AdaptiveAvgPool
    place: int  # in the network's layers
    entering: Size  # of the maps that it takes where pictures have the network's own size
    leaving: Size  # of those that it gives, always


def last_pool(network: Network) -> LastPool | None:
    """The network's, where no other layer with windows comes between it and the flattening; else None."""
    before = list(takewhile(lambda layer: not isinstance(layer, Flatten), network.layers))
    if len(before) == len(network.layers):
        return None
    for place, layer in reversed(list(enumerate(before))):
        if isinstance(layer, MaxPool | AdaptiveAvgPool):
            row = summarize(network).layers[place]
            (height, width, _), (rows, columns, _) = row.input, row.output
            return LastPool(layer=layer, place=place, entering=(height, width), leaving=(rows, columns))
        if isinstance(layer, Conv):
            break
    return None


def picture_sizes(network: Network, *, smallest: float) -> tuple[Size, ...]:
    """The sizes that the network can be trained on, in growing order; its own is the last.

    Each is smaller than the next by the pixels from one value of the last pooling to its neighbour, so that
    windows meet the pictures' edges alike, and none has less than `smallest`, a share, of the own size's
    height and width.
    """
    height, width, depth = network.input
    pool = last_pool(network)
    if pool is None:
        return ((height, width),)
    rows = summarize(network).layers[: pool.place + 1]
    # An adaptive pooling has none: then it is that of the maps that it takes.
    step = next((row.receptive_stride for row in reversed(rows) if row.receptive_stride is not None), 1)
    sizes = [(height, width)]
    for less in count(step, step):
        size = (height - less, width - less)
        if min(size[0] / height, size[1] / width) < smallest:
            break
        try:
            if pool.place:
                summarize(replace(network, input=(*size, depth), layers=network.layers[: pool.place]))
        except MisfitError:
            break
        sizes.append(size)
    return tuple(reversed(sizes))


def size_at(sizes: tuple[Size, ...], share: float) -> Size:
    """Of the pictures when a `share`, 0 to 1, of the run is done: the smaller ones have equal parts of GROWN.

    >>> [size_at(((163, 163), (195, 195), (227, 227)), share)[0] for share in (0.0, 0.39, 0.41, 0.81, 1.0)]
    [163, 163, 195, 227, 227]
    """
    smaller = len(sizes) - 1
    return sizes[min(int(share / GROWN * smaller), smaller)]


def work_done(sizes: tuple[Size, ...], share: float) -> float:
    """How much of a run's work a `share` of its steps is, 0 to 1, where a step's work goes by its pixels.

    >>> round(work_done(((100, 100), (200, 200)), 0.4), 3)  # of 0.8 of the steps at a quarter of the work
    0.25
    """
    parts = [GROWN / (len(sizes) - 1)] * (len(sizes) - 1) if len(sizes) > 1 else []
    parts.append(1.0 - sum(parts))
    done = whole = begun = 0.0
    for part, (height, width) in zip(parts, sizes, strict=True):
        whole += part * height * width
        done += min(max(share - begun, 0.0), part) * height * width
        begun += part
    return done / whole

"""sentence(layer, row) -> what a layer does, in one sentence with its own figures in it."""

from __future__ import annotations

from typing import assert_never

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    ReLU,
)


def sentence(layer: Layer, row: LayerSummary) -> str:
    """What `layer` does to what reaches it, where `row` is its summary.

    >>> from alexnet import NOTES, summarize
    >>> sentence(NOTES.layer("pool1"), summarize(NOTES).layers[2])
    'Keeps the largest value of every 3x3 window, 2 apart: 55x55 becomes 27x27, and nothing is learned.'
    """
    match layer:
        case Conv():
            seen = row.input[2] // layer.groups
            parts = f", in {layer.groups} groups that each see {seen} channels" if layer.groups > 1 else ""
            zeros = f", {counted(layer.padding, 'zero')} around it" if layer.padding else ""
            zeros += (
                f", {counted(layer.extra_padding, 'zero')} more at its bottom and right"
                if layer.extra_padding
                else ""
            )
            return (
                f"Slides {layer.filters} kernels of {layer.kernel}x{layer.kernel}x{seen} over its input"
                f"{zeros}, {layer.stride} apart{parts}: each makes one map of {shape_text(row.output[:2])}."
            )
        case MaxPool():
            return (
                f"Keeps the largest value of every {layer.kernel}x{layer.kernel} window, {layer.stride} "
                f"apart: {shape_text(row.input[:2])} becomes {shape_text(row.output[:2])}, and nothing is "
                f"learned."
            )
        case AdaptiveAvgPool():
            return (
                f"Takes the means of {layer.size}x{layer.size} = {layer.size**2} windows spread over each "
                f"map: {shape_text(row.input[:2])} becomes {shape_text(row.output[:2])}, whatever came in."
            )
        case LocalResponseNorm():
            return (
                f"Divides each value by what {layer.size} neighbouring channels hold at its place: a strong "
                f"one quietens those beside it."
            )
        case ReLU():
            return f"Sets every negative value to zero; the shape stays {shape_text(row.output)}."
        case Dropout():
            return f"While training, zeroes {layer.rate:.0%} of the values at random; else it does nothing."
        case Flatten():
            return f"Lays the {shape_text(row.input)} values out as one vector of {shape_text(row.output)}."
        case Dense():
            return (
                f"Joins each of its {layer.units:,} units to all {row.input[0]:,} values: "
                f"{row.weights:,} weights."
            )
        case _:
            assert_never(layer)


def carrying(layers: int, which: str = "") -> str:
    """That so many layers carry weights, or, with `which`, the layers that do.

    >>> carrying(8), carrying(1, "that")
    ('8 layers carry weights', '1 layer that carries weights')
    """
    return " ".join(
        [counted(layers, "layer"), *which.split(), "carries" if layers == 1 else "carry", "weights"]
    )


def counted(count: int, what: str) -> str:
    """So many of something, in words.

    >>> counted(1, "zero"), counted(2, "zero")
    ('1 zero', '2 zeros')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"

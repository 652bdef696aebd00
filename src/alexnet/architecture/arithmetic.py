"""The arithmetic of one layer: what it makes of what reaches it, each figure with its formula.

Conventions: a multiply and its add are one MAC; biases, activations and pooling cost none. Neurons are the
outputs of layers that carry weights. Bytes are those of float32. Sizes that do not divide round down unless
a layer says up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import gcd, prod
from typing import assert_never

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
from alexnet.architecture.network import Shape

BYTES_PER_VALUE = 4  # float32


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """What part of the picture one value looks at."""

    size: int  # side of the square, in pixels of the picture, padding included
    stride: int | None  # pixels from one value's square to its neighbour's; None where that varies or is none
    start: (
        int | None
    )  # pixel, from the top or left edge, at which the first value's square begins; None likewise
    span: int  # side of what all values together look at


def whole_picture(shape: Shape) -> ReceptiveField:
    """The receptive field of a pixel, before the first layer."""
    return ReceptiveField(size=1, stride=1, start=0, span=max(shape[:2]))


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """Every figure of one layer in its place."""

    name: str
    kind: str
    input: Shape  # (height, width, depth), or (length,)
    output: Shape  # the same
    filters: int | None = None  # K, of convolutions
    kernel: int | None = None  # F, of layers with windows
    stride: int | None = None  # S
    padding: int | None = None  # P
    groups: int | None = None  # of convolutions
    cut_off: Shape | None = None  # rows and columns at the bottom and right that no window reaches
    beyond: Shape | None = None  # rows and columns behind the padded input that rounding up takes in
    weights: int = 0
    biases: int = 0
    macs: int = 0  # for one picture
    neurons: int = 0  # outputs, where the layer carries weights
    parameter_bytes: int = 0  # weights and biases
    activation_bytes: int = 0  # the output, for one picture
    receptive_field: int = 1  # side, in pixels of the picture
    receptive_stride: int | None = None  # pixels of the picture between neighbours; None where it varies
    receptive_start: int | None = (
        None  # pixel at which the first one begins, below 0 in padding; None likewise
    )
    fully_connected_weights: int | None = None  # if every output saw every input; of convolutions
    formulas: dict[str, str] = field(default_factory=dict)  # figure -> its arithmetic with its numbers

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Why a layer cannot take what reaches it."""

    reason: str
    remedy: str = ""


def shape_text(shape: Shape) -> str:
    """A shape as the notes write it.

    >>> shape_text((55, 55, 96)), shape_text((1024,))
    ('55x55x96', '1,024')
    """
    return f"{shape[0]:,}" if len(shape) == 1 else "x".join(str(size) for size in shape)


def window_text(kernel: int) -> str:
    """A window in words.

    >>> window_text(3), window_text(11)
    ('a 3x3 window', 'an 11x11 window')
    """
    return f"{'an' if kernel in (11, 18) or str(kernel).startswith('8') else 'a'} {kernel}x{kernel} window"


def windows(size: int, layer: Conv | MaxPool) -> int:
    """How many of the layer's windows fit along one side of `size` pixels; 0 where not even one does.

    Rounding up, the last window may reach beyond the padded input, but not begin beyond it (as in PyTorch
    and Caffe).

    >>> windows(227, Conv(name="conv1", filters=96, kernel=11, stride=4))
    55
    >>> windows(224, Conv(name="conv1", filters=96, kernel=11, stride=4, rounding="up"))
    55
    """
    steps, rest = divmod(_room(size, layer), layer.stride)
    count = steps + 1
    if layer.rounding == "up" and rest and not _begins_beyond(size, layer, count):
        count += 1
    return max(0, count)


def _room(size: int, layer: Conv | MaxPool) -> int:
    """Pixels that a window can move along one side, padding included."""
    return size - layer.kernel + 2 * layer.padding + _extra(layer)


def _extra(layer: Conv | MaxPool) -> int:
    return layer.extra_padding if isinstance(layer, Conv) else 0


def _begins_beyond(size: int, layer: Conv | MaxPool, window: int) -> bool:
    return window * layer.stride >= size + layer.padding


def output_shape(layer: Layer, entering: Shape) -> Shape | Misfit:
    """The shape that `layer` makes of `entering`, or why it cannot."""
    if isinstance(layer, Conv | MaxPool | AdaptiveAvgPool | LocalResponseNorm) and len(entering) != 3:
        return Misfit(
            reason=f"{layer.kind} takes a volume, got a vector of {shape_text(entering)}",
            remedy="put it before the flatten layer",
        )
    match layer:
        case Conv() | MaxPool():
            height, width = (windows(size, layer) for size in entering[:2])
            if not (height and width):
                padded = f" with padding {layer.padding} on each side" if layer.padding else ""
                return Misfit(
                    reason=f"{window_text(layer.kernel)} does not fit in {entering[0]}x{entering[1]}{padded}"
                )
            if isinstance(layer, Conv) and entering[2] % layer.groups:
                return Misfit(
                    reason=f"an input depth of {entering[2]} does not divide into {layer.groups} groups",
                    remedy=f"set {layer.name}.groups to a divisor of {entering[2]}",
                )
            return (height, width, layer.filters if isinstance(layer, Conv) else entering[2])
        case AdaptiveAvgPool():
            return (layer.size, layer.size, entering[2])
        case LocalResponseNorm() | ReLU() | Dropout():
            return entering
        case Flatten():
            return (prod(entering),)
        case Dense():
            if len(entering) != 1:
                return Misfit(
                    reason=f"dense takes a vector, got a {shape_text(entering)} volume",
                    remedy="put a flatten layer before it",
                )
            return (layer.units,)
        case _:
            assert_never(layer)


def receptive_field(layer: Layer, entering: Shape, before: ReceptiveField) -> ReceptiveField:
    """What one output of `layer` sees of the picture, where one of its inputs sees `before`."""
    match layer:
        case Conv() | MaxPool() if before.stride is not None and before.start is not None:
            size, stride = before.size + (layer.kernel - 1) * before.stride, before.stride * layer.stride
            start = before.start - layer.padding * before.stride
            longer = max(windows(side, layer) for side in entering[:2])
            return ReceptiveField(size=size, stride=stride, start=start, span=size + (longer - 1) * stride)
        case Conv() | MaxPool():
            return replace(before, size=before.span)  # behind uneven windows: no more is said
        case AdaptiveAvgPool():
            side = max(entering[:2])
            widest = max(_widest_adaptive_window(each, layer.size) for each in entering[:2])
            even = before.stride is not None and entering[0] == entering[1] and side % layer.size == 0
            return ReceptiveField(
                size=before.span if before.stride is None else before.size + (widest - 1) * before.stride,
                stride=before.stride * (side // layer.size) if even and before.stride else None,
                start=before.start if even else None,
                span=before.span,
            )
        case Flatten():
            return replace(before, size=before.span, stride=None, start=None)
        case LocalResponseNorm() | ReLU() | Dropout():
            return before
        case Dense():
            return replace(before, size=before.span, stride=None, start=None)
        case _:
            assert_never(layer)


def _widest_adaptive_window(side: int, count: int) -> int:
    """Pixels of the widest of `count` windows over `side`: each begins rounded down and ends rounded up.

    In lowest terms, side s and count c, every remainder of i s by c is some window's, which has
    ceil((remainder + s) / c) pixels: the widest is that of the largest remainder, c - 1.
    """
    common = gcd(side, count)
    side, count = side // common, count // common
    return -(-(count - 1 + side) // count)


def layer_summary(layer: Layer, entering: Shape, before: ReceptiveField) -> LayerSummary | Misfit:
    """Every figure of `layer` where `entering` reaches it and each of those values sees `before`."""
    leaving = output_shape(layer, entering)
    if isinstance(leaving, Misfit):
        return leaving
    sees = receptive_field(layer, entering, before)
    weights, weights_formula = _weights(layer, entering)
    biases = leaving[-1] if weights else 0
    macs = weights * prod(leaving[:-1])
    neurons = prod(leaving) if weights else 0
    windowed = layer if isinstance(layer, Conv | MaxPool) else None
    dense_weights = prod(entering) * prod(leaving) if isinstance(layer, Conv) else None

    formulas = _output_formulas(layer, entering, leaving)
    if weights:
        formulas["weights"] = f"{weights_formula} = {weights:,}"
        formulas["biases"] = f"one for each {'filter' if windowed else 'unit'} = {biases:,}"
        positions = f" x ({shape_text(leaving[:2])})" if windowed else ""
        formulas["macs"] = f"{weights_formula}{positions} = {macs:,}"
        formulas["neurons"] = f"{shape_text(leaving) if windowed else 'one for each unit'} = {neurons:,}"
        formulas["parameter_bytes"] = (
            f"({weights:,} + {biases:,}) x {BYTES_PER_VALUE} = {(weights + biases) * BYTES_PER_VALUE:,}"
        )
    activation_bytes = prod(leaving) * BYTES_PER_VALUE
    formulas["activation_bytes"] = f"{shape_text(leaving)} x {BYTES_PER_VALUE} = {activation_bytes:,}"
    formulas |= _receptive_formulas(layer, entering, before, sees)
    if dense_weights is not None:
        formulas["fully_connected_weights"] = (
            f"({shape_text(entering)}) x ({shape_text(leaving)}) = {dense_weights:,}"
        )
    return LayerSummary(
        name=layer.name,
        kind=layer.kind,
        input=entering,
        output=leaving,
        filters=layer.filters if isinstance(layer, Conv) else None,
        kernel=windowed.kernel if windowed else None,
        stride=windowed.stride if windowed else None,
        padding=windowed.padding if windowed else None,
        groups=layer.groups if isinstance(layer, Conv) else None,
        cut_off=tuple(max(0, rest) for rest in _rests(windowed, entering)) if windowed else None,
        beyond=tuple(max(0, -rest) for rest in _rests(windowed, entering)) if windowed else None,
        weights=weights,
        biases=biases,
        macs=macs,
        neurons=neurons,
        parameter_bytes=(weights + biases) * BYTES_PER_VALUE,
        activation_bytes=activation_bytes,
        receptive_field=sees.size,
        receptive_stride=sees.stride,
        receptive_start=sees.start,
        fully_connected_weights=dense_weights,
        formulas=formulas,
    )


def _weights(layer: Layer, entering: Shape) -> tuple[int, str]:
    match layer:
        case Conv():
            window = (layer.kernel, layer.kernel, entering[-1] // layer.groups)
            depth = f"({entering[-1]}/{layer.groups})" if layer.groups > 1 else str(window[2])
            seen = f"{layer.kernel}x{layer.kernel}x{depth}"
            return prod(window) * layer.filters, f"({seen}) x {layer.filters:,}"
        case Dense():
            return entering[0] * layer.units, f"{entering[0]:,} x {layer.units:,}"
        case MaxPool() | AdaptiveAvgPool() | LocalResponseNorm() | ReLU() | Dropout() | Flatten():
            return 0, ""
        case _:
            assert_never(layer)


def _rests(layer: Conv | MaxPool, entering: Shape) -> Shape:
    """Rows and columns, padding included, that lie behind the last window; below zero: that it lacks."""
    return tuple(_room(size, layer) - (windows(size, layer) - 1) * layer.stride for size in entering[:2])


def _output_formulas(layer: Layer, entering: Shape, leaving: Shape) -> dict[str, str]:
    match layer:
        case Conv() | MaxPool():
            height, width = (
                _windows_formula(layer, size, made)
                for size, made in zip(entering[:2], leaving[:2], strict=True)
            )
            depth = "one for each filter" if isinstance(layer, Conv) else "the depth of the input"
            return {"height": height, "width": width, "depth": f"{depth} = {leaving[2]}"}
        case Flatten():
            return {"output": f"{shape_text(entering)} = {leaving[0]:,}"}
        case Dense():
            return {"output": f"one for each unit = {leaving[0]:,}"}
        case AdaptiveAvgPool():
            depth = f"the depth of the input = {leaving[2]}"
            return {"height": f"its size = {layer.size}", "width": f"its size = {layer.size}", "depth": depth}
        case LocalResponseNorm() | ReLU() | Dropout():
            return {"output": f"the shape of the input = {shape_text(leaving)}"}
        case _:
            assert_never(layer)


def _windows_formula(layer: Conv | MaxPool, size: int, made: int) -> str:
    extra = f" + {_extra(layer)}" if _extra(layer) else ""
    quotient = f"({size} - {layer.kernel} + 2x{layer.padding}{extra})/{layer.stride}"
    steps, rest = divmod(_room(size, layer), layer.stride)
    if not rest:
        return f"{quotient} + 1 = {made}"
    # A last window that would begin beyond the input is left out: as many as rounding down gives.
    rounded = "ceil" if made > steps + 1 else "floor"
    return f"{rounded}({quotient}) + 1 = {made}"


def _receptive_formulas(
    layer: Layer, entering: Shape, before: ReceptiveField, sees: ReceptiveField
) -> dict[str, str]:
    match layer:
        case Conv() | MaxPool() if before.stride is not None:
            return {
                "receptive_field": f"{before.size} + ({layer.kernel} - 1) x {before.stride} = {sees.size}",
                "receptive_stride": f"{before.stride} x {layer.stride} = {sees.stride}",
                "receptive_start": f"{before.start} - {layer.padding} x {before.stride} = {sees.start}",
            }
        case Flatten() if len(entering) == 3 and before.stride is not None:
            longer = max(entering[:2])
            return {"receptive_field": f"{before.size} + ({longer} - 1) x {before.stride} = {sees.size}"}
        case AdaptiveAvgPool() if before.stride is not None:
            widest = (sees.size - before.size) // before.stride + 1
            told = f"{before.size} + ({widest} - 1) x {before.stride} = {sees.size}"
            return {"receptive_field": f"that of its widest window: {told}"}
        case AdaptiveAvgPool() | Conv() | MaxPool():
            return {"receptive_field": f"at most what all of its input sees = {sees.size}"}
        case LocalResponseNorm() | ReLU() | Dropout() | Flatten() | Dense():
            return {"receptive_field": f"that of the input = {sees.size}"}
        case _:
            assert_never(layer)

"""The arithmetic of one layer: what it makes of what reaches it, each figure with its formula.

Conventions: a multiply and its add are one MAC; biases, activations and pooling cost none. Neurons are the
outputs of layers that carry weights. Bytes are those of float32. Sizes that do not divide round down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import assert_never

from alexnet.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool, ReLU
from alexnet.architecture.network import Shape

BYTES_PER_VALUE = 4  # float32


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """What part of the picture one value looks at."""

    size: int = 1  # side of the square, in pixels of the picture, padding included
    stride: int | None = 1  # pixels from one value's square to its neighbour's; None for a vector


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
    cut_off: Shape | None = None  # rows and columns at the bottom and right that no window reaches
    weights: int = 0
    biases: int = 0
    macs: int = 0  # for one picture
    neurons: int = 0  # outputs, where the layer carries weights
    parameter_bytes: int = 0  # weights and biases
    activation_bytes: int = 0  # the output, for one picture
    receptive_field: int = 1  # side, in pixels of the picture
    receptive_stride: int | None = None  # pixels of the picture between neighbours; None for a vector
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


def windows(size: int, *, kernel: int, stride: int, padding: int) -> int:
    """How many windows fit along one side of `size` pixels; 0 where not even one does.

    >>> windows(227, kernel=11, stride=4, padding=0)
    55
    """
    return max(0, (size - kernel + 2 * padding) // stride + 1)


def output_shape(layer: Layer, entering: Shape) -> Shape | Misfit:
    """The shape that `layer` makes of `entering`, or why it cannot."""
    match layer:
        case Conv() | MaxPool():
            if len(entering) != 3:
                return Misfit(
                    reason=f"{layer.kind} takes a volume, got a vector of {shape_text(entering)}",
                    remedy="put it before the flatten layer",
                )
            height, width = (
                windows(size, kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
                for size in entering[:2]
            )
            if not (height and width):
                padded = f" with padding {layer.padding} on each side" if layer.padding else ""
                return Misfit(
                    reason=f"a {layer.kernel}x{layer.kernel} window does not fit in "
                    f"{entering[0]}x{entering[1]}{padded}"
                )
            return (height, width, layer.filters if isinstance(layer, Conv) else entering[2])
        case ReLU():
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
    stride = before.stride or 0
    match layer:
        case Conv() | MaxPool():
            return ReceptiveField(
                size=before.size + (layer.kernel - 1) * stride,
                stride=stride * layer.stride,
            )
        case Flatten() if len(entering) == 3:
            return ReceptiveField(size=before.size + (max(entering[:2]) - 1) * stride, stride=None)
        case ReLU() | Flatten() | Dense():
            return before
        case _:
            assert_never(layer)


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
        cut_off=_cut_off(windowed, entering) if windowed else None,
        weights=weights,
        biases=biases,
        macs=macs,
        neurons=neurons,
        parameter_bytes=(weights + biases) * BYTES_PER_VALUE,
        activation_bytes=activation_bytes,
        receptive_field=sees.size,
        receptive_stride=sees.stride,
        fully_connected_weights=dense_weights,
        formulas=formulas,
    )


def _weights(layer: Layer, entering: Shape) -> tuple[int, str]:
    match layer:
        case Conv():
            window = (layer.kernel, layer.kernel, entering[-1])
            return prod(window) * layer.filters, f"({shape_text(window)}) x {layer.filters:,}"
        case Dense():
            return entering[0] * layer.units, f"{entering[0]:,} x {layer.units:,}"
        case MaxPool() | ReLU() | Flatten():
            return 0, ""
        case _:
            assert_never(layer)


def _cut_off(layer: Conv | MaxPool, entering: Shape) -> Shape:
    return tuple((size - layer.kernel + 2 * layer.padding) % layer.stride for size in entering[:2])


def _output_formulas(layer: Layer, entering: Shape, leaving: Shape) -> dict[str, str]:
    match layer:
        case Conv() | MaxPool():
            cut_off = _cut_off(layer, entering)
            height, width = (
                _windows_formula(layer, size, cut, made)
                for size, cut, made in zip(entering[:2], cut_off, leaving[:2], strict=True)
            )
            depth = "one for each filter" if isinstance(layer, Conv) else "the depth of the input"
            return {"height": height, "width": width, "depth": f"{depth} = {leaving[2]}"}
        case Flatten():
            return {"output": f"{shape_text(entering)} = {leaving[0]:,}"}
        case Dense():
            return {"output": f"one for each unit = {leaving[0]:,}"}
        case ReLU():
            return {"output": f"the shape of the input = {shape_text(leaving)}"}
        case _:
            assert_never(layer)


def _windows_formula(layer: Conv | MaxPool, size: int, cut: int, made: int) -> str:
    quotient = f"({size} - {layer.kernel} + 2x{layer.padding})/{layer.stride}"
    return f"{f'floor({quotient})' if cut else quotient} + 1 = {made}"


def _receptive_formulas(
    layer: Layer, entering: Shape, before: ReceptiveField, sees: ReceptiveField
) -> dict[str, str]:
    match layer:
        case Conv() | MaxPool():
            return {
                "receptive_field": f"{before.size} + ({layer.kernel} - 1) x {before.stride} = {sees.size}",
                "receptive_stride": f"{before.stride} x {layer.stride} = {sees.stride}",
            }
        case Flatten() if len(entering) == 3:
            longer = max(entering[:2])
            return {"receptive_field": f"{before.size} + ({longer} - 1) x {before.stride} = {sees.size}"}
        case ReLU() | Flatten() | Dense():
            return {"receptive_field": f"that of the input = {sees.size}"}
        case _:
            assert_never(layer)

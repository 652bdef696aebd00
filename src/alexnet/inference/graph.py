"""The network as an ONNX graph: uint8 pictures (N, H, W, 3) in, logits (N, classes) out, any N.

The graph is built from the description, layer by layer, in float32 or, where the activations' ranges are
given, in 8 bits as ONNX states them: between QuantizeLinear and DequantizeLinear. Normalisation is in it. A
first convolution without padding takes it into its weights; if it has a stride it runs over blocks of
stride x stride pixels as channels, as in training. Its input are then the raw pixels, which are 8-bit numbers
as they stand: nothing is cast and nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import numpy.typing as npt

from alexnet.architecture.arithmetic import LayerSummary
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
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.learning.weights_file import Floats

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "pictures", "logits"
OPSET = 17
_FILE_FORMAT = 8  # ONNX's IR version: what every onnxruntime since 1.11 reads
# Of 8-bit weights, which are symmetric. x86 processors without VNNI add two products of an activation, up to
# 255, and a weight in 16 bits: 2 x 255 x 63 fits, and the answers are the same on every processor.
_MAX_WEIGHT = 63


@dataclass(frozen=True, kw_only=True)
class Range:
    """Between what values an activation lies."""

    low: float  # at most 0
    high: float  # at least 0

    @property
    def step(self) -> float:
        """The difference of two neighbouring 8-bit values."""
        return max(self.high - self.low, 1e-12) / 255

    @property
    def zero(self) -> int:
        """Which 8-bit value stands for 0."""
        return round(-self.low / self.step)


@dataclass(frozen=True, kw_only=True)
class EightBits:
    """What 8-bit arithmetic needs to know besides the weights."""

    ranges: Mapping[str, Range]  # by layer: `rounded_layers`, and INPUT where the pixels are normalised
    in_float: frozenset[str] = frozenset()  # layers whose weights, sums and input stay float32


def tensor_of(layer: str) -> str:
    """What the output of a layer of that name is called in the graph."""
    return f"/{layer}" if layer in (INPUT, OUTPUT) else layer


def takes_raw_pixels(network: Network) -> bool:
    """Whether normalisation goes into the first layer: a convolution whose windows see pixels only."""
    first = network.layers[0]
    beyond = summarize(network).layers[0].beyond or (0, 0)
    return isinstance(first, Conv) and not (
        first.padding or first.extra_padding or any(beyond) or first.groups > 1
    )


def _fits_blocks(first: Conv) -> bool:
    """Of a layer that takes raw pixels."""
    return first.stride > 1


def rounded_layers(network: Network) -> tuple[str, ...]:
    """The layers whose outputs are rounded to 8 bits where the network is computed so.

    Where a ReLU follows, its output is; what only picks or moves values keeps the rounding of what it is
    given; the last layer's output is not rounded.
    """
    followed = zip(network.layers, network.layers[1:], strict=False)
    return tuple(
        layer.name
        for layer, after in followed
        if not isinstance(layer, MaxPool | Flatten | Dropout) and not isinstance(after, ReLU)
    )


def build(
    network: Network,
    tensors: Mapping[str, Floats],
    *,
    eight_bits: EightBits | None = None,
    seen: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> ModelProto:
    """The network with `tensors`, as a weights file has them, as an ONNX model with `metadata`.

    The outputs of the layers in `seen` are outputs, too.
    """
    from onnx import TensorProto, helper

    graph = _Graph(network=network, tensors=tensors, eight_bits=eight_bits)
    outputs = graph.build(seen)
    proto = helper.make_graph(
        graph.nodes,
        network.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", *network.input])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in outputs],
        graph.initializers,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_FILE_FORMAT,
        producer_name="alexnet",
    )
    helper.set_model_props(model, dict(metadata or {}))
    return model


@dataclass(kw_only=True)
class _Graph:
    """A graph being put together; each method that adds a layer takes and gives the name of a tensor."""

    network: Network
    tensors: Mapping[str, Floats]
    eight_bits: EightBits | None
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)

    def build(self, seen: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
        """Add everything; gives the outputs' names and shapes (channels first), without N."""
        rows = summarize(self.network).layers
        outputs: list[tuple[str, tuple[int, ...]]] = []
        flow, step = self._pixels()
        followers: list[Layer | None] = [*self.network.layers[1:], None]
        for layer, follower, row in zip(self.network.layers, followers, rows, strict=True):
            flow = self._layer(layer, row, flow, step)
            if layer.name in seen:
                outputs.append((flow, (row.output[-1], *row.output[:-1])))
            if follower is None:
                break
            if isinstance(layer, Dropout) or isinstance(follower, ReLU):
                continue
            if not isinstance(layer, MaxPool | Flatten):
                step = self._range(layer.name)
            if step is not None:
                flow = self._rounded(flow, step)
        self.add("Identity", [flow], name=OUTPUT)
        return [(OUTPUT, (self.network.classes,)), *outputs]

    # --- what reaches the first layer

    def _pixels(self) -> tuple[str, Range | None]:
        first, row = self.network.layers[0], summarize(self.network).layers[0]
        if not takes_raw_pixels(self.network):
            flow = self.add("Cast", [self.add("Transpose", [INPUT], perm=[0, 3, 1, 2])], to=_float_type())
            mean, scale = (self.tensors[f"normalize.{name}"][:, None, None] for name in ("mean", "scale"))
            flow = self.add("Sub", [flow, self.constant("mean", mean)])
            flow = self.add("Div", [flow, self.constant("scale", scale)])
            step = self._range(INPUT)
            return (self._rounded(flow, step), step) if step is not None else (flow, None)
        assert isinstance(first, Conv)
        if _fits_blocks(first):
            flow = self._blocks(first, row)
        else:
            flow = self.add("Transpose", [INPUT], perm=[0, 3, 1, 2])
        if self._is_in_eight_bits(first):
            pixels = Range(low=0.0, high=255.0)  # steps of 1 from 0: the values themselves
            return self._as_numbers(flow, pixels), pixels
        return self.add("Cast", [flow], to=_float_type()), None

    def _blocks(self, layer: Conv, row: LayerSummary) -> str:
        """(N, H, W, D) -> (N, stride x stride x D, rows, columns), of what the convolution's windows see."""
        stride, reach = layer.stride, -(-layer.kernel // layer.stride)
        height, width, depth = self.network.input
        rows, columns = row.output[0] - 1 + reach, row.output[1] - 1 + reach
        beyond = [0, 0, 0, 0, 0, rows * stride - height, columns * stride - width, 0]
        flow = INPUT
        if any(beyond):
            flow = self.add("Pad", [flow, self.constant("beyond", np.array(beyond, np.int64))])
        split = np.array([-1, rows, stride, columns, stride, depth], np.int64)
        flow = self.add("Reshape", [flow, self.constant("blocks", split)])
        flow = self.add("Transpose", [flow], perm=[0, 2, 4, 5, 1, 3])
        joined = np.array([-1, stride * stride * depth, rows, columns], np.int64)
        return self.add("Reshape", [flow, self.constant("channels", joined)])

    # --- layers

    def _layer(self, layer: Layer, row: LayerSummary, flow: str, step: Range | None) -> str:
        match layer:
            case Conv():
                return self._convolution(layer, row, flow, step)
            case Dense():
                return self._weighted("Gemm", layer, self.tensors[f"{layer.name}.weight"], flow, step)
            case MaxPool():
                bottom, right = row.beyond or (0, 0)
                ends = [layer.padding + bottom, layer.padding + right]
                return self.add(
                    "MaxPool",
                    [flow],
                    name=tensor_of(layer.name),
                    kernel_shape=[layer.kernel] * 2,
                    strides=[layer.stride] * 2,
                    pads=[layer.padding, layer.padding, *ends],
                )
            case AdaptiveAvgPool():
                return self._adaptive(layer, row, flow)
            case LocalResponseNorm():
                return self._response_norm(layer, row, flow)
            case ReLU():
                return self.add("Relu", [flow], name=tensor_of(layer.name))
            case Flatten():
                return self.add("Flatten", [flow], name=tensor_of(layer.name))
            case Dropout():
                return flow
            case _:
                assert_never(layer)

    def _convolution(self, layer: Conv, row: LayerSummary, flow: str, step: Range | None) -> str:
        weight, bottom_right = self.tensors[f"{layer.name}.weight"], row.beyond or (0, 0)
        stride = layer.stride
        if layer is self.network.layers[0] and takes_raw_pixels(self.network):
            weight = weight / self.tensors["normalize.scale"][:, None, None]
            if _fits_blocks(layer):
                weight, stride, bottom_right = blocked(weight, stride), 1, (0, 0)
        ends = [layer.padding + layer.extra_padding + beyond for beyond in bottom_right]
        pads = [layer.padding, layer.padding, *ends]
        if layer.kernel == 1 and stride > 1 and any(pads):
            # OpenVINO moves strides of 1x1 kernels to before the padding, and finds other shapes, or sums.
            weight = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))
            pads = [*pads[:2], *(end + 1 for end in pads[2:])]
        return self._weighted(
            "Conv",
            layer,
            weight,
            flow,
            step,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride] * 2,
            pads=pads,
            group=layer.groups,
        )

    def _weighted(
        self, kind: str, layer: Conv | Dense, weight: Floats, flow: str, step: Range | None, **settings: Any
    ) -> str:
        """A convolution or a matrix product; of 8-bit numbers where the layer is not in float."""
        name, bias = layer.name, self.tensors[f"{layer.name}.bias"].astype(np.float64)
        if step is not None and self._is_in_eight_bits(layer):
            largest = np.abs(weight).reshape(len(weight), -1).max(axis=1) / _MAX_WEIGHT
            # A filter that has hardly any weights: its bias, too, is a number of 32 bits in their steps.
            least = np.abs(bias - self._of_the_mean(layer, weight)) / step.step / 2**30
            steps = np.maximum(np.maximum(largest, least), 1e-12).astype(np.float32)
            by_filter = steps.reshape(-1, *[1] * (weight.ndim - 1))
            rounded = np.rint(weight / by_filter).astype(np.int8)
            weight = rounded * by_filter
            # Gemm in ONNX Runtime takes 8-bit weights with the inputs as rows only.
            turned = kind == "Gemm"
            kernel = self.add(
                "DequantizeLinear",
                [
                    self.constant(f"{name}.weight", rounded.T.copy() if turned else rounded),
                    self.constant(f"{name}.steps", steps),
                    self.constant(f"{name}.zeros", np.zeros(len(steps), np.int8)),
                ],
                axis=1 if turned else 0,
            )
            bias_steps = (steps * np.float32(step.step)).astype(np.float32)
            exact = np.rint((bias - self._of_the_mean(layer, weight)) / bias_steps)
            limits = np.iinfo(np.int32)
            shift = self.add(
                "DequantizeLinear",
                [
                    self.constant(f"{name}.bias", exact.clip(limits.min, limits.max).astype(np.int32)),
                    self.constant(f"{name}.bias_steps", bias_steps),
                ],
                axis=0,
            )
        else:
            bias = (bias - self._of_the_mean(layer, weight)).astype(np.float32)
            kernel, shift = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
            settings |= {"transB": 1} if kind == "Gemm" else {}
        return self.add(kind, [flow, kernel, shift], name=tensor_of(name), **settings)

    def _of_the_mean(self, layer: Conv | Dense, weight: Floats) -> npt.NDArray[np.float64] | float:
        """What the mean colour, in raw pixels, adds to each filter's sum; of the rounded weights where so."""
        if layer is not self.network.layers[0] or not takes_raw_pixels(self.network):
            return 0.0
        mean = self.tensors["normalize.mean"]
        mean = np.tile(mean, weight.shape[1] // len(mean))
        total: npt.NDArray[np.float64] = np.einsum("kdij,d->k", weight.astype(np.float64), mean)
        return total

    def _adaptive(self, layer: AdaptiveAvgPool, row: LayerSummary, flow: str) -> str:
        """Means over windows as two products of matrices."""
        height, width = row.input[:2]
        down = self.constant(f"{layer.name}.down", _windows(layer.size, height))
        across = self.constant(f"{layer.name}.across", _windows(layer.size, width).T.copy())
        return self.add("MatMul", [self.add("MatMul", [down, flow]), across], name=tensor_of(layer.name))

    def _response_norm(self, layer: LocalResponseNorm, row: LayerSummary, flow: str) -> str:
        alpha = layer.alpha if layer.mean else layer.alpha * layer.size
        # ONNX Runtime's takes neither alpha nor beta of 0.
        if layer.size % 2 and np.float32(alpha) > 0 and np.float32(layer.beta) > 0:
            return self.add(
                "LRN",
                [flow],
                name=tensor_of(layer.name),
                size=layer.size,
                # ONNX takes no whole numbers here, which a description may have.
                alpha=float(alpha),
                beta=float(layer.beta),
                bias=float(layer.k),
            )
        # Of an even number of neighbours torch takes one more of those before, ONNX one more of those after.
        depth, before = row.input[-1], layer.size // 2
        offset = np.arange(depth)[None] - np.arange(depth)[:, None]  # from the value's channel to the other
        near = (offset >= -before) & (offset < layer.size - before)
        sums = (near * np.float32(alpha / layer.size)).astype(np.float32)[:, :, None, None]
        base = np.full(depth, layer.k, np.float32)
        squares = self.add("Mul", [flow, flow])
        power = self.constant("beta", np.float32(layer.beta))
        among = self.add(
            "Conv", [squares, self.constant("near", sums), self.constant("base", base)], kernel_shape=[1, 1]
        )
        return self.add("Div", [flow, self.add("Pow", [among, power])], name=tensor_of(layer.name))

    # --- 8 bits

    def _is_in_eight_bits(self, layer: Layer) -> bool:
        return self.eight_bits is not None and layer.name not in self.eight_bits.in_float

    def _range(self, name: str) -> Range | None:
        """To round what that layer, or INPUT, gives; None where the next layer with weights is in float."""
        if self.eight_bits is None:
            return None
        names = [INPUT, *(layer.name for layer in self.network.layers)]
        after = self.network.layers[names.index(name) :]
        reader = next((layer for layer in after if isinstance(layer, Conv | Dense)), None)
        return self.eight_bits.ranges[name] if reader and self._is_in_eight_bits(reader) else None

    def _rounded(self, flow: str, step: Range) -> str:
        return self._as_numbers(self.add("QuantizeLinear", [flow, *self._scale(step)]), step)

    def _as_numbers(self, flow: str, step: Range) -> str:
        return self.add("DequantizeLinear", [flow, *self._scale(step)])

    def _scale(self, step: Range) -> tuple[str, str]:
        return (
            self.constant("step", np.float32(step.step)),
            self.constant("zero", np.uint8(step.zero)),
        )

    # --- nodes and constants

    def add(self, kind: str, inputs: Sequence[str], *, name: str | None = None, **settings: Any) -> str:
        """A node; gives the name of its output."""
        from onnx import helper

        output = name or f"/{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **settings))
        return output

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """A constant; gives its name: `name` as it is if it is a layer's, LAYER.WHAT, else made its own."""
        from onnx import numpy_helper

        name = name if "." in name else f"/{name}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def blocked(weight: Floats, stride: int) -> Floats:
    """(K, D, F, F) -> (K, stride x stride x D, reach, reach): the kernel over blocks, zeros beyond F."""
    filters, depth, kernel, _ = weight.shape
    reach = -(-kernel // stride)
    beyond = reach * stride - kernel
    weight = np.pad(weight, ((0, 0), (0, 0), (0, beyond), (0, beyond)))
    weight = weight.reshape(filters, depth, reach, stride, reach, stride)
    blocks = weight.transpose(0, 3, 5, 1, 2, 4).reshape(filters, -1, reach, reach)
    return np.ascontiguousarray(blocks)


def _windows(size: int, side: int) -> Floats:
    """(size, side): rows that take the mean of each of `size` windows over `side` pixels."""
    starts = [index * side // size for index in range(size)]
    ends = [-(-(index + 1) * side // size) for index in range(size)]
    pixels = np.arange(side)
    inside = [(pixels >= start) & (pixels < end) for start, end in zip(starts, ends, strict=True)]
    return np.array([each / each.sum() for each in inside], np.float32)


def _float_type() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)

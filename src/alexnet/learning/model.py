"""The network in torch: a Network's layers as an nn.Sequential under their own names.

It takes pictures as they are, uint8 (N, H, W, 3): normalisation is its first step, so no caller can get it
wrong, and its mean and scale are saved with the weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import sqrt
from typing import TypeVar, assert_never

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

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
from alexnet.errors import NetworkError


class Normalize(nn.Module):
    """uint8 (N, H, W, D) -> float32 (N, D, H, W) in channels-last memory: (value - mean) / scale."""

    mean: Tensor  # (D,), 0 to 255
    scale: Tensor  # (D,), the same unit

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, batch: Tensor) -> Tensor:
        """Normalise. NHWC memory, permuted, is torch's channels-last: nothing is copied for it."""
        return ((batch - self.mean) / self.scale).permute(0, 3, 1, 2)


class AlexNet(nn.Sequential):
    """A Network as a torch module: `normalize`, then its layers under their names.

    Takes uint8 (N, height, width, depth), gives logits float32 or bf16 (N, classes). Weights are drawn from
    torch's global generator: normal, of the deviation that a layer gives; where it gives none, of variance
    2 / fan-in (He et al. 2015), in fully connected layers 2 / the mean of fan-in and fan-out, in the last
    layer a hundredth of that. Raises MisfitError for a network that does not fit, NetworkError for a layer
    name that torch needs itself.

    >>> from alexnet import NOTES
    >>> model = AlexNet(NOTES)
    >>> model(torch.zeros(1, 227, 227, 3, dtype=torch.uint8)).shape
    torch.Size([1, 1000])
    """

    def __init__(
        self, network: Network, *, mean: Sequence[float] | None = None, scale: Sequence[float] | None = None
    ) -> None:
        depth = network.input[2]
        # Without statistics of the pictures: values from -1 to 1.
        modules: OrderedDict[str, nn.Module] = OrderedDict(
            normalize=Normalize(mean or [127.5] * depth, scale or [127.5] * depth)
        )
        taken = nn.Sequential()
        for layer, row in zip(network.layers, summarize(network).layers, strict=True):
            if layer.name in (*modules, "network") or hasattr(taken, layer.name):
                raise NetworkError(f"Layer '{layer.name}': the name is torch's own; give it another one")
            modules[layer.name] = _module(layer, row)
        super().__init__(modules)
        self.network = network
        self._initialize()
        set_layout(self, torch.channels_last)

    @torch.no_grad()
    def _initialize(self) -> None:
        for layer in self.network.layers:
            module = self.get_submodule(layer.name)
            if not isinstance(module, nn.Conv2d | nn.Linear) or not isinstance(layer, Conv | Dense):
                continue
            if module.weight.is_meta:  # to be loaded; drawing numbers there makes torch load its compiler
                continue
            # Where a layer has more outputs than inputs, fan-in alone lets gradients grow on their way back.
            fan_out = module.weight[:, 0].numel() if isinstance(module, nn.Linear) else None
            fan_in = module.weight[0].numel()
            deviation = sqrt(2 / (fan_in if fan_out is None else (fan_in + fan_out) / 2))
            if layer is self.network.layers[-1]:
                deviation /= 10  # logits a tenth as large: the first answers are near chance
            given = layer.weight_deviation
            module.weight.normal_(std=deviation if given is None else given)
            assert module.bias is not None  # _module gives every one of them a bias
            module.bias.fill_(layer.bias or 0.0)


Module = TypeVar("Module", bound=nn.Module)


def set_layout(module: Module, layout: torch.memory_format) -> Module:
    """Lay out the module's kernels in memory as convolutions over such activations want them."""
    # torch's own annotations leave this argument out.
    return module.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


class UnevenConv2d(nn.Conv2d):
    """A convolution with more zero pixels at the bottom and right; torch's own pads alike on both sides."""

    bottom: int = 0  # pixels
    right: int = 0  # pixels

    def forward(self, batch: Tensor) -> Tensor:
        """Pad, then convolve."""
        return super().forward(pad(batch, (0, self.right, 0, self.bottom)))


def _convolution(layer: Conv, row: LayerSummary) -> nn.Conv2d:
    bottom, right = (layer.extra_padding + beyond for beyond in row.beyond or (0, 0))
    kind = UnevenConv2d if bottom or right else nn.Conv2d
    convolution = kind(
        row.input[2], layer.filters, layer.kernel, layer.stride, layer.padding, groups=layer.groups
    )
    if isinstance(convolution, UnevenConv2d):
        convolution.bottom, convolution.right = bottom, right
    return convolution


def _module(layer: Layer, row: LayerSummary) -> nn.Module:
    match layer:
        case Conv():
            return _convolution(layer, row)
        case MaxPool():
            ceil_mode = layer.rounding == "up"
            return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding, ceil_mode=ceil_mode)
        case AdaptiveAvgPool():
            return nn.AdaptiveAvgPool2d(layer.size)
        case LocalResponseNorm():
            # torch takes the mean: `size` times as much of it is the sum.
            alpha = layer.alpha if layer.mean else layer.alpha * layer.size
            return nn.LocalResponseNorm(layer.size, alpha=alpha, beta=layer.beta, k=layer.k)
        case Dropout():
            return nn.Dropout(layer.rate)
        case ReLU():
            return nn.ReLU()  # not in place: activations are there to be looked at
        case Flatten():
            return nn.Flatten()
        case Dense():
            return nn.Linear(row.input[0], layer.units)
        case _:
            assert_never(layer)

"""The network computed for training with less work: the same values, the same gradients.

Five rewrites, each exact but for rounding. ReLU and max pooling change places, as the largest of values cut
off at zero is the largest value cut off at zero; so pooling follows its convolution at once. A first
convolution, whose three input channels and stride leave a matrix unit mostly idle, runs over blocks of stride
x stride pixels as channels. Its normalisation's scale goes into its weights, and the mean, whole grey levels,
is subtracted in bfloat16, which holds both and what is left. On a processor, local response normalisation is
a product with a band of ones (`local_response`), and in float32 convolutions with enough to do take a
fraction of the multiplications (`winograd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, conv2d, pad, relu

from alexnet.architecture.layers import Conv, Dense, Dropout, Layer, MaxPool, ReLU
from alexnet.learning.devices import autocast
from alexnet.learning.local_response import local_response_norm
from alexnet.learning.model import AlexNet, Normalize
from alexnet.learning.sizes import last_pool
from alexnet.learning.winograd import convolve, is_faster


@dataclass(frozen=True, kw_only=True)
class Colour:
    """How each picture's pixels are changed on their way in: value * gain + shift."""

    gain: Tensor  # (N, 1)
    shift: Tensor  # (N, 3), grey levels


class FusedForward(nn.Module):
    """A model as a function from uint8 (N, H, W, 3) to logits that gradients go through.

    It trains the model's own parameters, and gives what `model(batch)` gives; hooks of its layers are not
    called. Smaller pictures, of `picture_sizes`, are taken too. `dropout` is for what the hidden fully
    connected layers give, in a network that has no Dropout layer of its own. What is dropped, by either, is
    the same for the same place in a batch, however many processes share it. Random numbers are torch's global
    ones.
    """

    def __init__(self, model: AlexNet, *, precision: torch.dtype) -> None:
        super().__init__()
        self.model, self.precision = model, precision
        layers = list(model.network.layers)
        self.last_pool = last_pool(model.network)
        normalize = model.get_submodule("normalize")
        assert isinstance(normalize, Normalize)
        self.normalize = normalize
        self.drops_itself = any(isinstance(layer, Dropout) for layer in layers)
        first = layers[0]
        self.first = first if isinstance(first, Conv) and _fits_blocks(first, normalize) else None
        for place, (rectifier, pool) in enumerate(pairwise(layers)):
            if isinstance(rectifier, ReLU) and isinstance(pool, MaxPool) and not pool.padding:
                layers[place : place + 2] = [pool, rectifier]
        # Those that follow a convolution at once are its own to do.
        last = self.last_pool.layer if self.last_pool else None
        self.pools = {
            before.name: pool
            for before, pool in pairwise(layers)
            if isinstance(before, Conv)
            and isinstance(pool, MaxPool)
            and not pool.padding
            and pool is not last
        }
        self.rest = tuple(
            layer for layer in layers if layer is not self.first and layer not in self.pools.values()
        )

    def forward(
        self,
        batch: Tensor,
        colour: Colour | None = None,
        *,
        dropout: float = 0.0,
        places: Tensor | None = None,
        total: int | None = None,
    ) -> Tensor:
        """Logits (N, classes), bfloat16 or float32, of pictures at `places` (N,) in a batch of `total`."""
        drops = dropout > 0 and self.training and not self.drops_itself
        with autocast(batch.device, self.precision):
            if self.first is not None:
                flow = self._first_convolution(self.first, batch, colour)
            else:
                flow = self.normalize(_coloured(batch, colour))
            for layer in self.rest:
                if isinstance(layer, Dropout) and self.training:
                    flow = _drop(flow, layer.rate, places, total or len(batch))
                    continue
                flow = self._layer(layer, flow)
                if drops and self._is_hidden(layer):
                    # Ahead of the ReLU: what is dropped stays zero behind it.
                    flow = _drop(flow, dropout, places, total or len(batch))
            return flow

    def _layer(self, layer: Layer, flow: Tensor) -> Tensor:
        if isinstance(layer, ReLU):
            return relu(flow)
        module = self.model.get_submodule(layer.name)
        if isinstance(layer, MaxPool) and (pool := self.last_pool) is not None and layer is pool.layer:
            # Of smaller pictures it gives as many values.
            return (
                module(flow) if flow.shape[2:] == pool.entering else adaptive_max_pool2d(flow, pool.leaving)
            )
        if isinstance(module, nn.LocalResponseNorm) and flow.device.type == "cpu":
            return local_response_norm(
                flow, size=module.size, alpha=module.alpha, beta=module.beta, k=module.k
            )
        if type(module) is nn.Conv2d and module.stride == (1, 1):  # not the kind that pads unevenly
            assert isinstance(layer, Conv)
            assert module.bias is not None
            return self._convolution(layer, flow, module.weight, module.bias, layer.padding)
        result: Tensor = module(flow)
        return self._pooled(layer, result)

    def _convolution(self, layer: Conv, flow: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        """The layer of stride 1, and its pooling."""
        pool = self.pools.get(layer.name)
        if self.precision != torch.bfloat16 and is_faster(flow, weight, padding=padding, groups=layer.groups):
            return convolve(flow, weight, bias, padding=padding, groups=layer.groups, pool=pool)
        return self._pooled(layer, conv2d(flow, weight, bias, padding=padding, groups=layer.groups))

    def _pooled(self, layer: Layer, flow: Tensor) -> Tensor:
        pool = self.pools.get(layer.name)
        result: Tensor = flow if pool is None else self.model.get_submodule(pool.name)(flow)
        return result

    def _is_hidden(self, layer: Layer) -> bool:
        return isinstance(layer, Dense) and layer is not self.rest[-1]

    def _first_convolution(self, layer: Conv, batch: Tensor, colour: Colour | None) -> Tensor:
        convolution = self.model.get_submodule(layer.name)
        assert isinstance(convolution, nn.Conv2d)
        stride = layer.stride
        blocks = to_blocks(batch, layer.kernel, stride).to(self.precision)
        mean, scale = (
            each.repeat(stride**2)[:, None, None] for each in (self.normalize.mean, self.normalize.scale)
        )
        if colour is None:
            flow = blocks.sub_(mean.to(self.precision))
        else:
            shift = (colour.shift - self.normalize.mean).to(self.precision)
            flow = _recoloured(blocks, colour.gain.to(self.precision), shift)
        assert convolution.bias is not None
        weight = blocked_kernel(convolution.weight, stride) / scale
        weight = weight.contiguous(memory_format=torch.channels_last)
        return self._convolution(layer, flow, weight, convolution.bias, padding=0)


def to_blocks(batch: Tensor, kernel: int, stride: int) -> Tensor:
    """(N, H, W, D) -> (N, stride x stride x D, rows, columns) in channels-last memory: blocks as channels.

    As many blocks as a kernel x kernel convolution with that stride and no padding looks at; pixels beyond
    the picture are 0.
    """
    count, height, width, depth = batch.shape
    reach = -(-kernel // stride)  # blocks that a kernel spans
    rows, columns = ((side - kernel) // stride + reach for side in (height, width))
    batch = pad(batch, (0, 0, 0, columns * stride - width, 0, rows * stride - height)).contiguous()
    lines = batch.view(count, rows, stride, columns, stride * depth)  # a block's line of pixels each
    if lines.shape[-1] % 4 == 0:
        lines = lines.view(torch.int32)  # four bytes at a time are faster to copy
    blocks = lines.transpose(2, 3).contiguous().view(batch.dtype)
    return blocks.view(count, rows, columns, stride**2 * depth).permute(0, 3, 1, 2)


def _recoloured(blocks: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Blocks as `to_blocks` gives them, each picture's values times its `gain` (N, 1) plus `shift` (N, D).

    A row of blocks at a time: over a block, which has few values, broadcasting takes several times as long.
    """
    count, depth, rows, columns = blocks.shape
    lines = blocks.permute(0, 2, 3, 1).reshape(count, rows, columns * depth)
    shifts = shift.repeat(1, lines.shape[-1] // shift.shape[-1])
    changed = torch.addcmul(shifts[:, None], lines, gain[:, None])
    return changed.view(count, rows, columns, depth).permute(0, 3, 1, 2)


def blocked_kernel(weight: Tensor, stride: int) -> Tensor:
    """(K, D, F, F) -> (K, stride x stride x D, reach, reach): the kernel over `to_blocks`, zeros beyond F."""
    filters, depth, kernel, _ = weight.shape
    reach = -(-kernel // stride)
    beyond = reach * stride - kernel
    weight = pad(weight, (0, beyond, 0, beyond)).reshape(filters, depth, reach, stride, reach, stride)
    return weight.permute(0, 3, 5, 1, 2, 4).reshape(filters, -1, reach, reach)


def _fits_blocks(layer: Conv, normalize: Normalize) -> bool:
    return (
        layer.stride > 1
        and (layer.groups, layer.padding, layer.extra_padding, layer.rounding) == (1, 0, 0, "down")
        and bool((normalize.mean == normalize.mean.round()).all())
    )


def _drop(flow: Tensor, rate: float, places: Tensor | None, total: int) -> Tensor:
    kept = torch.rand((total, *flow.shape[1:]), device=flow.device) >= rate
    return flow * (kept if places is None else kept[places]) / (1 - rate)


def _coloured(batch: Tensor, colour: Colour | None) -> Tensor:
    if colour is None:
        return batch
    return batch * colour.gain[:, None, None] + colour.shift[:, None, None]

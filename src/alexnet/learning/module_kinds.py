"""What is known of torch's own module types: their multiply-adds, where their depth is, what they take."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from alexnet.architecture.arithmetic import shape_text
from alexnet.architecture.network import Shape
from alexnet.learning.module_figures import Window

_PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (*_PLAIN, *_TRANSPOSED)
POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
# Their channels come second, whatever the rank; those of the next ones come last.
_CHANNELS_SECOND = (
    *POOLS,
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LocalResponseNorm),
    *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
)
_NORMS_OF_SHAPES = (nn.LayerNorm, nn.RMSNorm)
_CHANNELS_LAST = (*_NORMS_OF_SHAPES, nn.Embedding)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Threshold, nn.GLU),
    *(nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax),
)
# No multiply-adds by the convention under every table: nothing is multiplied, or biases, norms, activations.
_FREE = (
    *_CHANNELS_SECOND,
    *_CHANNELS_LAST,
    *_ACTIVATIONS,
    *(nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Flatten, nn.Unflatten, nn.Identity),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
)
KNOWN = (*CONVOLUTIONS, nn.Linear, *_FREE)
"""Types whose multiply-adds are known, zero included."""


def macs(module: nn.Module, entering: Tensor | None, leaving: Tensor | None) -> int | None:
    """Multiply-adds of one call; None, which is not zero, for a module of a type that is not known."""
    if entering is None or leaving is None:
        return None
    if isinstance(module, _PLAIN):
        return module.weight.numel() * (leaving.numel() // module.out_channels)
    if isinstance(module, _TRANSPOSED):
        # Every value of the input meets every weight of its channel's kernels.
        return module.weight.numel() * (entering.numel() // module.in_channels)
    if isinstance(module, nn.Linear):
        return module.weight.numel() * prod(leaving.shape[:-1])
    # A Sequential without modules passes on what it gets.
    if isinstance(module, _FREE) or (type(module) is nn.Sequential and not len(module)):
        return 0
    return None


def depth_axis(module: nn.Module, tensor: Tensor) -> int | None:
    """Where the depth is among the tensor's sizes; None where the module's type does not tell."""
    last = max(0, tensor.ndim - 1)
    if isinstance(module, CONVOLUTIONS):
        return max(0, last - len(module.kernel_size))
    if isinstance(module, nn.Linear) and tensor.shape[-1:] in (
        (module.in_features,),
        (module.out_features,),
    ):
        return last
    if isinstance(module, _NORMS_OF_SHAPES):  # over several sizes, or as ConvNeXt's over another, it is open
        return last if tuple(module.normalized_shape) == tuple(tensor.shape[-1:]) else None
    return last if isinstance(module, _CHANNELS_LAST) else None


def usual_depth_axis(module: nn.Module, tensor: Tensor) -> int:
    """Where the depth is, for all that one knows: second in pictures."""
    second = tensor.ndim >= 4 or (tensor.ndim == 3 and isinstance(module, _CHANNELS_SECOND))
    return 1 if second else max(0, tensor.ndim - 1)


def refuses(module: nn.Module, entering: Tensor) -> bool:
    """Whether a CPU refuses what the meta device, which computes shapes only, takes."""
    if not isinstance(module, _TRANSPOSED):
        return False
    beyond = zip(module.output_padding, module.stride, module.dilation, strict=True)
    return entering.shape[depth_axis(module, entering) or 0] != module.in_channels or any(
        int(padding) >= max(stride, dilation) for padding, stride, dilation in beyond
    )


def demand(module: nn.Module, tensor: Tensor, arrived: Shape) -> str | None:
    """What the module takes and what to do, where its own sizes rule out what arrived; else None."""
    remedy = "change it or what comes before it"
    if isinstance(module, nn.Linear):
        takes = module.in_features
        if tensor.shape[-1:] == (takes,):
            return None
        if prod(arrived) == takes:
            remedy = "put nn.Flatten() before it"
        return f"must be {takes:,} (its in_features={takes}); {remedy}"
    match module:
        case _ if isinstance(module, CONVOLUTIONS):
            depth, source = module.in_channels, "in_channels"
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            depth, source = module.num_features, "num_features"
        case nn.GroupNorm():
            depth, source = module.num_channels, "num_channels"
        case nn.LayerNorm() if len(module.normalized_shape) == 1:
            depth, source = module.normalized_shape[-1], "normalized_shape"
        case _:
            return None
    if arrived[-1] == depth:
        return None
    return f"must be {shape_text((*arrived[:-1], depth))} (its {source}={depth}); {remedy}"


def window(module: nn.Module | None, attribute: str) -> Window | None:
    """A size of the module's windows: one number where it is the same along each side."""
    value = getattr(module, attribute, None)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int | str | tuple) else None

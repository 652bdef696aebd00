"""Local response normalisation (Krizhevsky et al. 2012, section 3.3) as a product with a band of ones.

torch's own averages over a volume whose third side is the channels, which takes longer than the convolutions
around it. In channels-last memory the sum over neighbouring channels is a small product of matrices.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_AT_ONCE = 1 << 18  # values that a step works on: what the next one reads is still in the caches


def local_response_norm(batch: Tensor, *, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """As torch's local_response_norm: (N, D, H, W) to the same, in channels-last memory, with its `alpha`.

    It computes in float32 at least. Gradients go through it once: they have no gradients.
    """
    return _LocalResponse.apply(batch, size, alpha, beta, k)  # type: ignore[no-untyped-call, no-any-return]


class _LocalResponse(torch.autograd.Function):
    """y = x d^-beta with d = k + alpha / size times the sum of the neighbours' squares."""

    @staticmethod
    def forward(ctx: Any, batch: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        flow = batch.permute(0, 2, 3, 1).contiguous()
        band = _band(flow.shape[-1], size, torch.promote_types(flow.dtype, torch.float32), flow.device)
        divided, result = torch.empty_like(flow, dtype=band.dtype), torch.empty_like(flow)
        offset = torch.full_like(band[0], k)
        with torch.autocast(flow.device.type, enabled=False):
            for values, divisor, into in _parts(flow, divided, result):
                torch.addmm(offset, values.to(band.dtype).square(), band, alpha=alpha / size, out=divisor)
                into.copy_(values * _power(divisor, beta))
        ctx.save_for_backward(flow, divided)
        ctx.size, ctx.beta, ctx.scale = size, beta, 2 * beta * alpha / size
        return result.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        flow, divided = ctx.saved_tensors
        band = _band(flow.shape[-1], ctx.size, divided.dtype, flow.device)
        slope = slope.permute(0, 2, 3, 1).contiguous()
        result = torch.empty_like(flow)
        with torch.autocast(flow.device.type, enabled=False):
            for values, divisor, given, into in _parts(flow, divided, slope, result):
                direct = given * _power(divisor, ctx.beta)
                through = (direct * values).div_(divisor) @ band.T
                into.copy_(direct.sub_(through.mul_(values), alpha=ctx.scale))
        return result.permute(0, 3, 1, 2), None, None, None, None


def _parts(*tensors: Tensor) -> zip[tuple[Tensor, ...]]:
    """Rows of channels, (some pixels, D), of each (N, H, W, D), so many at a time."""
    rows = [each.view(-1, each.shape[-1]) for each in tensors]
    count = max(1, _AT_ONCE // rows[0].shape[-1])
    return zip(*(torch.split(each, count) for each in rows), strict=True)


def _power(divisor: Tensor, beta: float) -> Tensor:
    """divisor^-beta; roots are several times as fast as powers."""
    if beta == 0.75:
        root = divisor.rsqrt()
        return root.mul_(root.sqrt())
    return divisor.pow(-beta)


@cache
def _band(depth: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(D, D): 1 where the row's channel is one of `size` around the column's; of two middles, the upper."""
    channels = torch.arange(depth, device=device)
    above = channels[:, None] - channels
    return ((above >= -(size // 2)) & (above <= (size - 1) // 2)).to(dtype)

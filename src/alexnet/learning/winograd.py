"""Convolutions of stride 1 with a fraction of the multiplications: Winograd's minimal filtering.

A tile of m x m outputs of an r x r kernel rests on t x t inputs, t = m + r - 1. Along each side both are
polynomials, and so is their product, which its values at t points tell. A tile takes t x t multiplications
for each pair of channels that way, and m x m x r x r by the definition: 6.25 times as many with r = 5, m = 4.
What is left is t x t products of matrices, and sums on the way in and out.

In real arithmetic the result is the convolution. In float32 it is some millionths from it, five times as far
as the sum taken term by term. In bfloat16 it would be useless.

Source: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016. Points: Barabasz, Anderson, Soodhalter and Gregg, Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import max_pool2d, pad

from alexnet.architecture.arithmetic import windows
from alexnet.architecture.layers import MaxPool

# Small, and in pairs of both signs, which lose the least; infinity is one more. The more, the less exact.
_POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
_REACH = len(_POINTS) + 1
_AT_ONCE = 1 << 24  # bytes that a step works on: what the next one reads is still in the caches
_KEPT = 1 << 28  # bytes of a layer's transformed inputs that wait for the way back; more are computed anew

# What the sums around the products take, in the time of multiplications: benchmarks/convolutions.py has both.
_SUMS = 90  # those of one value, on its way in or out
_WEIGHTS = 40  # those of the kernels, in the time of as many tiles


def convolve(
    batch: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    padding: int,
    groups: int = 1,
    pool: MaxPool | None = None,
) -> Tensor:
    """As torch's conv2d of stride 1: (N, D, H, W) and (K, D / groups, F, F) to (N, K, H', W').

    F is 2 to 7. With a `pool`, which must not pad, as max_pool2d of that: some pictures at a time, while what
    it reads is in the caches. The result is in channels-last memory. Gradients go through it once: they have
    no gradients.
    """
    if groups == 1:
        learns = torch.is_grad_enabled() and weight.requires_grad
        operands = (batch, weight, bias, padding, pool, learns)
        return _Convolution.apply(*operands)  # type: ignore[no-untyped-call, no-any-return]
    parts = zip(batch.chunk(groups, 1), weight.chunk(groups), bias.chunk(groups), strict=True)
    return torch.cat([convolve(*part, padding=padding, pool=pool) for part in parts], 1)


def is_faster(batch: Tensor, weight: Tensor, *, padding: int, groups: int = 1) -> bool:
    """Whether `convolve` should take less time for these than conv2d: on processors, in float32."""
    suits = batch.device.type == "cpu" and batch.dtype == torch.float32 and 2 < weight.shape[2] < _REACH
    return suits and len(batch) > 0 and estimate(batch, weight, padding=padding, groups=groups) < 1


def estimate(batch: Tensor, weight: Tensor, *, padding: int, groups: int = 1) -> float:
    """The time of `convolve` for these as a share of conv2d's, forwards, by counting."""
    filters, depth, kernel, _ = weight.shape
    plan = _Plan.of(batch, kernel, padding)
    products = plan.reach**2 * (len(batch) * plan.rows * plan.columns + _WEIGHTS)
    definition = len(batch) * plan.height * plan.width * kernel**2
    return products * (1 + _SUMS / depth + _SUMS * groups / filters) / definition


@dataclass(frozen=True)
class _Plan:
    """How a plane of outputs is cut into tiles: from its upper left, the last ones reach beyond it."""

    kernel: int  # r, values a side
    padding: int
    height: int  # of the outputs
    width: int
    tile: int  # m, outputs a side

    @staticmethod
    def of(batch: Tensor, kernel: int, padding: int) -> _Plan:
        """The one with the fewest multiplications."""
        height, width = (side + 2 * padding - kernel + 1 for side in batch.shape[2:])
        plans = [_Plan(kernel, padding, height, width, tile) for tile in range(2, _REACH - kernel + 2)]
        return min(plans, key=lambda plan: plan.rows * plan.columns * plan.reach**2)

    @property
    def reach(self) -> int:
        """t: inputs a side that a tile rests on."""
        return self.tile + self.kernel - 1

    @property
    def rows(self) -> int:
        """Of tiles."""
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        """Of tiles."""
        return -(-self.width // self.tile)

    @property
    def beyond(self) -> tuple[int, int]:
        """Rows and columns of outputs that the last tiles have too many."""
        return self.rows * self.tile - self.height, self.columns * self.tile - self.width

    @property
    def apart(self) -> int:
        """How many tiles on the next one is that shares no input with a tile, so that both can be written."""
        return -(-self.reach // self.tile)

    @property
    def values(self) -> int:
        """Of each channel of a picture, in all of its tiles: what two tiles share counts twice."""
        return self.rows * self.columns * self.reach**2

    def pictures(self, depth: int, filters: int) -> int:
        """As many as to take at once."""
        return max(1, _AT_ONCE // (4 * max(depth, filters) * self.values))

    def inputs(self, batch: Tensor) -> Tensor:
        """(N, D, H, W) -> (t, t, N, rows, columns, D): what each tile rests on."""
        down, right = self.beyond
        flow, padding = batch.permute(0, 2, 3, 1), self.padding
        if padding or down or right:
            flow = pad(flow, (0, 0, padding, padding + right, padding, padding + down))
        return self._windows(flow).contiguous()

    def of_inputs(self, slopes: Tensor) -> Tensor:
        """The transpose of `inputs`: where tiles share an input, the sum of what they give to it."""
        down, right = self.beyond
        count, depth = slopes.shape[2], slopes.shape[5]
        height, width = self.height + self.kernel - 1, self.width + self.kernel - 1
        whole = slopes.new_zeros(count, height + down, width + right, depth)
        windows = self._windows(whole)
        apart = self.apart
        for row, column in product(range(apart), repeat=2):
            windows[:, :, :, row::apart, column::apart] += slopes[:, :, :, row::apart, column::apart]
        first, bottom, end = self.padding, height - self.padding, width - self.padding
        return whole[:, first:bottom, first:end].permute(0, 3, 1, 2)

    def _windows(self, flow: Tensor) -> Tensor:
        windows = flow.unfold(1, self.reach, self.tile).unfold(2, self.reach, self.tile)
        return windows.permute(4, 5, 0, 1, 2, 3)

    def outputs(self, tiles: Tensor, bias: Tensor, result: Tensor) -> None:
        """(m, m, N, rows, columns, K) and (K,) -> `result` (N, height, width, K)."""
        spread = tiles.permute(2, 3, 0, 4, 1, 5)
        if not any(self.beyond):
            torch.add(spread, bias, out=result.view(spread.shape))
            return
        whole = spread.reshape(len(result), self.rows * self.tile, self.columns * self.tile, -1)
        torch.add(whole[:, : self.height, : self.width], bias, out=result)

    def of_outputs(self, slope: Tensor) -> Tensor:
        """The transpose of `outputs`: (N, K, height, width) -> (m, m, N, rows, columns, K)."""
        down, right = self.beyond
        whole = slope.permute(0, 2, 3, 1)
        if down or right:
            whole = pad(whole, (0, 0, 0, right, 0, down))
        tiles = whole.reshape(len(slope), self.rows, self.tile, self.columns, self.tile, -1)
        return tiles.permute(2, 4, 0, 1, 3, 5).contiguous()


class _Convolution(torch.autograd.Function):
    """A^T ((G w G^T) * (B^T x B)) A for every tile x, and backwards each of these steps transposed."""

    @staticmethod
    def forward(
        ctx: Any,
        batch: Tensor,
        weight: Tensor,
        bias: Tensor,
        padding: int,
        pool: MaxPool | None,
        learns: bool,
    ) -> Tensor:
        (count, depth), filters = batch.shape[:2], len(weight)
        plan = _Plan.of(batch, weight.shape[2], padding)
        to_output, to_kernel, to_input = _matrices(plan.tile, plan.kernel, weight.dtype)
        kernels = _flat(_both_sides(to_kernel, weight.permute(2, 3, 1, 0)))
        height, width = (windows(side, pool) if pool else side for side in (plan.height, plan.width))
        result = batch.new_empty(count, height, width, filters)
        places = torch.empty_like(result if pool else result[..., :0], dtype=torch.int32)
        keeps = learns and count * depth * plan.values * batch.element_size() <= _KEPT
        kept = batch.new_empty(count, depth * plan.values if keeps else 0)
        for part, into, place, keep in _parts(plan.pictures(depth, filters), batch, result, places, kept):
            inputs = _both_sides(to_input, plan.inputs(part), into=keep if keeps else None)
            products = torch.bmm(_flat(inputs), kernels).view(*inputs.shape[:5], -1)
            maps = part.new_empty(len(part), plan.height, plan.width, filters) if pool else into
            plan.outputs(_both_sides(to_output, products), bias, maps)
            if pool:
                _pool(pool, maps, into, place)
        ctx.plan, ctx.pool, ctx.keeps, ctx.shape = plan, pool, keeps, batch.shape
        ctx.save_for_backward(kernels, places, batch if learns and not keeps else kept)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (kernels, places, kept), plan, pool = ctx.saved_tensors, ctx.plan, ctx.pool
        of_batch, of_weight, of_bias, *_ = ctx.needs_input_grad
        to_output, to_kernel, to_input = _matrices(plan.tile, plan.kernel, kernels.dtype)
        depth, filters = kernels.shape[1:]
        kernels_slope = torch.zeros_like(kernels)
        count, _, height, width = ctx.shape
        batch_slope = slope.new_empty(count, height, width, depth if of_batch else 0).permute(0, 3, 1, 2)
        for part, into, place, keep in _parts(
            plan.pictures(depth, filters), slope, batch_slope, places, kept
        ):
            maps = _of_pool(pool, part, place, (plan.height, plan.width)) if pool else part
            tiles = _both_sides(to_output.T, plan.of_outputs(maps))
            products = _flat(tiles)
            if of_weight:
                inputs = keep if ctx.keeps else _both_sides(to_input, plan.inputs(keep))
                inputs = inputs.view(plan.reach**2, -1, depth)
                kernels_slope.baddbmm_(inputs.transpose(1, 2), products)
            if of_batch:
                inputs_slope = torch.bmm(products, kernels.transpose(1, 2)).view(*tiles.shape[:5], -1)
                into.copy_(plan.of_inputs(_both_sides(to_input.T, inputs_slope)))
        by_place = kernels_slope.view(plan.reach, plan.reach, *kernels_slope.shape[1:])
        weight_slope = _both_sides(to_kernel.T, by_place)
        return (
            batch_slope if of_batch else None,
            weight_slope.permute(3, 2, 0, 1) if of_weight else None,
            slope.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
            None,
        )


def _pool(pool: MaxPool, maps: Tensor, into: Tensor, places: Tensor) -> None:
    """Pool (N, height, width, K) `into` the like; `places` tell where in its map each of the values was."""
    flow = maps.permute(0, 3, 1, 2)
    ceil_mode = pool.rounding == "up"
    result, found = max_pool2d(flow, pool.kernel, pool.stride, ceil_mode=ceil_mode, return_indices=True)
    into.copy_(result.permute(0, 2, 3, 1))
    places.copy_(found.permute(0, 2, 3, 1))


def _of_pool(pool: MaxPool, slope: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """The transpose of `_pool`, (N, K, h, w) -> (N, K, height, width)."""
    maps = slope.new_empty(len(slope), *size, slope.shape[1]).permute(0, 3, 1, 2)  # of which the size counts
    sides = ([side, side] for side in (pool.kernel, pool.stride, 0, 1))  # no padding, no gaps
    found = places.permute(0, 3, 1, 2).long()
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    result: Tensor = backward(slope, maps, *sides, pool.rounding == "up", found)
    return result


def _both_sides(matrix: Tensor, values: Tensor, *, into: Tensor | None = None) -> Tensor:
    """matrix X matrix^T, (b, b, ...), for the (a, a) matrices X in the first dimensions of (a, a, ...)."""
    new, old = matrix.shape
    matrix = matrix.contiguous()
    by_column = values.reshape(old, old, -1).transpose(0, 1)
    rows = torch.bmm(matrix.expand(old, new, old), by_column)
    out = None if into is None else into.view(new, new, -1)
    both = torch.bmm(matrix.expand(new, new, old), rows.transpose(0, 1), out=out)
    return both.view(new, new, *values.shape[2:])


def _parts(count: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many of each tensor's first dimension at a time."""
    for start in range(0, len(tensors[0]), count):
        yield tuple(each[start : start + count] for each in tensors)


def _flat(values: Tensor) -> Tensor:
    """(t, t, ..., D) -> (t x t, all of ..., D): a matrix for each place in a tile."""
    return values.reshape(values.shape[0] ** 2, -1, values.shape[-1])


@cache
def _matrices(tile: int, kernel: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A^T (m, t), G (t, r) and B^T (t, t): m outputs are A^T ((G weights) * (B^T inputs)).

    Multiplying polynomials of degrees m - 1 and r - 1 by their values at t points is a bilinear function; the
    outputs, sums along the inputs, are its transpose in one of the two.
    """
    points = _POINTS[: tile + kernel - 2]
    others = [[each for each in points if each != point] for point in points]
    at_output = [[*(point**power for point in points), Fraction(power == tile - 1)] for power in range(tile)]
    at_kernel = [
        [point**power / prod(point - each for each in rest) for power in range(kernel)]
        for point, rest in zip(points, others, strict=True)
    ]
    at_kernel.append([Fraction(power == kernel - 1) for power in range(kernel)])  # at infinity
    at_input = [[*_with_roots(rest), Fraction(0)] for rest in others]
    at_input.append(_with_roots(points))
    exact = (at_output, at_kernel, at_input)
    a, g, b = (torch.tensor([[float(value) for value in row] for row in each], dtype=dtype) for each in exact)
    return a, g, b


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, lowest power first, of the polynomial with these roots that starts with 1."""
    result = [Fraction(1)]
    for root in roots:
        by_x, by_root = [Fraction(0), *result], [*result, Fraction(0)]
        result = [one - root * other for one, other in zip(by_x, by_root, strict=True)]
    return result

"""What a value looks at, against torch: where the gradient of that value with respect to the picture is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from alexnet import NETWORKS, AdaptiveAvgPool, Conv, MisfitError, Network, summarize
from alexnet.architecture.arithmetic import LayerSummary
from alexnet.learning.model import AlexNet


def all_seeing(network: Network) -> nn.Sequential:
    """The network without its normalisation, such that each value depends on all that its windows hold.

    Weights are positive, so that nothing cancels and no ReLU is closed; where the largest of a window is
    taken, and the others have no gradient, their mean is.
    """
    layers = nn.Sequential(*map(_all_seeing, list(AlexNet(network).children())[1:]))
    for weight in layers.parameters():
        nn.init.uniform_(weight, 0.1, 1.0)
    return layers.eval().double()


def _all_seeing(module: nn.Module) -> nn.Module:
    match module:
        case nn.MaxPool2d():
            return nn.AvgPool2d(module.kernel_size, module.stride, module.padding, ceil_mode=module.ceil_mode)
        case nn.LocalResponseNorm():
            return nn.Identity()  # along the depth, not over places
        case _:
            return module


def seen_by(values: Tensor, picture: Tensor, row: int, column: int) -> tuple[npt.NDArray[np.int64], ...]:
    """The rows and the columns of the picture on which the values at that place depend."""
    (gradient,) = torch.autograd.grad(values[0, :, row, column].sum(), picture, retain_graph=True)
    seen = (gradient[0].abs().sum(dim=0) > 0).numpy()
    return np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))


def assert_is_what_is_seen(row: LayerSummary, values: Tensor, picture: Tensor) -> None:
    start, stride, size = row.receptive_start, row.receptive_stride, row.receptive_field
    assert start is not None
    assert stride is not None
    height, width = row.output[:2]
    for place in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
        windows = [(start + stride * at, start + stride * at + size - 1) for at in place]
        sides = list(zip(windows, picture.shape[2:], seen_by(values, picture, *place), strict=True))
        if not all(seen.size for _, _, seen in sides):  # nothing but padding on its way
            assert any(first < 0 or last >= side for (first, last), side, _ in sides)
            continue
        for (first, last), side, seen in sides:
            # Of a window that reaches out of the picture, only what lies within has a gradient.
            assert first <= seen[0]
            assert seen[-1] <= last
            assert first < 0 or seen[0] == first
            assert last >= side or seen[-1] == last


def assert_every_layer_is(network: Network) -> None:
    picture = torch.ones(1, network.input[2], *network.input[:2], dtype=torch.float64, requires_grad=True)
    values = picture
    for row, module in zip(summarize(network).layers, all_seeing(network), strict=True):
        values = module(values)
        assert (row.receptive_start is None) == (row.receptive_stride is None)
        if row.receptive_start is not None:
            assert_is_what_is_seen(row, values, picture)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_windows_lie_where_the_gradient_is_in_random_networks(
    random_networks: st.SearchStrategy[Network], data: st.DataObject
) -> None:
    network = data.draw(random_networks)
    try:
        summarize(network)
    except MisfitError:
        return
    assert_every_layer_is(network)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "torchvision"])
def test_windows_lie_where_the_gradient_is_in_networks_that_pad(name: str) -> None:
    assert any(isinstance(each, Conv) and each.padding for each in NETWORKS[name].layers)
    assert_every_layer_is(NETWORKS[name])


def test_windows_that_differ_by_side_have_no_one_stride() -> None:
    # 6 rows in 3 windows of 2, but 3 columns in 3 of 1.
    network = Network(name="wide", input=(6, 3, 1), layers=(AdaptiveAvgPool(name="mean", size=3),))
    (row,) = summarize(network).layers
    assert (row.receptive_stride, row.receptive_start) == (None, None)


def test_the_comparison_can_fail() -> None:
    network = Network(name="x", input=(9, 9, 1), layers=(Conv(name="c", filters=1, kernel=3, stride=2),))
    picture = torch.ones(1, 1, 9, 9, dtype=torch.float64, requires_grad=True)
    (row,), (module,) = summarize(network).layers, all_seeing(network)
    assert_is_what_is_seen(row, module(picture), picture)
    for wrong in (
        replace(row, receptive_start=-1),
        replace(row, receptive_stride=3),
        replace(row, receptive_field=4),
    ):
        with pytest.raises(AssertionError):
            assert_is_what_is_seen(wrong, module(picture), picture)

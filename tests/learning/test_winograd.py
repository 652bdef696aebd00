"""Winograd's way against torch's convolution: in float64 to the last digits, in float32 as near as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from alexnet import NETWORKS, Dense, MaxPool, Network, edit
from alexnet.learning import fused, winograd
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet
from alexnet.learning.winograd import convolve, is_faster


def made(
    shape: tuple[int, ...], filters: int, kernel: int, groups: int = 1, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch in channels-last memory, weights and biases, of deviation 1, that want gradients."""
    torch.manual_seed(0)
    batch = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(filters, shape[1] // groups, kernel, kernel, dtype=dtype)
    return batch.requires_grad_(), weight.requires_grad_(), torch.randn(filters, dtype=dtype).requires_grad_()


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


def assert_same(found: Tensor, expected: Tensor, operands: tuple[Tensor, ...]) -> None:
    """In float64, values and gradients."""
    assert found.shape == expected.shape
    assert distance(found, expected) < 1e-12
    slope = torch.randn(expected.shape, dtype=torch.float64)
    slopes = torch.autograd.grad(expected, operands, slope)
    for mine, theirs in zip(torch.autograd.grad(found, operands, slope), slopes, strict=True):
        assert distance(mine, theirs) < 1e-11


# --- the same function ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", range(2, 8))
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (9, 22), (13, 8)])
def test_values_and_gradients_are_the_convolution_s(
    kernel: int, padding: int, height: int, width: int
) -> None:
    operands = made((3, 4, height, width), 5, kernel)
    expected = conv2d(*operands, padding=padding)
    found = convolve(*operands, padding=padding)
    assert_same(found, expected, operands)


@pytest.mark.parametrize("kernel", range(2, 8))
@pytest.mark.parametrize("side", [5, 9, 13, 27])
def test_tiles_that_are_written_together_share_no_input(kernel: int, side: int) -> None:
    plan = winograd._Plan.of(torch.empty(1, 1, side + kernel - 1, side + kernel - 1), kernel, 0)
    height, width = (side + beyond + kernel - 1 for beyond in plan.beyond)
    windows = plan._windows(torch.arange(height * width).view(1, height, width, 1))
    together = windows[:, :, :, :: plan.apart, :: plan.apart].flatten()
    assert len(set(together.tolist())) == len(together)


def test_groups_are_convolutions_of_their_own() -> None:
    operands = made((2, 6, 10, 11), 9, 5, groups=3)
    expected, found = conv2d(*operands, padding=2, groups=3), convolve(*operands, padding=2, groups=3)
    assert distance(found, expected) < 1e-12
    slopes = torch.autograd.grad(expected.square().sum(), operands)
    for mine, theirs in zip(torch.autograd.grad(found.square().sum(), operands), slopes, strict=True):
        assert distance(mine, theirs) < 1e-11


@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_few_pictures_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch, pictures: int) -> None:
    operands = made((5, 4, 12, 12), 6, 3)
    expected = conv2d(*operands, padding=1)
    slopes = torch.autograd.grad(expected.square().sum(), operands)
    monkeypatch.setattr(winograd._Plan, "pictures", lambda *_: pictures)
    found = convolve(*operands, padding=1)
    assert distance(found, expected) < 1e-12
    for mine, theirs in zip(torch.autograd.grad(found.square().sum(), operands), slopes, strict=True):
        assert distance(mine, theirs) < 1e-11


@pytest.mark.parametrize(
    ("kernel", "stride", "rounding"),
    [(3, 2, "down"), (3, 2, "up"), (2, 2, "up"), (3, 1, "down"), (2, 3, "up")],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_pooled_it_is_the_pooled_convolution(kernel: int, stride: int, rounding: str, groups: int) -> None:
    operands = made((5, 4, 12, 11), 6, 3, groups=groups)
    pool = MaxPool(name="pool", kernel=kernel, stride=stride, rounding=rounding)
    maps = conv2d(*operands, padding=1, groups=groups)
    expected = max_pool2d(maps, kernel, stride, ceil_mode=rounding == "up")
    found = convolve(*operands, padding=1, groups=groups, pool=pool)
    assert_same(found, expected, operands)


@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_computed_anew_is_what_was_kept(monkeypatch: pytest.MonkeyPatch, *, pooled: bool) -> None:
    operands = made((5, 4, 12, 12), 6, 3)
    pool = MaxPool(name="pool", kernel=3, stride=2) if pooled else None
    monkeypatch.setattr(winograd._Plan, "pictures", lambda *_: 2)
    kept = convolve(*operands, padding=1, pool=pool)
    monkeypatch.setattr(winograd, "_KEPT", 0)
    anew = convolve(*operands, padding=1, pool=pool)
    assert torch.equal(kept, anew)
    slopes = torch.autograd.grad(kept.square().sum(), operands)
    for mine, theirs in zip(torch.autograd.grad(anew.square().sum(), operands), slopes, strict=True):
        assert torch.equal(mine, theirs)


def test_memory_that_is_not_channels_last_is_taken_too() -> None:
    batch, weight, bias = made((2, 4, 9, 9), 6, 3)
    found = convolve(batch.detach().contiguous(), weight, bias, padding=1)
    assert distance(found, conv2d(batch, weight, bias, padding=1)) < 1e-12
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("depth", "filters", "kernel", "side"), [(96, 256, 5, 27), (256, 384, 3, 11)])
def test_float32_is_some_millionths_off(depth: int, filters: int, kernel: int, side: int) -> None:
    exact = made((4, depth, side, side), filters, kernel)
    rounded = tuple(each.detach().float().requires_grad_() for each in exact)
    expected, found = conv2d(*exact), convolve(*rounded, padding=0)
    assert distance(found.double(), expected) < 1e-5
    slope = torch.randn(expected.shape, dtype=torch.float64)
    slopes = torch.autograd.grad(expected, exact, slope)
    for mine, theirs in zip(torch.autograd.grad(found, rounded, slope.float()), slopes, strict=True):
        assert distance(mine.double(), theirs) < 1e-5


def test_only_what_learns_has_gradients() -> None:
    batch, weight, bias = made((2, 4, 9, 9), 6, 3)
    expected = torch.autograd.grad(conv2d(batch, weight, bias).square().sum(), (batch, weight, bias))
    for frozen in range(3):
        operands = [
            each.detach() if place == frozen else each for place, each in enumerate((batch, weight, bias))
        ]
        wanted = [each for each in operands if each.requires_grad]
        found = iter(torch.autograd.grad(convolve(*operands, padding=0).square().sum(), wanted))
        for place, theirs in enumerate(expected):
            if place != frozen:
                assert distance(next(found), theirs) < 1e-11


def test_training_goes_on_after_answers_were_given() -> None:
    winograd._matrices.cache_clear()
    batch, weight, bias = made((2, 4, 9, 9), 6, 3)
    with torch.inference_mode():
        convolve(batch, weight, bias, padding=1)  # its matrices are those of inference mode
    found, expected = (
        torch.autograd.grad(way(batch, weight, bias, padding=1).square().sum(), weight)[0]
        for way in (convolve, conv2d)
    )
    assert distance(found, expected) < 1e-11


def test_gradients_of_gradients_are_refused() -> None:
    batch, weight, bias = made((2, 4, 9, 9), 6, 3)
    (slope,) = torch.autograd.grad(
        convolve(batch, weight, bias, padding=1).square().sum(), weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(slope.sum())


# --- where it is taken ------------------------------------------------------------------------------------


def sized(
    count: int, depth: int, filters: int, kernel: int, side: int, **settings: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty(count, depth, side, side, **settings), torch.empty(filters, depth, kernel, kernel)


def test_it_is_for_many_channels_and_tiles() -> None:
    assert is_faster(*sized(128, 96, 256, 5, 27), padding=0)
    assert is_faster(*sized(128, 256, 384, 3, 13), padding=1)
    assert not is_faster(*sized(128, 16, 32, 5, 27), padding=0)
    assert not is_faster(*sized(1, 256, 384, 3, 13), padding=1)
    assert not is_faster(*sized(0, 96, 256, 5, 27), padding=0)
    assert not is_faster(*sized(128, 96, 256, 1, 27), padding=0)
    assert not is_faster(*sized(128, 96, 256, 9, 27), padding=0)


@pytest.mark.parametrize(
    "settings", [{"dtype": torch.bfloat16}, {"dtype": torch.float64}, {"device": "meta"}]
)
def test_it_is_for_processors_in_float32(settings: dict[str, Any]) -> None:
    assert not is_faster(*sized(128, 96, 256, 5, 27, **settings), padding=0)


def narrow(network: Network) -> Network:
    return edit(
        network, *(f"{layer.name}.units=8" for layer in network.layers[:-1] if isinstance(layer, Dense))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notes", ["conv1", "conv2", "conv3", "conv4", "conv5"]),
        ("paper", ["conv1", "conv2", "conv3", "conv4", "conv5"]),
    ],
)
def test_a_batch_takes_it_in_these_layers(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: list[str]
) -> None:
    model = AlexNet(narrow(NETWORKS[name]), mean=[124.0] * 3, scale=[60.0] * 3)
    found: list[Tensor] = []

    def recorded(batch: Tensor, weight: Tensor, bias: Tensor, **settings: Any) -> Tensor:
        found.append(bias)
        return convolve(batch, weight, bias, **settings)

    monkeypatch.setattr(fused, "convolve", recorded)
    batch = torch.zeros(32, *model.network.input, dtype=torch.uint8)
    with torch.no_grad():
        FusedForward(model, precision=torch.float32)(batch)
        FusedForward(model, precision=torch.bfloat16)(batch[:2])
    names = {id(module.bias): each for each, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert [names[id(bias)] for bias in found] == expected

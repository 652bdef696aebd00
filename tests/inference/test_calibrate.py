"""Ranges of activations: with the least squared error, by trying them all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from alexnet import Dense, Flatten, Network, edit
from alexnet.inference.calibrate import best_range, calibrate
from alexnet.inference.graph import INPUT, Range
from alexnet.learning.model import AlexNet


def histogram(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.histogram(values, bins=2048, range=(low, high))[0].astype(float)


def error_of(values: np.ndarray, to: Range) -> float:
    """By torch's own quantisation."""
    zero = round(-to.low / ((to.high - to.low) / 255))
    rounded = torch.fake_quantize_per_tensor_affine(
        torch.from_numpy(values).float(), (to.high - to.low) / 255, zero, 0, 255
    )
    return float(((rounded.numpy() - values) ** 2).mean())


def test_a_value_that_nothing_else_comes_near_does_not_widen_the_range() -> None:
    values = np.append(np.abs(np.random.default_rng(0).normal(size=4_000_000)), 30.0)
    found = best_range(histogram(values, 0.0, 30.0), 0.0, 30.0)
    assert found.low == 0.0
    assert 3.0 <= found.high < 12.0
    assert error_of(values, found) < 0.7 * error_of(values, Range(low=0.0, high=30.0))


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (-2.0, 6.0)])
def test_no_other_range_has_a_smaller_error(low: float, high: float) -> None:
    values = np.clip(np.random.default_rng(1).normal(1.0, 1.2, 100_000), low, high)
    found = best_range(histogram(values, low, high), low, high)
    for share in (0.5, 0.7, 0.9, 1.0):
        assert error_of(values, found) <= error_of(values, Range(low=low * share, high=high * share)) * 1.01


def test_values_that_are_spread_evenly_keep_all_of_their_range() -> None:
    found = best_range(np.ones(2048), 0.0, 10.0)
    assert found.high >= 9.9


def test_a_network_in_which_nothing_is_rounded_has_the_range_of_its_pictures() -> None:
    layers = (Flatten(name="flatten"), Dense(name="dense", units=2))
    network = Network(name="flat", source="here", input=(2, 2, 3), layers=layers)
    tensors = {
        "normalize.mean": np.full(3, 100, np.float32),
        "normalize.scale": np.full(3, 50, np.float32),
        "dense.weight": np.ones((2, 12), np.float32),
        "dense.bias": np.zeros(2, np.float32),
    }
    pictures = np.array([0, 200], np.uint8)[:, None, None, None] + np.zeros((2, 2, 2, 3), np.uint8)
    ranges = calibrate(network, tensors, lambda: iter([pictures]))
    assert list(ranges) == [INPUT]
    assert -2.0001 <= ranges[INPUT].low < -1.9
    assert 1.9 < ranges[INPUT].high < 2.1


@pytest.mark.parametrize("change", ["conv1.padding=0", "conv1.padding=1"])
def test_each_activation_is_seen_on_the_pictures_that_are_given(small: Network, change: str) -> None:
    network = edit(small, change)
    torch.manual_seed(0)
    model = AlexNet(network, mean=[100.0] * 3, scale=[50.0] * 3).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 3), dtype=np.uint8)

    def batches() -> Iterator[np.ndarray]:
        yield pictures[:8]
        yield pictures[8:]

    tensors = {name: each.contiguous().numpy() for name, each in model.state_dict().items()}
    ranges = calibrate(network, tensors, batches)
    flow = torch.from_numpy(pictures)
    highest = {}
    with torch.inference_mode():
        for name, module in model.named_children():
            flow = module(flow)
            highest[name] = float(flow.max())
    for name in ("relu1", "relu2", "relu3", "relu4"):
        assert ranges[name].low == 0.0
        assert 0.3 * highest[name] < ranges[name].high <= highest[name] * 1.0001, name
    assert (INPUT in ranges) == (change == "conv1.padding=1")
    if INPUT in ranges:
        assert -2.0001 <= ranges[INPUT].low < -1.8
        assert 2.9 < ranges[INPUT].high < 3.1001

"""Local response normalisation against torch's own, which averages over channels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import local_response_norm as of_torch

from alexnet.learning import local_response
from alexnet.learning.local_response import local_response_norm

SETTINGS = {"alpha": 0.3, "beta": 0.75, "k": 1.5}


def made(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0])
def test_values_and_gradients_are_torch_s(size: int, beta: float) -> None:
    batch = made(3, 7, 5, 4)
    settings = SETTINGS | {"beta": beta}
    expected, found = of_torch(batch, size, **settings), local_response_norm(batch, size=size, **settings)
    assert distance(found, expected) < 1e-14
    slope = torch.randn(expected.shape, dtype=torch.float64)
    assert distance(*(torch.autograd.grad(each, batch, slope)[0] for each in (found, expected))) < 1e-14


@pytest.mark.parametrize("values", [1, 7, 60])
def test_a_few_pixels_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    monkeypatch.setattr(local_response, "_AT_ONCE", values)
    batch = made(2, 6, 3, 5)
    expected, found = of_torch(batch, 5, **SETTINGS), local_response_norm(batch, size=5, **SETTINGS)
    assert distance(found, expected) < 1e-14
    slope = torch.randn(expected.shape, dtype=torch.float64)
    assert distance(*(torch.autograd.grad(each, batch, slope)[0] for each in (found, expected))) < 1e-14


def test_memory_that_is_not_channels_last_is_taken_too() -> None:
    batch = made(2, 6, 3, 5).detach().contiguous().requires_grad_()
    found = local_response_norm(batch, size=5, **SETTINGS)
    assert distance(found, of_torch(batch, 5, **SETTINGS)) < 1e-14
    slope = torch.randn(found.shape, dtype=torch.float64)  # as flattening behind it gives it
    expected = torch.autograd.grad(of_torch(batch, 5, **SETTINGS), batch, slope)[0]
    assert distance(torch.autograd.grad(found, batch, slope)[0], expected) < 1e-14


def test_bfloat16_is_summed_in_float32() -> None:
    batch = made(2, 96, 9, 9).bfloat16().detach().requires_grad_()
    exact = batch.detach().double().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = local_response_norm(batch, size=5, **SETTINGS)
    expected = of_torch(exact, 5, **SETTINGS)
    assert found.dtype == torch.bfloat16
    assert distance(found.double(), expected) < 2**-9  # one rounding, to 8 binary digits
    slope = torch.randn(found.shape).bfloat16()
    of_exact = torch.autograd.grad(expected, exact, slope.double())[0]
    assert distance(torch.autograd.grad(found, batch, slope)[0].double(), of_exact) < 2**-9


def test_training_goes_on_after_answers_were_given() -> None:
    local_response._band.cache_clear()
    batch = made(2, 6, 3, 5)
    with torch.inference_mode():
        local_response_norm(batch.detach(), size=5, **SETTINGS)  # its band is one of inference mode
    found = torch.autograd.grad(local_response_norm(batch, size=5, **SETTINGS).sum(), batch)[0]
    assert distance(found, torch.autograd.grad(of_torch(batch, 5, **SETTINGS).sum(), batch)[0]) < 1e-14

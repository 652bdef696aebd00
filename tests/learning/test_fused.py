"""The rewritten network against torch's plain modules and convolution; dropout counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from alexnet import NETWORKS, Dense, Dropout, MaxPool, Network, edit
from alexnet.learning import fused
from alexnet.learning.fused import Colour, FusedForward, blocked_kernel, to_blocks
from alexnet.learning.model import AlexNet

WHOLE, FRACTIONAL = [100.0, 110.0, 120.0], [100.5, 110.25, 120.0]
SCALE = [50.0, 60.0, 70.0]
MEANS = pytest.mark.parametrize("mean", [WHOLE, FRACTIONAL], ids=["whole", "fractional"])


def shrunk(network: Network) -> Network:
    """The same layers with few fully connected units, for small pictures that no stride divides."""
    hidden = [layer.name for layer in network.layers if isinstance(layer, Dense)][:-1]
    side = "199x203x3" if network.name == "notes" else "71x75x3"  # its convolutions do not pad
    return edit(network, f"input={side}", "classes=7", *(f"{name}.units=24" for name in hidden))


def model_of(network: Network, *, mean: list[float] = WHOLE) -> AlexNet:
    torch.manual_seed(0)
    model = AlexNet(network, mean=mean, scale=SCALE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)  # at zero, a bias that is left out would not show
    return model


def pictures_for(network: Network, count: int = 2, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *network.input), dtype=torch.uint8, generator=random)


def answer(forward: Any, model: AlexNet, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradients of a weighted sum of them, with dropout's numbers from one seed."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(2)
    logits = forward(batch)
    (logits * torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)).sum().backward()
    return logits.detach(), {name: each.grad.clone() for name, each in model.named_parameters()}  # type: ignore[union-attr]


def plainly(model: AlexNet) -> Callable[[Tensor], Tensor]:
    """A layer after the other; what is dropped is drawn for the whole batch, and not by nn.Dropout."""

    def forward(flow: Tensor) -> Tensor:
        for module in model.children():
            if isinstance(module, nn.Dropout):
                flow = flow * (torch.rand(flow.shape) >= module.p) / (1 - module.p)
            else:
                flow = module(flow)
        return flow

    return forward


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# --- the same function ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@MEANS
def test_logits_and_gradients_are_the_model_s(name: str, mean: list[float]) -> None:
    network = shrunk(NETWORKS[name])
    model, batch = model_of(network, mean=mean), pictures_for(network)
    expected, slopes = answer(plainly(model), model, batch)
    logits, found = answer(FusedForward(model, precision=torch.float32), model, batch)
    assert distance(logits, expected) < 1e-5
    for parameter, slope in slopes.items():
        assert slope.norm() > 0, parameter
        # A value next to a ReLU's kink may fall on either side. In vgg16 hundredths come of that, between
        # torch's own float32 and float64, too; below, in float64, nothing does.
        assert distance(found[parameter], slope) < (0.05 if name.startswith("vgg") else 1e-3), parameter


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("winograd", [False, True])
@MEANS
def test_in_float64_they_are_the_same_to_its_last_digits(
    monkeypatch: pytest.MonkeyPatch, name: str, winograd: bool, mean: list[float]
) -> None:
    monkeypatch.setattr(fused, "is_faster", lambda _, weight, **__: winograd and 1 < weight.shape[2] < 8)
    network = shrunk(NETWORKS[name])
    model, batch = model_of(network, mean=mean).double(), pictures_for(network)
    expected, slopes = answer(plainly(model), model, batch)
    logits, found = answer(FusedForward(model, precision=torch.float64), model, batch)
    assert distance(logits, expected) < 1e-12
    assert all(distance(found[each], slopes[each]) < 1e-12 for each in slopes)


@pytest.mark.parametrize("spoilt", ["mean", "scale", "bias"])
def test_the_comparison_can_fail(small: Network, spoilt: str) -> None:
    model, batch = model_of(small), pictures_for(small)
    forward = FusedForward(model, precision=torch.float32)
    expected, _ = answer(forward, model, batch)
    with torch.no_grad():
        {
            "mean": model.get_buffer("normalize.mean"),
            "scale": model.get_buffer("normalize.scale"),
            "bias": model.get_parameter("conv1.bias"),
        }[spoilt].add_(1.0)
    assert distance(model(batch).detach(), expected) > 1e-3


@MEANS
def test_bf16_is_near_and_the_mean_is_subtracted_exactly(small: Network, mean: list[float]) -> None:
    model, batch = model_of(small, mean=mean), pictures_for(small, 8)
    expected, _ = answer(model, model, batch)
    logits, _ = answer(FusedForward(model, precision=torch.bfloat16), model, batch)
    assert logits.dtype == torch.bfloat16
    assert distance(logits.float(), expected) < 0.05
    # bfloat16 has eight binary digits: all differences of whole grey levels, of which none is above 256.
    grey = torch.arange(256, dtype=torch.bfloat16)
    differences = grey[:, None] - grey
    assert torch.equal(differences.long(), torch.arange(256)[:, None] - torch.arange(256))


def test_every_pool_without_padding_goes_ahead_of_its_relu_and_nothing_else_moves() -> None:
    network = NETWORKS["caffenet"]
    forward = FusedForward(model_of(shrunk(network)), precision=torch.float32)
    names = [layer.name for layer in forward.rest]
    assert names[:5] == ["relu1", "norm1", "conv2", "relu2", "norm2"]
    pools = {convolution: pool.name for convolution, pool in forward.pools.items()}
    assert pools == {"conv1": "pool1", "conv2": "pool2"}
    assert [name for name in names if name.startswith("pool")] == ["pool5"]  # which spreads its windows
    together = ["conv1", *names, *pools.values()]
    assert sorted(together) == sorted(layer.name for layer in network.layers)
    # In the paper's network the normalisation lies between.
    paper = FusedForward(model_of(shrunk(NETWORKS["paper"])), precision=torch.float32)
    assert [layer.name for layer in paper.rest[:3]] == ["relu1", "norm1", "pool1"]


def test_a_pool_with_padding_stays_behind_its_relu(small: Network) -> None:
    layers = tuple(
        replace(layer, padding=1) if isinstance(layer, MaxPool) else layer for layer in small.layers
    )
    network = replace(small, layers=layers)
    model = model_of(network)
    forward = FusedForward(model, precision=torch.float32)
    assert [layer.name for layer in forward.rest[:2]] == ["relu1", "pool1"]
    batch = pictures_for(network)
    assert distance(answer(forward, model, batch)[0], answer(model, model, batch)[0]) < 1e-5


def test_a_batch_without_a_picture_has_logits_and_gradients_of_zero(small: Network) -> None:
    model = model_of(small)
    logits, slopes = answer(FusedForward(model, precision=torch.float32), model, pictures_for(small, 0))
    assert logits.shape == (0, 3)
    assert all(float(slope.abs().sum()) == 0 for slope in slopes.values())


# --- blocks of pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 3, 4, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, 8, 11])
def test_a_convolution_over_blocks_is_torch_s_with_the_stride(kernel: int, stride: int) -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, kernel, kernel, dtype=torch.float64, generator=random)
    for height in range(kernel, kernel + 2 * stride + 1):
        for width in (kernel, kernel + stride, 23):
            batch = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=random)
            blocks = to_blocks(batch, kernel, stride)
            assert blocks.is_contiguous(memory_format=torch.channels_last)
            found = conv2d(blocks.double(), blocked_kernel(weight, stride))
            expected = conv2d(batch.permute(0, 3, 1, 2).double(), weight, stride=stride)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)


def test_the_comparison_of_convolutions_can_fail() -> None:
    batch = pictures_for(edit(NETWORKS["notes"], "input=23x23x3"))
    weight = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    found = conv2d(to_blocks(batch, 5, 2).double(), blocked_kernel(weight.transpose(2, 3), 2))
    expected = conv2d(batch.permute(0, 3, 1, 2).double(), weight, stride=2)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() > 1


def by_blocks(network: Network, mean: list[float]) -> bool:
    with torch.device("meta"):
        model = AlexNet(network, mean=mean, scale=SCALE)
    model.get_submodule("normalize").load_state_dict(
        {"mean": torch.tensor(mean), "scale": torch.tensor(SCALE)}, assign=True
    )
    return FusedForward(model, precision=torch.float32).first is not None


def test_blocks_are_for_a_first_convolution_with_a_stride_that_neither_pads_nor_groups() -> None:
    # 2012's code pads at one side and rounds up, torchvision and ZFNet pad, the others go a pixel at a time.
    assert {name for name, network in NETWORKS.items() if by_blocks(network, WHOLE)} == {
        "notes",
        "paper",
        "caffenet",
        "ungrouped",
    }


def test_blocks_are_for_means_that_bf16_holds() -> None:
    assert not any(by_blocks(network, FRACTIONAL) for network in NETWORKS.values())


@pytest.mark.parametrize(
    "change",
    ["conv1.padding=1", "conv1.groups=3", "conv1.stride=1", "conv1.extra_padding=1", "conv1.rounding=up"],
)
def test_what_does_not_fit_blocks_is_computed_plainly(small: Network, change: str) -> None:
    network = edit(small, "conv1.filters=9", change)
    assert by_blocks(edit(small, "conv1.filters=9"), WHOLE)
    assert not by_blocks(network, WHOLE)
    model, batch = model_of(network), pictures_for(network)
    forward = FusedForward(model, precision=torch.float32)
    assert distance(answer(forward, model, batch)[0], answer(model, model, batch)[0]) < 1e-5


# --- colour -----------------------------------------------------------------------------------------------


@MEANS
@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16], ids=str)
def test_colour_is_as_if_the_pixels_had_been_changed(
    small: Network, mean: list[float], precision: torch.dtype
) -> None:
    model, batch = model_of(small, mean=mean), pictures_for(small, 3)
    if precision == torch.float64:
        model = model.double()
    gain = torch.tensor([[0.5], [1.25], [1.0]], dtype=torch.float64)
    shift = torch.tensor([[1.5, -2.0, 30.0], [0.0, 0.0, 0.0], [-9.0, 8.0, 7.0]], dtype=torch.float64)
    changed = torch.stack([batch[i].double() * gain[i, 0] + shift[i] for i in range(3)])
    expected = model(changed.to(model.get_buffer("normalize.mean").dtype)).detach()
    if precision == torch.bfloat16:
        gain, shift = gain.float(), shift.float()
    forward = FusedForward(model, precision=precision)
    logits = forward(batch, Colour(gain=gain, shift=shift)).detach()
    assert distance(logits.double(), expected.double()) < (1e-12 if precision == torch.float64 else 0.05)
    assert distance(forward(batch).detach().double(), expected.double()) > 0.05, "the colours do not matter"


# --- dropout ----------------------------------------------------------------------------------------------


def wide(small: Network, *, with_dropout: bool = False) -> Network:
    """Wide enough to count units of, which all give 1 whatever the picture; see `with_ones`."""
    layers = list(edit(small, "fc2.units=400").layers)
    if with_dropout:
        layers.insert(-1, Dropout(name="drop", rate=0.25))
    return replace(small, layers=tuple(layers))


@torch.no_grad()
def with_ones(model: AlexNet) -> AlexNet:
    model.get_parameter("fc2.weight").zero_()
    model.get_parameter("fc2.bias").fill_(1.0)
    return model


def seen_by_the_last_layer(
    model: AlexNet, forward: Callable[..., Tensor], batch: Tensor, **settings: Any
) -> Tensor:
    """What fc3 gets, from what the layer gives when its weights pick one unit after the other."""
    last = model.get_submodule("fc3")
    seen: list[Tensor] = []
    hook = last.register_forward_hook(lambda _module, given, _result: seen.append(given[0].detach()))
    forward(batch, **settings)
    hook.remove()
    (found,) = seen
    return found


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.9])
def test_dropout_zeroes_its_share_of_the_units_and_scales_up_the_others(small: Network, rate: float) -> None:
    model = with_ones(model_of(wide(small)))
    forward = FusedForward(model, precision=torch.float32)
    found = seen_by_the_last_layer(model, partial(forward, dropout=rate), pictures_for(small, 50))
    kept = found != 0
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / (1 - rate)))
    # Of 50 x 400 units: five standard deviations are below 0.018.
    assert float(kept.float().mean()) == pytest.approx(1 - rate, abs=0.018)
    assert not torch.equal(kept[0], kept[1])  # each picture has its own


def test_every_hidden_fully_connected_layer_drops_and_the_last_does_not(small: Network) -> None:
    model = model_of(small)
    with torch.no_grad():
        for name in ("fc1", "fc2", "fc3"):
            model.get_parameter(f"{name}.weight").zero_()
            model.get_parameter(f"{name}.bias").fill_(1.0)
    forward = FusedForward(model, precision=torch.float32)
    seen: dict[str, Tensor] = {}
    for name in ("fc2", "fc3"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, given, _result, name=name: seen.update({name: given[0].detach()})
        )
    logits = forward(pictures_for(small, 20), dropout=0.5)
    assert [sorted(set(each.flatten().tolist())) for each in seen.values()] == [[0.0, 2.0]] * 2
    assert torch.equal(logits, torch.ones(20, 3))


@pytest.mark.parametrize("own", [False, True], ids=["of the recipe", "of the network"])
def test_the_same_places_lose_the_same_units_however_a_batch_is_split(small: Network, own: bool) -> None:
    model, batch = model_of(wide(small, with_dropout=own)), pictures_for(small, 7)
    forward = partial(FusedForward(model, precision=torch.float32), dropout=0.5)
    torch.manual_seed(3)
    whole = forward(batch).detach()
    # In two, in three, and with two pictures that could not be read.
    for part in ((0, 4), (4, 7), (0, 2), (2, 4)):
        places = torch.arange(*part)
        torch.manual_seed(3)
        logits = forward(batch[places], places=places, total=7)
        torch.testing.assert_close(logits.detach(), whole[places], rtol=1e-4, atol=1e-5)
    readable = torch.tensor([0, 2, 3, 5, 6])
    torch.manual_seed(3)
    logits = forward(batch[readable], places=readable, total=7)
    torch.testing.assert_close(logits.detach(), whole[readable], rtol=1e-4, atol=1e-5)
    torch.manual_seed(3)
    assert not torch.allclose(forward(batch[2:4]).detach(), whole[2:4], rtol=1e-2)  # as if it were the whole


def test_dropped_units_give_no_gradient_and_others_the_scaled_one(small: Network) -> None:
    """Against relu(fc2) times what was kept over 1 - rate, by torch's plain operations."""
    model, batch = model_of(small).double(), pictures_for(small, 4)
    torch.manual_seed(5)
    kept = [torch.rand(4, units) >= 0.5 for units in (24, 16)]
    flow = model.get_submodule("normalize")(batch)
    for name in ("conv1", "relu1", "pool1", "conv2", "relu2", "flatten"):
        flow = model.get_submodule(name)(flow)
    for name, each in zip(("fc1", "fc2"), kept, strict=True):
        flow = relu(model.get_submodule(name)(flow)) * each / 0.5
    expected = model.get_submodule("fc3")(flow)
    slopes = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    torch.manual_seed(5)
    forward = FusedForward(model, precision=torch.float64)
    logits = forward(batch, dropout=0.5)
    found = torch.autograd.grad(logits.square().sum(), list(model.parameters()))
    assert distance(logits.detach(), expected.detach()) < 1e-12
    assert all(distance(ours, plain) < 1e-12 for ours, plain in zip(found, slopes, strict=True))


def test_a_network_with_dropout_layers_of_its_own_is_not_dropped_twice(small: Network) -> None:
    model = with_ones(model_of(wide(small, with_dropout=True)))
    forward = FusedForward(model, precision=torch.float32)
    found = seen_by_the_last_layer(model, partial(forward, dropout=0.9), pictures_for(small, 50))
    kept = found != 0
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / 0.75))
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.018)


@pytest.mark.parametrize("own", [False, True], ids=["of the recipe", "of the network"])
def test_nothing_is_dropped_when_the_network_is_judged(small: Network, own: bool) -> None:
    model = model_of(wide(small, with_dropout=own))
    fused, batch = FusedForward(model, precision=torch.float32), pictures_for(small)
    forward = partial(fused, dropout=0.5)
    fused.eval()
    logits = forward(batch).detach()
    assert torch.equal(logits, forward(batch).detach())
    assert distance(logits, model.eval()(batch).detach()) < 1e-5
    fused.train()
    assert not torch.equal(forward(batch).detach(), forward(batch).detach())

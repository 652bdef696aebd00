"""Attributions against torch's own gradients, and on networks made by hand of which the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from alexnet import NETWORKS, Conv, Dense, Flatten, MaxPool, Network, NetworkError, PictureError, ReLU, edit
from alexnet.images.decode import Picture
from alexnet.inside.attribution import Heat, cam_layer, grad_cam, integrated_gradients, occlusion
from alexnet.learning.model import AlexNet

# VGG-16 on small pictures has every layer, in a twelfth of the time.
ZOO = {**NETWORKS, "vgg16": edit(NETWORKS["vgg16"], "input=64")}


def noise(network: Network, *, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, network.input, dtype=np.uint8)


@pytest.fixture
def model(small: Network) -> AlexNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AlexNet(small)


def grad_cam_by_hand(model: AlexNet, crop: Picture, label: int, layer: str) -> Heat:
    """Selvaraju et al. 2017, equations 1 and 2: weights are mean gradients, the sum is rectified."""
    modules = dict(model.eval().named_children())
    names = list(modules)
    at = names.index(layer) + 1
    value = torch.from_numpy(crop)[None]
    with torch.no_grad():
        for name in names[:at]:
            value = modules[name](value)
    held = value.clone().requires_grad_()
    answer = held
    for name in names[at:]:
        answer = modules[name](answer)
    (gradient,) = torch.autograd.grad(answer[0, label], held)
    maps, weights = held[0].detach().numpy(), gradient[0].numpy().mean(axis=(1, 2))
    total: Heat = sum(
        (weight * each for weight, each in zip(weights, maps, strict=True)), np.zeros_like(maps[0])
    )
    return np.maximum(total, 0)


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2"])
def test_grad_cam_is_what_its_equations_give(model: AlexNet, layer: str) -> None:
    crop = noise(model.network)
    expected = [grad_cam_by_hand(model, crop, label, layer) for label in range(3)]
    assert np.any(expected)  # where nothing speaks for a class all of one is 0
    got = [grad_cam(model, crop, label=label, layer=layer) for label in range(3)]
    assert {each.dtype for each in got} == {np.dtype(np.float32)}
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("network", ZOO.values(), ids=ZOO)
def test_grad_cam_of_every_network_is_what_its_equations_give(network: Network) -> None:
    model, crop = AlexNet(edit(network, "classes=10")), noise(network)
    expected = grad_cam_by_hand(model, crop, 3, cam_layer(network))
    np.testing.assert_allclose(grad_cam(model, crop, label=3), expected, rtol=1e-2, atol=1e-6)


def test_without_a_label_it_is_about_the_likeliest_class(model: AlexNet) -> None:
    crop = noise(model.network)
    with torch.no_grad():
        likeliest = int(model.eval()(torch.from_numpy(crop)[None]).argmax())
    np.testing.assert_array_equal(
        grad_cam(model, crop, layer="pool1"), grad_cam(model, crop, label=likeliest, layer="pool1")
    )
    other = grad_cam(model, crop, label=(likeliest + 1) % 3, layer="pool1")
    assert not np.allclose(grad_cam(model, crop, layer="pool1"), other)


def test_without_a_layer_it_looks_behind_the_last_convolution(model: AlexNet) -> None:
    crop = noise(model.network)
    np.testing.assert_array_equal(
        grad_cam(model, crop, label=1), grad_cam(model, crop, label=1, layer="relu2")
    )


CONV = Conv(name="c", filters=2, kernel=3)
TAIL = (Flatten(name="f"), Dense(name="d", units=2))


def network(*layers: Conv | ReLU | MaxPool | Flatten | Dense) -> Network:
    return Network(name="own", input=(9, 9, 3), layers=layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_default_layer_of_every_network_is_the_relu_of_its_last_convolution(name: str) -> None:
    assert cam_layer(NETWORKS[name]) == ("relu5_3" if name == "vgg16" else "relu5")


def test_the_default_layer_is_a_volume_behind_a_convolution() -> None:
    pool = MaxPool(name="p", kernel=2, stride=2)
    second = Conv(name="c2", filters=2, kernel=3)
    assert cam_layer(network(CONV, pool, ReLU(name="r"), *TAIL, ReLU(name="r2"))) == "r"
    assert cam_layer(network(CONV, ReLU(name="r"), second, *TAIL)) == "r"
    with pytest.raises(NetworkError, match=r"network 'own': no convolution with a ReLU.*one of c$"):
        cam_layer(network(CONV, *TAIL, ReLU(name="r")))
    with pytest.raises(NetworkError, match="another network"):
        cam_layer(network(*TAIL))


@pytest.mark.parametrize(
    ("label", "layer", "words"),
    [
        (3, None, "label: 3; must be 0 to 2"),
        (-1, None, "label: -1"),
        (None, "conv9", "no layer 'conv9'; did you mean"),
        (None, "normalize", "no layer 'normalize'"),
        (None, "fc1", "Layer 'fc1': gives a vector of 24; must give a volume.* one of conv1, relu1"),
        (None, "flatten", "Layer 'flatten': gives a vector of"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_is_refused(
    model: AlexNet, label: int | None, layer: str | None, words: str
) -> None:
    with pytest.raises(NetworkError, match=words):
        grad_cam(model, noise(model.network), label=label, layer=layer)


def test_a_crop_of_another_size_is_refused(model: AlexNet) -> None:
    with pytest.raises(PictureError, match="must be 24x24x3"):
        grad_cam(model, np.zeros((25, 24, 3), np.uint8), label=0)


def test_weights_that_are_frozen_are_explained_too_and_have_no_gradients_after(model: AlexNet) -> None:
    crop = noise(model.network)
    expected = grad_cam(model, crop, label=2)
    assert all(each.grad is None for each in model.parameters())
    np.testing.assert_array_equal(grad_cam(model.requires_grad_(False), crop, label=2), expected)


def red_and_blue() -> AlexNet:
    """By hand: logit 0 is the picture's redness above the mean, logit 1 its blueness, summed over pixels."""
    described = Network(
        name="red and blue",
        input=(12, 10, 3),
        layers=(
            Conv(name="colour", filters=2, kernel=1),
            ReLU(name="there"),
            Flatten(name="flat"),
            Dense(name="sum", units=2),
        ),
    )
    model = AlexNet(described, mean=[100.0, 100.0, 100.0], scale=[10.0, 10.0, 10.0])
    with torch.no_grad():
        for each in model.parameters():
            each.zero_()
        model.get_parameter("colour.weight")[0, 0] = 1.0
        model.get_parameter("colour.weight")[1, 2] = 1.0
        model.get_parameter("sum.weight")[0, :120] = 1.0
        model.get_parameter("sum.weight")[1, 120:] = 1.0
    return model


def red_object() -> Picture:
    """A red square of 3 x 2 pixels at row 4, column 6, and a blue one at the top left, on the mean grey."""
    crop = np.full((12, 10, 3), 100, np.uint8)
    crop[4:7, 6:8] = (200, 100, 100)
    crop[:2, :2] = (100, 100, 160)
    return crop


@pytest.mark.parametrize(
    ("label", "rows", "columns", "each"),
    [(0, slice(4, 7), slice(6, 8), 10.0), (1, slice(0, 2), slice(0, 2), 6.0)],
)
def test_every_method_finds_the_object_of_a_class(
    label: int, rows: slice, columns: slice, each: float
) -> None:
    # Each red pixel adds (200 - 100) / 10 = 10 to logit 0, each blue one (160 - 100) / 10 = 6 to logit 1.
    model, crop = red_and_blue(), red_object()
    expected = np.zeros((12, 10))
    expected[rows, columns] = each
    hidden = occlusion(model, crop, label=label, window=1, stride=1)
    np.testing.assert_allclose(hidden, expected, atol=1e-4)
    gradients = integrated_gradients(model, crop, label=label, steps=5)
    np.testing.assert_allclose(gradients.sum(axis=2), expected, atol=1e-4)
    # The logit is the sum of one map: that map's mean gradient is 1, the other's 0.
    cam = grad_cam(model, crop, label=label, layer="there")
    np.testing.assert_allclose(cam, expected, atol=1e-4)


def test_occlusion_is_what_plain_loops_give(model: AlexNet) -> None:
    crop, window, stride, label = noise(model.network), 7, 4, 2

    mean = model.get_buffer("normalize.mean").numpy()

    def logit(picture: npt.NDArray[Any]) -> float:
        with torch.no_grad():
            return float(model.eval()(torch.from_numpy(picture)[None])[0, label])

    lost, times = np.zeros((24, 24)), np.zeros((24, 24))
    # Windows every 4 pixels as long as there is something left to hide: 0, 4, ..., 20.
    for top in range(0, 21, stride):
        for left in range(0, 21, stride):
            picture = crop.astype(np.float32)
            picture[top : top + window, left : left + window] = mean
            inside = (slice(top, top + window), slice(left, left + window))
            lost[inside] += logit(crop) - logit(picture)
            times[inside] += 1
    got = occlusion(model, crop, label=label, window=window, stride=stride)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, lost / times, atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_of_the_logits(model: AlexNet) -> None:
    crop = noise(model.network)
    grey = model.get_buffer("normalize.mean").expand(1, *crop.shape)
    with torch.no_grad():
        seen, nothing = (model.eval()(each)[0] for each in (torch.from_numpy(crop)[None], grey))
    expected = (seen - nothing).numpy()
    assert np.abs(expected).max() > 0.02
    found = [integrated_gradients(model, crop, label=label, steps=300) for label in range(3)]
    assert {each.shape for each in found} == {crop.shape}
    sums = [each.sum() for each in found]
    np.testing.assert_allclose(sums, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("window", "stride", "words"),
    [(25, 5, "window of 25.* 1 to 24"), (0, 1, "1 to 24"), (5, 6, "stride of 6.* 1 to 5"), (5, 0, "1 to 5")],
)
def test_windows_that_hide_nothing_or_not_all_are_refused(
    model: AlexNet, window: int, stride: int, words: str
) -> None:
    with pytest.raises(PictureError, match=words):
        occlusion(model, noise(model.network), window=window, stride=stride)
    with pytest.raises(PictureError, match="0 steps"):
        integrated_gradients(model, noise(model.network), steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("network", ZOO.values(), ids=ZOO)
def test_every_network_can_be_asked(network: Network) -> None:
    model, crop = AlexNet(edit(network, "classes=10")), noise(network)
    side = network.input[0] // 2
    assert occlusion(model, crop, label=0, window=side, stride=side).shape == crop.shape[:2]
    assert integrated_gradients(model, crop, label=0, steps=2).shape == crop.shape

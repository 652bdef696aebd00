"""Attributions against torch's own gradients, and on networks made by hand of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alexnet import NETWORKS, Conv, Dense, Flatten, MaxPool, Network, NetworkError, PictureError, ReLU, edit
from alexnet.images.decode import Picture
from alexnet.inside.attribution import Heat, cam_layer, grad_cam
from alexnet.learning.model import AlexNet


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
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
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

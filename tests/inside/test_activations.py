"""What is kept of a picture's way through a network, against torch's hooks and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alexnet import NETWORKS, Conv, Dense, Flatten, Network, PictureError, ReLU, WeightsError, edit
from alexnet.images.decode import Picture
from alexnet.inside.activations import record
from alexnet.learning.model import AlexNet


def noise(network: Network, *, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, network.input, dtype=np.uint8)


def kept_by_hooks(model: AlexNet, crop: Picture) -> dict[str, Tensor]:
    """Every module's output in the model's own forward pass, as it was at that moment."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            kept[name] = output[0].detach().clone()

        handles.append(model.get_submodule(name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, _ in model.named_children():
        keep(name)
    model.eval()(torch.from_numpy(crop)[None])
    for handle in handles:
        handle.remove()
    return kept


def assert_kept(network: Network) -> None:
    model, crop = AlexNet(network), noise(network)
    maps = record(model, crop).maps
    expected = kept_by_hooks(model, crop)
    assert list(maps) == list(expected) == ["normalize", *(layer.name for layer in network.layers)]
    for name, each in maps.items():
        assert each.dtype == np.float32
        np.testing.assert_allclose(each, expected[name].numpy(), rtol=1e-5, atol=1e-5, err_msg=name)


def test_every_layer_is_kept_as_the_forward_pass_has_it(small: Network) -> None:
    assert_kept(small)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_layer_of_every_network_is_kept(network: Network) -> None:
    assert_kept(edit(network, "classes=10"))


def test_the_first_map_is_the_picture_normalised_depth_first(small: Network) -> None:
    crop = noise(small)
    maps = record(AlexNet(small, mean=[1.0, 2.0, 3.0], scale=[4.0, 5.0, 6.0]), crop).maps
    for channel in range(3):
        expected = (crop[:, :, channel].astype(float) - (1 + channel)) / (4 + channel)
        np.testing.assert_allclose(maps["normalize"][channel], expected, rtol=1e-5)


def test_a_convolution_keeps_what_is_below_zero_and_its_relu_does_not(small: Network) -> None:
    maps = record(AlexNet(small), noise(small)).maps
    assert maps["conv1"].min() < 0
    np.testing.assert_array_equal(maps["relu1"], np.maximum(maps["conv1"], 0))
    assert not any(
        np.shares_memory(first, second)
        for first in maps.values()
        for second in maps.values()
        if first is not second
    )


def test_the_logits_are_what_the_model_answers(small: Network) -> None:
    model, crop = AlexNet(small), noise(small)
    activations = record(model, crop)
    with torch.no_grad():
        answer = model.eval()(torch.from_numpy(crop)[None])[0]
    np.testing.assert_allclose(activations.logits, answer.numpy(), rtol=1e-5)
    assert activations.crop is crop


def test_values_that_are_not_finite_are_told_with_their_layer(small: Network) -> None:
    model = AlexNet(small)
    with torch.no_grad():
        for name in ("conv1", "conv2"):
            model.get_submodule(name).get_parameter("weight").fill_(1e30)
    with pytest.raises(WeightsError, match="network 'small': conv2 gives values that are not finite"):
        record(model, noise(small))


def test_dropout_is_closed_while_looking(small: Network) -> None:
    network = edit(NETWORKS["small"], "classes=4")
    model = AlexNet(network).train()
    first, second = (record(model, noise(network)) for _ in range(2))
    np.testing.assert_array_equal(first.logits, second.logits)


def test_a_network_of_one_channel_takes_a_crop_of_one() -> None:
    network = Network(
        name="grey",
        input=(6, 5, 1),
        layers=(
            Conv(name="c", filters=2, kernel=3),
            ReLU(name="r"),
            Flatten(name="f"),
            Dense(name="d", units=2),
        ),
    )
    assert record(AlexNet(network), noise(network)).maps["c"].shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((24, 24, 1), np.uint8, "24x24x1 of uint8; must be 24x24x3 of uint8"),
        ((23, 24, 3), np.uint8, "23x24x3 of uint8"),
        ((24, 24, 3), np.float32, "24x24x3 of float32"),
    ],
)
def test_a_crop_that_the_network_does_not_take_is_refused(
    small: Network, shape: tuple[int, ...], dtype: type, words: str
) -> None:
    with pytest.raises(PictureError, match=words):
        record(AlexNet(small), np.zeros(shape, dtype))


def test_a_grey_picture_that_repeats_one_channel_and_cannot_be_written_to_is_a_crop(small: Network) -> None:
    grey = np.broadcast_to(noise(small)[:, :, :1], small.input)
    np.testing.assert_array_equal(
        record(AlexNet(small, mean=[0, 0, 0], scale=[1, 1, 1]), grey).maps["normalize"],
        grey.transpose(2, 0, 1),
    )

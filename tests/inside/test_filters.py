"""Kernels as pictures, turned back into the weights that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alexnet import NETWORKS, Conv, Dense, Flatten, Network, edit
from alexnet.inside.filters import first_kernels
from alexnet.learning.model import AlexNet


def test_the_pictures_are_the_weights(small: Network) -> None:
    model = AlexNet(small)
    kernels = first_kernels(model)
    assert kernels is not None
    weights = model.get_parameter("conv1.weight").detach().numpy()
    assert kernels.tiles.shape == (8, 5, 5, 3)
    assert kernels.layer == "conv1"
    for index, (tile, largest) in enumerate(zip(kernels.tiles, kernels.largest, strict=True)):
        assert largest == np.abs(weights[index]).max()
        back = (tile.astype(float) - 127.5) / 127.5 * largest
        # Rounded to bytes: half of one of 255 steps from -largest to largest.
        np.testing.assert_allclose(back.transpose(2, 0, 1), weights[index], atol=1.001 * largest / 255)
        assert {0, 255} & {int(tile.min()), int(tile.max())}


def test_a_kernel_of_nothing_is_grey_and_red_is_red(small: Network) -> None:
    model = AlexNet(small)
    with torch.no_grad():
        model.get_parameter("conv1.weight")[0] = 0.0
        model.get_parameter("conv1.weight")[1] = 0.0
        model.get_parameter("conv1.weight")[1, 0, 2, 3] = 0.01  # red, third row, fourth column
    kernels = first_kernels(model)
    assert kernels is not None
    assert np.unique(kernels.tiles[0]).tolist() == [128]
    assert kernels.tiles[1, 2, 3].tolist() == [255, 128, 128]
    assert (kernels.tiles[1] != 128).sum() == 1


@pytest.mark.parametrize(
    ("name", "towers"),
    # Krizhevsky et al. 2012, figure 2: two GPUs, between which the first layer's filters are divided.
    [("paper", 2), ("source2012", 2), ("caffenet", 2), ("notes", 1), ("torchvision", 1), ("vgg16", 1)],
)
def test_the_towers_are_those_of_2012(name: str, towers: int) -> None:
    with torch.device("meta"):
        model = AlexNet(NETWORKS[name])
    first = next(layer.name for layer in NETWORKS[name].layers if isinstance(layer, Conv))
    filled = torch.nn.Parameter(torch.randn(model.get_parameter(f"{first}.weight").shape))
    setattr(model.get_submodule(first), "weight", filled)  # noqa: B010  # the others stay without memory
    kernels = first_kernels(model)
    assert kernels is not None
    assert (kernels.towers, kernels.layer) == (towers, first)


def test_a_network_without_colour_kernels_has_none(small: Network) -> None:
    assert first_kernels(AlexNet(edit(small, "input=24x24x1"))) is None
    flat = Network(name="flat", input=(4, 4, 3), layers=(Flatten(name="f"), Dense(name="d", units=2)))
    assert first_kernels(AlexNet(flat)) is None

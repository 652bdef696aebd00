"""What excites filters, beside a plain search through every value of every picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from alexnet import NETWORKS, Conv, DataError, Dense, Flatten, MaxPool, Network, ReLU, edit, summarize
from alexnet.images.decode import Picture
from alexnet.images.views import View, read_centre
from alexnet.inside.patch_sheets import patch_sheets
from alexnet.inside.patches import Patch, cut, find_patches, placed_convolutions
from alexnet.inside.sheets import BLANK
from alexnet.learning.model import AlexNet

VIEW = View.of(24, 24)


@pytest.fixture
def model(small: Network) -> AlexNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AlexNet(small)


@pytest.fixture
def files(coloured: Path) -> list[Path]:
    return sorted(coloured.rglob("*.png"))


def conv2_of(model: AlexNet, crop: Picture) -> torch.Tensor:
    """What the small network's second convolution gives, without the class that holds it."""
    value = (
        torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float()
        - model.get_buffer("normalize.mean")[:, None, None]
    )
    value = value / model.get_buffer("normalize.scale")[:, None, None]
    with torch.no_grad():
        value = nn.functional.conv2d(
            value, model.get_parameter("conv1.weight"), model.get_parameter("conv1.bias"), stride=2
        )
        value = nn.functional.max_pool2d(torch.relu(value), 3, 2)
        return nn.functional.conv2d(
            value, model.get_parameter("conv2.weight"), model.get_parameter("conv2.bias"), padding=1
        )[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_places_are_those_of_the_largest_values(model: AlexNet, files: list[Path], workers: int) -> None:
    told: list[int] = []
    found = find_patches(
        model, files, view=VIEW, filters=5, patches=4, workers=workers, on_progress=told.append
    )
    values = torch.stack([conv2_of(model, read_centre(file, view=VIEW)) for file in files]).numpy()
    largest = values.reshape(len(files), 12, -1).max(axis=2)  # of each picture and filter
    strongest = np.argsort(-largest.max(axis=0))[:5]
    (layer,) = found.layers
    assert layer.layer.name == "conv2"
    assert list(layer.filters) == strongest.tolist()
    for index, patches in layer.filters.items():
        assert [each.picture for each in patches] == np.argsort(-largest[:, index])[:4].tolist()
        for patch in patches:
            there = values[patch.picture, index, patch.row, patch.column]
            assert there == largest[patch.picture, index]
            assert patch.value == pytest.approx(there, rel=1e-5)
    assert told[-1] == len(files) == 24
    assert found.unreadable == 0


def test_what_cannot_be_read_is_counted_and_shifts_no_index(
    model: AlexNet, files: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    whole = find_patches(model, files, view=VIEW, filters=2)
    among = find_patches(model, [broken, *files], view=VIEW, filters=2)
    assert among.unreadable == 1
    shifted = [
        [
            Patch(picture=each.picture - 1, row=each.row, column=each.column, value=each.value)
            for each in patches
        ]
        for patches in among.layers[0].filters.values()
    ]
    expected = [list(patches) for patches in whole.layers[0].filters.values()]
    assert [[(p.picture, p.row, p.column) for p in each] for each in shifted] == [
        [(p.picture, p.row, p.column) for p in each] for each in expected
    ]
    with pytest.raises(DataError, match=r"none of 1 pictures can be read: .*broken\.png"):
        find_patches(model, [broken], view=VIEW)


def test_a_value_sees_its_patch_and_nothing_else(model: AlexNet) -> None:
    random = np.random.default_rng(0)
    crop = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    (row,) = placed_convolutions(model.network)
    # By hand: 5, then 3 at stride 2 (5 + 2x2 = 9), then 3 at stride 4 (9 + 2x4 = 17), one zero to the left.
    assert (row.receptive_field, row.receptive_stride, row.receptive_start) == (17, 4, -4)
    for line in range(4):
        for column in range(4):
            patch = cut(crop, row, line, column)
            top, left = 4 * line - 4, 4 * column - 4
            other = random.integers(0, 256, (24 + 34, 24 + 34, 3), dtype=np.uint8)
            other[17 + top : 34 + top, 17 + left : 34 + left] = patch
            other = other[17:-17, 17:-17]
            before = conv2_of(model, crop)[:, line, column]
            np.testing.assert_allclose(conv2_of(model, other)[:, line, column], before, rtol=1e-4, atol=1e-5)
    corner = cut(crop, row, 0, 0)
    assert np.unique(corner[:4].reshape(-1, 3), axis=0).tolist() == [list(BLANK)]
    np.testing.assert_array_equal(corner[4:, 4:], crop[:13, :13])


def test_a_layer_whose_windows_have_no_one_stride_is_left_out() -> None:
    assert all(map(placed_convolutions, NETWORKS.values()))
    # Of 256 pixels 7 x 7 values come to the pooling, which makes 6 x 6 of them.
    pooled = summarize(edit(NETWORKS["torchvision"], "input=256")).layers
    last = next(each for each in pooled if each.kind == "adaptiveavgpool")
    with pytest.raises(DataError, match=f"Layer '{last.name}': its windows have no one stride"):
        cut(np.zeros((224, 224, 3), np.uint8), last, 0, 0)


def test_the_sheet_shows_the_windows_under_their_filters_numbers(tmp_path: Path) -> None:
    # A network made by hand: filter 0 of conv2 is the redness of a pixel, filter 1 its blueness.
    network = Network(
        name="by hand",
        input=(12, 12, 3),
        layers=(
            Conv(name="conv1", filters=3, kernel=1),
            ReLU(name="relu1"),
            MaxPool(name="pool1", kernel=1, stride=1),
            Conv(name="conv2", filters=2, kernel=3),
            Flatten(name="flat"),
            Dense(name="sum", units=2),
        ),
    )
    model = AlexNet(network, mean=[0.0, 0.0, 0.0], scale=[1.0, 1.0, 1.0])
    with torch.no_grad():
        for each in model.parameters():
            each.zero_()
        model.get_parameter("conv1.weight")[:, :, 0, 0] = torch.eye(3)
        model.get_parameter("conv2.weight")[0, 0, 1, 1] = 1.0
        model.get_parameter("conv2.weight")[1, 2, 1, 1] = 1.0
    crop = np.full((12, 12, 3), 20, np.uint8)
    crop[5:8, 2:5] = (120, 20, 20)
    crop[6, 3] = (250, 20, 20)
    crop[1:4, 8:11] = (20, 20, 110)
    crop[2, 9] = (20, 20, 240)
    file = tmp_path / "two.png"
    Image.fromarray(crop).save(file)
    found = find_patches(model, [file], view=View(height=12, width=12, resize=12))
    assert found.layers[0].filters == {
        0: (Patch(picture=0, row=5, column=2, value=250.0),),
        1: (Patch(picture=0, row=1, column=8, value=240.0),),
    }
    made = patch_sheets(found, view=View(height=12, width=12, resize=12))["conv2"]
    reddest = made[:, : made.shape[1] // 2]
    bluest = made[:, made.shape[1] // 2 :]
    assert (reddest[:, :, 0].max(), reddest[:, :, 2].max()) > (200, 0)
    colourful = np.ptp(made.astype(int), axis=2) > 150
    rows, columns = np.nonzero(colourful)
    assert made[rows, columns][:, 0][columns < made.shape[1] // 2].min() > 150
    assert made[rows, columns][:, 2][columns >= made.shape[1] // 2].min() > 150
    assert bluest[:, :, 2].max() > 200


@pytest.mark.parametrize(("name", "value"), [("filters", 0), ("patches", -1)])
def test_numbers_below_one_are_refused(model: AlexNet, files: list[Path], name: str, value: int) -> None:
    with pytest.raises(DataError, match=f"{name}: {value}; must be at least 1"):
        find_patches(model, files, view=VIEW, **{name: value})  # type: ignore[arg-type]

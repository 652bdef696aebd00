"""Sheets of maps, read back pixel by pixel into the activations that they show."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest

from alexnet import Network
from alexnet.inside.activations import Map, record
from alexnet.inside.maps import map_sheet
from alexnet.inside.sheets import FRAME, colour
from alexnet.learning.model import AlexNet


def read_back(pixels: npt.NDArray[np.uint8], peak: float) -> npt.NDArray[np.float64]:
    """Values by their colours: roots of shares in the peak, signed, in steps of a 255th."""
    steps = np.arange(-255, 256)
    known = {tuple(each): step / 255 for each, step in zip(colour(steps / 255).tolist(), steps, strict=True)}
    found = [known[tuple(each)] for each in pixels.reshape(-1, 3).tolist()]
    roots: npt.NDArray[np.float64] = np.array(found).reshape(pixels.shape[:2])
    return np.copysign(roots**2 * peak, roots)


def tile_of(
    sheet: npt.NDArray[np.uint8], index: int, count: int, side: int, factor: int
) -> npt.NDArray[np.uint8]:
    """One value a pixel: tiles of `side` pixels, enlarged, 2 apart."""
    columns = (sheet.shape[1] - 2) // (side * factor + 2)
    assert columns * -(-count // columns) >= count
    top = 2 + index // columns * (side * factor + 2)
    left = 2 + index % columns * (side * factor + 2)
    return sheet[top : top + side * factor : factor, left : left + side * factor : factor]


@pytest.mark.parametrize(
    ("layer", "side", "factor"), [("conv1", 10, 3), ("relu1", 10, 3), ("conv2", 4, 6), ("normalize", 24, 1)]
)
def test_every_pixel_of_a_sheet_is_a_value_of_the_layer(
    small: Network, layer: str, side: int, factor: int
) -> None:
    crop = np.random.default_rng(0).integers(0, 256, small.input, dtype=np.uint8)
    values = record(AlexNet(small), crop).maps[layer]
    assert values.shape[1:] == (side, side)
    made = map_sheet(values)
    peak = max(abs(float(values.min())), abs(float(values.max())))
    for index, expected in enumerate(values):
        got = read_back(tile_of(made.picture, index, len(values), side, factor), peak)
        # The root is rounded to a 255th: a value near the peak by twice half of that share. Two neighbouring
        # steps may have one colour, which is read back as either.
        np.testing.assert_allclose(got, expected, atol=3.03 * peak / 255)
        told = np.abs(expected) > peak / 1000
        np.testing.assert_array_equal(np.sign(got)[told], np.sign(expected)[told])
    assert (made.low, made.high) == (float(values.min()), float(values.max()))
    assert made.shrunk == 1


def test_the_map_with_the_largest_value_is_framed() -> None:
    values = np.zeros((4, 24, 24), np.float32)
    values[1, 5, 5], values[2] = 3.0, 2.9  # one value counts, not the sum
    values[3, 0, 0] = -8.0
    made = map_sheet(values)
    assert made.strongest == 1
    framed = (made.picture == FRAME).all(axis=2)
    assert np.flatnonzero(framed.any(axis=0)).tolist() == list(range(26, 54))  # 2 + 24 pixels to its frame


def test_a_layer_that_gives_nothing_is_black() -> None:
    made = map_sheet(np.zeros((2, 24, 24), np.float32))
    assert made.picture[2:26, 2:26].max() == 0
    assert (made.low, made.high, made.strongest) == (0, 0, 0)


@pytest.mark.parametrize(("length", "unit"), [(4096, 8), (10, 24)])
def test_a_vector_is_a_square_a_unit(length: int, unit: int) -> None:
    values: Map = np.random.default_rng(0).normal(size=length).astype(np.float32)
    made = map_sheet(values)
    assert made.strongest == values.argmax()
    peak = float(np.abs(values).max())
    columns = (made.picture.shape[1] - 2) // (unit + 2)
    assert length % columns == 0
    for index in (0, 1, length // 2, length - 1):
        row, column = (2 + each * (unit + 2) + unit // 2 for each in divmod(index, columns))
        root = float(np.sign(values[index])) * sqrt(abs(float(values[index])) / peak)
        assert made.picture[row, column].tolist() == colour(np.array(root)).tolist()


def test_many_large_maps_are_shown_smaller_by_means() -> None:
    # 64 x 224 x 224 = 3.2 million values in 600,000 pixels: sqrt(5.35) = 2.3, so 3 x 3 values a pixel.
    values = np.random.default_rng(0).random((64, 224, 224), np.float32)
    made = map_sheet(values)
    assert made.shrunk == 3
    side = 75  # of which the last has what is left: 224 = 74 x 3 + 2
    got = read_back(tile_of(made.picture, 1, 64, side, 1), float(values.max()))
    means = values[1, :222, :222].reshape(74, 3, 74, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(got[:74, :74], means, atol=1.01 / 255)

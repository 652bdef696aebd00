"""Tiles where they belong, colours as matplotlib has them, files that give every pixel back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from alexnet.inside.sheets import BLANK, FRAME, WIDTH, colour, columns_for, jpeg, png, sheet

TILES = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 3), dtype=np.uint8)


def test_tiles_stand_in_rows_in_order() -> None:
    made = sheet(TILES, columns=4, gap=2)
    assert made.shape == (2 + 2 * (3 + 2), 2 + 4 * (5 + 2), 3)
    seen = np.zeros(made.shape[:2], bool)
    for index, tile in enumerate(TILES):
        top, left = 2 + index // 4 * 5, 2 + index % 4 * 7
        np.testing.assert_array_equal(made[top : top + 3, left : left + 5], tile)
        seen[top : top + 3, left : left + 5] = True
    assert np.unique(made[~seen], axis=0).tolist() == [list(BLANK)]


def test_tiles_are_enlarged_pixel_by_pixel() -> None:
    made = sheet(TILES, columns=6, gap=1, factor=3)
    for row in range(3):
        for column in range(5):
            block = made[1 + 3 * row : 4 + 3 * row, 1 + 16 + 3 * column : 4 + 16 + 3 * column]
            assert np.unique(block.reshape(-1, 3), axis=0).tolist() == [TILES[1, row, column].tolist()]


def test_a_frame_goes_around_its_tile_and_covers_none() -> None:
    plain, framed = (sheet(TILES, columns=3, framed=which) for which in ((), (4,)))
    changed = (plain != framed).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    # Tile 4 is in the second row and column: its 3 x 5 pixels begin at 2 + 5 and 2 + 7; two more all around.
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 11, 7, 15)
    assert not changed[7:10, 9:14].any()
    assert np.unique(framed[changed], axis=0).tolist() == [list(FRAME)]


def test_parts_are_blocks_with_a_gap() -> None:
    made = sheet(TILES, columns=3, parts=2, gap=2)
    block = 3 + 2
    np.testing.assert_array_equal(made[2:5, 2:7], TILES[0])
    np.testing.assert_array_equal(made[2 + block + 8 : 5 + block + 8, 2:7], TILES[3])
    assert made.shape[0] == 2 * block + 8 + 2
    assert np.unique(made[block + 2 : block + 10].reshape(-1, 3), axis=0).tolist() == [list(BLANK)]


@given(st.integers(1, 5000), st.integers(1, 1500))
def test_rows_are_full_where_they_can_be_and_no_wider_than_a_page(count: int, width: int) -> None:
    columns = columns_for(count, width)
    most = max(WIDTH // width, 1)
    assert 1 <= columns <= most
    full = [each for each in range(most // 2 + 1, most + 1) if count % each == 0]
    if count > most and full:
        assert columns == max(full)
    elif count <= most:
        assert columns == count


def test_numbers_have_the_colours_of_inferno_and_below_zero_teals_as_light() -> None:
    values = np.linspace(0, 1, 256)
    expected = np.asarray(colormaps["inferno"](values, bytes=True))[:, :3]
    above, below = colour(values), colour(-values)
    np.testing.assert_array_equal(above[1:], expected[1:])
    assert above[0].tolist() == below[0].tolist() == [0, 0, 0]
    # Pillow's grey is the same weighting of red, green and blue.
    light = [np.asarray(Image.fromarray(each[None]).convert("L"))[0].astype(int) for each in (above, below)]
    assert np.abs(light[0] - light[1]).max() <= 1
    assert (np.diff(light[0]) >= 0).all()
    assert (np.diff(light[1]) >= 0).all()
    assert (below[3:, 2] > below[3:, 0]).all()
    np.testing.assert_array_equal(colour(np.array([-7.0, 7.0])), colour(np.array([-1.0, 1.0])))


def test_the_frame_is_not_among_the_colours_of_numbers() -> None:
    colours = colour(np.linspace(-1, 1, 511)).astype(int)
    assert np.abs(colours - np.array(FRAME)).sum(axis=1).min() > 100


@pytest.mark.parametrize("colours", [1, 2, 256, 257, 3000])
def test_a_png_gives_every_pixel_back(colours: int) -> None:
    random = np.random.default_rng(colours)
    table = np.arange(colours) * 5003 % 256**3  # no two alike: 5003 is odd
    places = np.concatenate([np.arange(colours), random.integers(0, colours, 3000)])[:3000].reshape(50, 60)
    picture = np.stack([table[places] >> 16, table[places] >> 8 & 255, table[places] & 255], 2).astype(
        np.uint8
    )
    with Image.open(io.BytesIO(png(picture))) as image:
        assert image.mode == ("P" if colours <= 256 else "RGB")
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture)


def test_a_jpeg_is_the_picture_to_the_eye() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    with Image.open(io.BytesIO(jpeg(ramp))) as image:
        assert (image.format, image.size) == ("JPEG", (96, 64))
        assert np.abs(np.asarray(image).astype(int) - ramp).max() < 12

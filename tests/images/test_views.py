"""Views against Pillow's plain way: resize the whole picture, then crop."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import DataError
from alexnet.images.decode import Picture
from alexnet.images.views import View, canvas, center, ten, view_box


def noise(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey_noise(height: int, width: int) -> Picture:
    return np.broadcast_to(noise(height, width)[:, :, :1], (height, width, 3))


def plain_center(picture: Picture, view: View) -> Picture:
    """Resize everything, then crop, as it is usually written."""
    height, width = picture.shape[:2]
    scale = view.resize / min(height, width)
    whole = Image.fromarray(np.ascontiguousarray(picture)).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (whole.width - view.width) // 2, (whole.height - view.height) // 2
    return np.asarray(whole.crop((left, top, left + view.width, top + view.height)))


def largest_difference(first: Picture, second: Picture) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.mark.parametrize(
    ("height", "width"), [(512, 768), (768, 512), (256, 256), (300, 300), (128, 192), (64, 64), (375, 2250)]
)
def test_the_centre_is_what_resizing_the_whole_and_cropping_gives(height: int, width: int) -> None:
    # Both sides of these scale to whole pixels with even margins, so all that may differ is the last digit of
    # the box, which Pillow keeps in single precision.
    view = View(height=224, width=224, resize=256)
    picture = noise(height, width)
    assert largest_difference(center(picture, view), plain_center(picture, view)) <= 1


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (480, 641)])
def test_where_sides_do_not_scale_to_whole_pixels_the_centre_is_still_the_centre(
    height: int, width: int
) -> None:
    # On a ramp, a shift by a fraction of a pixel shows as a fraction of a grey level.
    ramp = np.add.outer(np.arange(height), np.arange(width)) // 8
    picture = np.repeat(ramp.astype(np.uint8)[:, :, None], 3, axis=2)
    view = View.of(227, 227)
    assert largest_difference(center(picture, view), plain_center(picture, view)) <= 1


def test_without_scaling_the_centre_is_a_plain_slice() -> None:
    picture = noise(256, 300)
    view = View(height=224, width=200, resize=256)
    np.testing.assert_array_equal(center(picture, view), picture[16:240, 50:250])  # 22 + 28 from the left


def test_a_tight_view_of_a_square_is_one_plain_resize() -> None:
    picture = noise(28, 28)
    expected = np.asarray(Image.fromarray(picture).resize((227, 227), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(center(picture, View.of(227, 227, tight=True)), expected)


def test_the_canvas_of_a_square_is_one_plain_resize() -> None:
    picture = noise(300, 300)
    expected = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(canvas(picture, View.of(227, 227)), expected)


@pytest.mark.parametrize(
    ("height", "width"), [(375, 500), (500, 375), (28, 28), (1, 1), (1, 5000), (5000, 1), (2, 3)]
)
@pytest.mark.parametrize("make", [noise, grey_noise])
def test_centre_and_canvas_lie_on_one_grid(
    height: int, width: int, make: Callable[[int, int], Picture]
) -> None:
    picture = make(height, width)
    view = View.of(227, 227)
    square = canvas(picture, view)
    assert square.shape == (256, 256, 3)
    assert largest_difference(center(picture, view), square[14:241, 14:241]) <= 1  # (256 - 227) // 2 = 14


@pytest.mark.parametrize(("height", "width"), [(375, 500), (28, 28), (1, 1), (1, 5000)])
def test_a_grey_picture_gives_the_same_with_one_channel_as_with_three(height: int, width: int) -> None:
    grey = grey_noise(height, width)
    assert grey.strides[2] == 0
    colour = np.ascontiguousarray(grey)
    view = View.of(227, 227)
    for way in (center, canvas, ten):
        np.testing.assert_array_equal(way(grey, view), way(colour, view))


def test_one_pixel_fills_the_view() -> None:
    picture = np.full((1, 1, 3), (10, 20, 30), np.uint8)
    assert np.unique(center(picture, View.of(4, 6)).reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_of_a_very_wide_picture_the_middle_is_seen() -> None:
    picture = np.zeros((1, 5000, 3), np.uint8)
    picture[:, 2490:2510] = 255
    assert center(picture, View.of(227, 227)).min() == 255


def test_a_view_need_not_be_square() -> None:
    picture = noise(100, 100)
    view = View(height=40, width=100, resize=100)
    np.testing.assert_array_equal(center(picture, view), picture[30:70])


def test_ten_views_are_corners_and_centre_and_their_mirror_images() -> None:
    picture = noise(10, 14)
    square = picture[:, 2:12]
    views = ten(picture, View(height=6, width=8, resize=10))
    assert views.shape == (10, 6, 8, 3)
    expected = [square[:6, :8], square[:6, 2:], square[4:, :8], square[4:, 2:], square[2:8, 1:9]]
    for index, crop in enumerate(expected):
        np.testing.assert_array_equal(views[index], crop)
        np.testing.assert_array_equal(views[index + 5], np.fliplr(crop))


def test_a_turned_or_sliced_array_is_a_picture_too() -> None:
    picture = noise(20, 30)
    view = View.of(8, 8)
    np.testing.assert_array_equal(center(picture[::-1], view), center(picture[::-1].copy(), view))


@pytest.mark.parametrize(("height", "width"), [(120, 200), (200, 120), (150, 150), (90, 251)])
@pytest.mark.parametrize("view", [View.of(20, 20), View(height=12, width=30, resize=40)], ids=str)
def test_the_box_of_a_view_is_where_its_pixels_come_from(height: int, width: int, view: View) -> None:
    # On pictures whose values are their columns or rows, the mean of a pixel of the view tells its place.
    left, top, right, bottom = view_box(height, width, view)
    columns = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3))
    rows = np.broadcast_to(np.arange(height, dtype=np.uint8)[:, None, None], (height, width, 3))
    for ramp, axis, low, high in ((columns, 1, left, right), (rows, 0, top, bottom)):
        seen = center(np.ascontiguousarray(ramp), view)[:, :, 0].astype(float).mean(axis=1 - axis)
        step = (high - low) / len(seen)
        expected = low + step * (np.arange(len(seen)) + 0.5) - 0.5  # a pixel's value is that of its middle
        np.testing.assert_allclose(seen, expected, atol=0.51)  # rounded to whole values


def test_the_usual_view_has_the_papers_margin() -> None:
    assert View.of(227, 227).resize == 256
    assert View.of(224, 224).resize == 253  # 224 * 256 / 227 = 252.6
    assert View.of(28, 20).resize == 32  # 28 * 256 / 227 = 31.6
    assert View.of(28, 20, tight=True).resize == 28


def test_a_view_survives_json() -> None:
    view = View.of(227, 200)
    assert View.from_dict(json.loads(json.dumps(view.to_dict()))) == view


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 0, "width": 1, "resize": 1}, "height is 0"),
        ({"height": 1, "width": 1.0, "resize": 1}, r"width is 1\.0"),
        ({"height": 1, "width": 1, "resize": True}, "resize is True"),
        ({"height": 9, "width": 10, "resize": 9}, "9 × 10 from a square of 9; resize must be at least 10"),
        ({"height": 1, "width": 1}, "fields height, width; they must be height, resize, width"),
        ({"height": 1, "width": 1, "resize": 1, "side": 1}, "fields height, resize, side, width"),
        ({}, "fields none"),
    ],
)
def test_what_is_no_view_is_refused_with_the_value(values: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        View.from_dict(values)

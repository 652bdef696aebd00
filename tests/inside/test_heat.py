"""Heat lies where its values look: on the whole picture, through the view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from alexnet import NETWORKS, NOTES, edit, summarize
from alexnet.images.decode import Picture
from alexnet.images.views import View
from alexnet.inside.heat import PIXELS, overlay, place

VIEW = View(height=200, width=200, resize=240)
GREY = np.full((480, 640, 3), 128, np.uint8)
# The shorter side, 480, becomes 240: two pixels of the picture are one of the view's. The crop of 200 is cut
# out 20 from its top and, since (640/2 - 240)/2 = 40 are beyond the square, 60 from its left.
# As it is shown, 480 pixels wide, a pixel of the crop is 1.5: 2 x 480/640.


def warmth(shown: Picture) -> npt.NDArray[np.float64]:
    """How far each pixel is from grey."""
    far: npt.NDArray[np.float64] = np.ptp(shown.astype(np.float64), axis=2)
    return far


def middle(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    rows, columns = np.indices(values.shape) + 0.5
    return float((rows * values).sum() / values.sum()), float((columns * values).sum() / values.sum())


def test_a_pixel_s_heat_lies_on_the_pixel() -> None:
    heat = np.zeros((200, 200), np.float32)
    heat[100:110, 40:50] = 1
    row, column = middle(warmth(overlay(GREY, VIEW, heat, (PIXELS, PIXELS))))
    assert row == pytest.approx((20 + 105) * 1.5, abs=1)
    assert column == pytest.approx((60 + 45) * 1.5, abs=1)


@pytest.mark.parametrize("at", [(0, 0), (2, 4), (4, 2)])
def test_a_map_s_value_lies_on_the_middle_of_its_window(at: tuple[int, int]) -> None:
    # conv5 of the notes: 5x5 values, windows of 163 pixels, 16 apart from 0 on: middles at 81.5 + 16 i.
    row = next(each for each in summarize(NOTES).layers if each.name == "conv5")
    view = View(height=227, width=227, resize=256)
    picture = np.full((256, 256, 3), 128, np.uint8)
    heat = np.zeros((5, 5), np.float32)
    heat[at] = 1
    # The crop begins 14 pixels in; what is shown is 480/256 as large.
    found = middle(warmth(overlay(picture, view, heat, place(row, (227, 227)))))
    expected = [(14 + 81.5 + 16 * each) * 480 / 256 for each in at]
    # An edge's value also fills the half step beyond its middle.
    assert found == pytest.approx(expected, abs=1 if 0 not in at and 4 not in at else 8)


def test_without_heat_the_picture_keeps_its_colours_and_its_margin_is_dark() -> None:
    picture = np.full((480, 640, 3), (200, 120, 40), np.uint8)
    shown = overlay(picture, VIEW, None)
    assert shown.shape == (360, 480, 3)
    assert shown[180, 240].tolist() == [200, 120, 40]
    assert shown[180, 10].tolist() == [90, 54, 18]  # 0.45 of it


def test_heat_of_nothing_is_the_picture_in_grey() -> None:
    shown = overlay(GREY, VIEW, np.zeros((200, 200), np.float32), (PIXELS, PIXELS))
    assert warmth(shown).max() == 0
    assert shown[180, 240].tolist() == [128, 128, 128]


def test_values_without_one_stride_are_spread_evenly() -> None:
    # Of 256 pixels 7 x 7 values come to the pooling, which makes 6 x 6 of them.
    layers = summarize(edit(NETWORKS["torchvision"], "input=256")).layers
    row = next(each for each in layers if each.kind == "adaptiveavgpool")
    middles = (np.arange(6) + 0.5) * 256 / 6
    for side in place(row, (256, 256)):
        np.testing.assert_allclose(side.places(middles), np.arange(6), atol=1e-9)

"""Heat on a picture: a layer's numbers laid where they look, on the whole picture around the crop.

A value looks at a window of the crop, which its layer's receptive field tells. It stands for a cell about the
middle of that window, one stride wide: windows overlap, so cells, not windows, tell neighbours apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from alexnet.architecture.arithmetic import LayerSummary
from alexnet.images.decode import Picture
from alexnet.images.views import View, resized, view_box
from alexnet.inside.sheets import FRAME, colour

_SIDE = 480  # pixels of the picture's longer side, as it is shown
_AROUND = 0.45  # brightness of what lies outside the crop
_STRONGEST = 0.8  # how much of the picture the largest value covers
_MIDDLE = (255, 255, 255)  # of the crop's frame

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the windows of a layer's values lie along one side of the crop, in its pixels."""

    start: float  # at which the first begins; below 0 in padding
    stride: float  # from one to the next
    size: float  # of each

    def places(self, pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Positions along the crop, 0 its edge, as those of the value whose window's middle is there."""
        return (pixels - self.start - self.size / 2) / self.stride


PIXELS = Placement(start=0, stride=1, size=1)
"""That of numbers of which each is one pixel's."""


def place(row: LayerSummary, crop: tuple[int, int]) -> tuple[Placement, Placement]:
    """Where the values of a layer look, along the crop's height and its width.

    Where its windows have no one stride they are taken as spread evenly over the crop.
    """
    if row.receptive_start is not None and row.receptive_stride is not None:
        even = Placement(start=row.receptive_start, stride=row.receptive_stride, size=row.receptive_field)
        return even, even
    strides = [side / count for side, count in zip(crop, row.output[:2], strict=True)]
    height, width = (Placement(start=0, stride=each, size=each) for each in strides)
    return height, width


def overlay(
    picture: Picture,
    view: View,
    heat: npt.NDArray[np.floating[Any]] | None,
    placement: tuple[Placement, Placement] = (PIXELS, PIXELS),
    *,
    window: Box | None = None,
) -> Picture:
    """The picture in grey, the crop that the network sees framed, and `heat` in colours where it looks.

    `heat` is (rows, columns) from 0, which leaves the picture as it is, to 1; `placement` says where they lie
    in the crop of `view`; between their middles it is interpolated, and where no cell reaches there is none.
    `window` is a part of the crop to be framed, in its pixels. Without `heat` the picture keeps its colours.
    The result's longer side has 480 pixels. Raises MissingExtraError without matplotlib.
    """
    height, width = picture.shape[:2]
    zoom = _SIDE / max(height, width)
    rows, columns = max(round(height * zoom), 1), max(round(width * zoom), 1)
    shown = resized(picture, rows, columns).astype(np.float64)
    left, top, right, bottom = view_box(height, width, view)
    # Of the middle of each pixel that is shown: its place in the crop, in the crop's pixels.
    down = ((np.arange(rows) + 0.5) * height / rows - top) * view.height / (bottom - top)
    across = ((np.arange(columns) + 0.5) * width / columns - left) * view.width / (right - left)
    if heat is not None:
        grey = shown @ (0.299, 0.587, 0.114)
        shown = np.repeat(grey[:, :, None], 3, axis=2)
        values = np.clip(spread(heat, placement, down, across), 0, 1)
        covered = _STRONGEST * values[:, :, None] ** 0.7
        shown = (1 - covered) * shown + covered * colour(values)
    inside = np.outer((down > 0) & (down < view.height), (across > 0) & (across < view.width))
    shown[~inside] *= _AROUND
    image = Image.fromarray(np.rint(shown).astype(np.uint8))
    scale = np.array([columns / width, rows / height] * 2)
    crop = np.array([left, top, right, bottom])
    _frame(image, crop * scale, _MIDDLE)
    if window is not None:
        per_pixel = np.array([(right - left) / view.width, (bottom - top) / view.height] * 2)
        within = np.clip(window, 0, [view.width, view.height] * 2)
        _frame(image, (crop[[0, 1, 0, 1]] + within * per_pixel) * scale, FRAME)
    return np.asarray(image)


def spread(
    heat: npt.NDArray[np.floating[Any]],
    placement: tuple[Placement, Placement],
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """`heat`, (rows, columns), at the positions `down` x `across` along the crop, in its pixels."""
    held: npt.NDArray[np.float64] = (
        _shares(heat.shape[0], placement[0].places(down))
        @ heat
        @ _shares(heat.shape[1], placement[1].places(across)).T
    )
    return held


def _shares(count: int, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much each of `count` values is in each place: linear between them, none beyond half a step."""
    held = np.clip(places, 0, count - 1)[:, None]
    share: npt.NDArray[np.float64] = np.clip(1 - np.abs(held - np.arange(count)), 0, 1)
    share[(places < -0.5) | (places > count - 0.5)] = 0
    return share


def _frame(image: Image.Image, box: npt.NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    """Two pixels within the box's edge, and a dark one within these, to be seen on any picture."""
    left, top, right, bottom = (round(float(each)) for each in box)
    draw = ImageDraw.Draw(image)
    for inset, line in enumerate((colour, colour, (0, 0, 0))):
        corners = (left + inset, top + inset, right - 1 - inset, bottom - 1 - inset)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            draw.rectangle(corners, outline=line)

"""Resize, centre crop, ten views: the one way a picture becomes the network's input.

Training's evaluation, prediction, export and serving all come through here. Random crops and flips are
training's own; they are drawn from the `canvas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.errors import DataError
from alexnet.images.decode import MAX_PIXELS, Picture, decode


@dataclass(frozen=True, kw_only=True)
class View:
    """The picture's shorter side is scaled to `resize` pixels, then its centre height × width is cut out.

    Raises `DataError` where a side is below 1 pixel or the crop is larger than what it is cut from.

    >>> View.of(227, 227)
    View(height=227, width=227, resize=256)
    """

    height: int  # pixels of the network's input
    width: int  # pixels of the network's input
    resize: int  # pixels; the side of the square, about the picture's centre, that crops are cut from

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise DataError(f"view: {field.name} is {value!r}; it must be a whole number of at least 1")
        if self.resize < max(self.height, self.width):
            raise DataError(
                f"view: a crop of {self.height} × {self.width} from a square of {self.resize}; resize must "
                f"be at least {max(self.height, self.width)}"
            )

    @classmethod
    def of(cls, height: int, width: int, *, tight: bool = False) -> View:
        """Return the usual view for an input of height × width pixels.

        The margin is that of Krizhevsky et al. (2012), 256 pixels around a crop of 227; `tight` leaves none,
        for pictures that are framed already, such as a data set of 28 × 28.
        """
        side = max(height, width)
        return cls(height=height, width=width, resize=side if tight else round(side * 256 / 227))

    def to_dict(self) -> dict[str, int]:
        """Return the fields as JSON has them; `from_dict` is the way back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> View:
        """Make a view of what `to_dict` gave; raises `DataError` where a field is missing, unknown or wrong.

        >>> View.from_dict({"height": 28, "width": 28, "resize": 28}) == View.of(28, 28, tight=True)
        True
        """
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise DataError(
                f"view: fields {', '.join(sorted(map(str, values))) or 'none'}; they must be "
                f"{', '.join(sorted(expected))}"
            )
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks the types


def center(picture: Picture, view: View) -> Picture:
    """Return the centre of the picture, (view.height, view.width, 3).

    It is the canvas's centre, to a grey level here and there, without computing the canvas's margin. Pillow
    takes the box in fractions of the source's pixels, so resizing just the box gives what resizing the whole
    picture and cropping after would, at two thirds of the cost.
    """
    height, width = picture.shape[:2]
    return resized(picture, view.height, view.width, box=view_box(height, width, view))


def read_centre(source: Path | bytes, *, view: View, max_pixels: int = MAX_PIXELS) -> Picture:
    """A file's picture as the network takes it; raises PictureError, as `decode` does.

    A view has no use for more than twice its size: that is resized to it as well as the whole picture is.
    """
    return center(decode(source, max_pixels=max_pixels, shorter_side=2 * view.resize), view)


def view_box(height: int, width: int, view: View) -> tuple[float, float, float, float]:
    """Return the part of a picture of height × width pixels that is its `center`, in pixels of the picture.

    It is (left, top, right, bottom), from the picture's top left corner.

    >>> view_box(375, 500, View(height=128, width=128, resize=256))
    (156.25, 93.75, 343.75, 281.25)
    """
    shorter = min(height, width)
    # The crop's edges in canvas pixels are whole, so that centre, corners and canvas share one grid.
    top = (height - shorter) / 2 + (view.resize - view.height) // 2 * shorter / view.resize
    left = (width - shorter) / 2 + (view.resize - view.width) // 2 * shorter / view.resize
    return (
        left,
        top,
        left + view.width * shorter / view.resize,
        top + view.height * shorter / view.resize,
    )


def canvas(picture: Picture, view: View) -> Picture:
    """Return the centre square, (view.resize, view.resize, 3), from which crops are cut."""
    return center(picture, replace(view, height=view.resize, width=view.resize))


def ten(picture: Picture, view: View) -> Picture:
    """Return the four corners and the centre of the canvas, then their mirror images: (10, height, width, 3).

    Averaging the predictions for these is the evaluation of Krizhevsky et al. (2012), section 4.1.
    """
    unmirrored = five(picture, view)
    return np.concatenate([unmirrored, unmirrored[:, :, ::-1]])


def five(picture: Picture, view: View) -> Picture:
    """Return the four corners and the centre of the canvas, (5, height, width, 3).

    Order: top left, top right, bottom left, bottom right, centre.
    """
    square = canvas(picture, view)
    bottom, right = view.resize - view.height, view.resize - view.width
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    views = np.empty((5, view.height, view.width, 3), np.uint8)
    for index, (top, left) in enumerate(corners):
        views[index] = square[top : top + view.height, left : left + view.width]
    return views


def resized(
    picture: Picture, height: int, width: int, *, box: tuple[float, float, float, float] | None = None
) -> Picture:
    """Return the picture, or its `box` (left, top, right, bottom), by an antialiased bilinear resize."""
    # A grey picture repeats one channel by stride 0: one channel is a third of the work.
    grey = picture.strides[2] == 0
    image = Image.fromarray(picture[:, :, 0] if grey else picture)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    if not grey:
        return pixels
    colour = np.empty((height, width, 3), np.uint8)
    for channel in range(3):  # a quarter of the time that assigning a broadcast takes
        colour[:, :, channel] = pixels
    return colour

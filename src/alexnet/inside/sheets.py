"""Many small pictures on one: tiles in rows, numbers as colours. What they show is others' matter."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.errors import MissingExtraError
from alexnet.images.decode import Picture

BLANK = (58, 58, 66)
"""Red, green, blue of what shows nothing: between tiles, outside pictures; on light pages and dark ones."""
FRAME = (80, 235, 80)
"""Of the frame around what is pointed out: a green, which is not among the colours of numbers."""
_LIGHT = (0.299, 0.587, 0.114)  # of red, green and blue
_TEAL = (0.39, 1.22, 1.48)  # of light 1
WIDTH = 1000
"""Pixels that a sheet is wide at most, where its tiles are not wider."""


def colour(values: npt.NDArray[Any]) -> Picture:
    """Numbers from -1 to 1 as colours: (..., 3) for (...).

    Above 0 by way of purple and orange to pale yellow, as evenly as the eye has it (matplotlib's inferno);
    below 0 teals, in the end pale, that are as light as what is as far above; 0 is black. What lies outside
    -1 to 1 has the nearest end's colour. Raises MissingExtraError without matplotlib.

    >>> colour(np.array([-1.0, 0.0, 1.0])).tolist()
    [[228, 249, 255], [0, 0, 0], [252, 254, 164]]
    """
    try:
        from matplotlib import colormaps
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "train") from None
    above = np.asarray(colormaps["inferno"](np.arange(256), bytes=True))[:, :3].astype(np.float64)
    above[0] = 0  # not quite black, which would tell small numbers above 0 from those below
    light = above @ _LIGHT
    most = 255 / max(_TEAL)  # lighter ones are a mixture with white
    white = np.clip((light - most) / (255 - most), 0, 1)[:, None]
    below = (1 - white) * np.outer(np.minimum(light, most), _TEAL) + white * 255
    table = np.rint(np.concatenate([below[:0:-1], above])).astype(np.uint8)
    colours: Picture = table[np.clip(np.rint(np.asarray(values) * 255), -255, 255).astype(np.int64) + 255]
    return colours


def columns_for(count: int, width: int) -> int:
    """How many tiles of `width` pixels, gap included, stand in a row: full rows, where such can be had.

    >>> columns_for(96, 57), columns_for(1000, 9), columns_for(7, 57)
    (16, 100, 7)
    """
    most = max(WIDTH // width, 1)
    if count <= most:
        return count
    return next((each for each in range(most, most // 2, -1) if count % each == 0), most)


def sheet(
    tiles: npt.NDArray[np.uint8],
    *,
    factor: int = 1,
    gap: int = 2,
    columns: int | None = None,
    parts: int = 1,
    framed: Collection[int] = (),
) -> Picture:
    """Tiles (count, height, width, 3) in rows, each pixel of theirs as `factor` x `factor` pixels.

    Around each tile are `gap` blank pixels, which are a frame for the tiles whose index is in `framed`. The
    tiles fall into `parts` of equal size, under one another, with more blank between them.
    """
    count, height, width, _ = tiles.shape
    each = count // parts
    columns = columns or columns_for(each, width * factor + gap)
    rows = -(-each // columns)
    down, right = height * factor + gap, width * factor + gap
    part_height, apart = rows * down, 4 * gap if parts > 1 else 0
    made = np.empty((parts * (part_height + apart) - apart + gap, columns * right + gap, 3), np.uint8)
    made[:] = BLANK
    for index, tile in enumerate(tiles):
        part, place = divmod(index, each)
        top = part * (part_height + apart) + place // columns * down
        left = place % columns * right
        if index in framed:
            made[top : top + down + gap, left : left + right + gap] = FRAME
        large = tile.repeat(factor, axis=0).repeat(factor, axis=1)
        made[top + gap : top + down, left + gap : left + right] = large
    return made


def png(picture: Picture) -> bytes:
    """The picture as a PNG file, exactly; with up to 256 colours, a third of the size by a palette."""
    wide = picture.astype(np.uint32)
    colours, places = np.unique(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], return_inverse=True)
    if len(colours) <= 256:
        image = Image.fromarray(places.reshape(picture.shape[:2]).astype(np.uint8), "L").convert("P")
        image.putpalette(b"".join(int(each).to_bytes(3, "big") for each in colours))
    else:
        image = Image.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def jpeg(picture: Picture) -> bytes:
    """The picture as a JPEG file: for photographs, which are a fraction of a PNG's size."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "jpeg", quality=85, subsampling=0)
    return buffer.getvalue()

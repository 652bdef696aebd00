"""What a layer makes of a picture, as one sheet: every map a tile, the strongest framed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.images.decode import Picture
from alexnet.inside.activations import Map
from alexnet.inside.sheets import colour, sheet

_PIXELS = 600_000  # of all maps of a layer: where there are more, maps are shown smaller
_SIDE = 24  # pixels that a map is wide and high at least
_UNIT = 8  # pixels of a vector's value
_FEW = 40  # values of a vector that are shown as large as a small map


@dataclass(frozen=True, kw_only=True)
class MapSheet:
    """A layer's maps as a picture, and what its colours stand for."""

    picture: Picture
    low: float  # the layer's smallest value
    high: float  # its largest
    strongest: int  # the map, or the unit, that holds the largest
    shrunk: int  # values, in each direction, whose mean a pixel shows; 1: every value is shown


def map_sheet(values: Map) -> MapSheet:
    """A layer's output, (depth, height, width) or (length,), as a sheet in order of depth, row by row.

    All maps have one scale: a value's colour is that of its square root's share in the root of the layer's
    value farthest from 0, with the value's sign, so that weak values are seen beside strong ones. The
    strongest map has a frame. Raises MissingExtraError without matplotlib.
    """
    maps = values.reshape(-1, 1, 1) if values.ndim == 1 else values
    low, high = float(values.min()), float(values.max())
    strongest = int(maps.max(axis=(1, 2)).argmax())
    scaled = maps / (max(high, -low) or 1.0)
    shrunk = max(ceil(sqrt(scaled.size / _PIXELS)), 1)
    if shrunk > 1:
        scaled = np.stack([np.asarray(Image.fromarray(each).reduce(shrunk)) for each in scaled])
    return MapSheet(
        picture=sheet(
            colour(np.sign(scaled) * np.sqrt(np.abs(scaled))), factor=_factor(scaled), framed=[strongest]
        ),
        low=low,
        high=high,
        strongest=strongest,
        shrunk=shrunk,
    )


def _factor(maps: npt.NDArray[np.float32]) -> int:
    count, height, width = (int(each) for each in maps.shape)
    if height == width == 1 and count > _FEW:
        return _UNIT
    return max(ceil(_SIDE / max(height, width)), 1)

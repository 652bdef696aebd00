"""The pieces of pictures that excite filters most, a sheet a layer: a block a filter, under its number."""

from __future__ import annotations

from collections import defaultdict
from math import ceil, sqrt

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alexnet.images.decode import Picture
from alexnet.images.views import View, read_centre, resized
from alexnet.inside.patches import Excitement, LayerPatches, cut
from alexnet.inside.sheets import BLANK, columns_for, sheet

_SIDE = 50  # pixels of a patch, as it is shown
_HEAD = 15  # pixels above a block, for the filter's number
_APART = 8  # pixels between blocks
_INK = (235, 235, 240)


def patch_sheets(excitement: Excitement, *, view: View) -> dict[str, Picture]:
    """A sheet for each layer, by name: its filters in order of strength, each one's patches row by row.

    A patch is the window that its value looks at, scaled to 50 pixels. Each picture is read once. Raises
    PictureError where one can no longer be read.
    """
    wanted: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    tiles: dict[str, Picture] = {}
    for found in excitement.layers:
        most = max(map(len, found.filters.values()))
        tiles[found.layer.name] = np.empty((len(found.filters), most, _SIDE, _SIDE, 3), np.uint8)
        tiles[found.layer.name][:] = BLANK
        for block, patches in enumerate(found.filters.values()):
            for place, patch in enumerate(patches):
                wanted[patch.picture].append((found.layer.name, block, place))
    layers = {found.layer.name: found for found in excitement.layers}
    for picture, places in wanted.items():
        crop = read_centre(excitement.files[picture], view=view)
        for name, block, place in places:
            patch = list(layers[name].filters.values())[block][place]
            window = cut(crop, layers[name].layer, patch.row, patch.column)
            tiles[name][block, place] = resized(window, _SIDE, _SIDE)
    return {name: _blocks(found, tiles[name]) for name, found in layers.items()}


def _blocks(found: LayerPatches, tiles: Picture) -> Picture:
    """Every filter's patches as a square block, the blocks in rows."""
    columns = ceil(sqrt(tiles.shape[1]))
    blocks = [sheet(each, gap=1, columns=columns) for each in tiles]
    height, width = blocks[0].shape[0] + _HEAD, blocks[0].shape[1] + _APART
    in_row = columns_for(len(blocks), width)
    rows = -(-len(blocks) // in_row)
    image = Image.new("RGB", (in_row * width + _APART, rows * (height + _APART)), BLANK)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for index, (number, block) in enumerate(zip(found.filters, blocks, strict=True)):
        left, top = _APART + index % in_row * width, index // in_row * (height + _APART)
        draw.text((left + 1, top + 1), f"filter {number}", fill=_INK, font=font)
        image.paste(Image.fromarray(block), (left, top + _HEAD))
    return np.asarray(image)

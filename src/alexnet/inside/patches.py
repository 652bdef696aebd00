"""Which pieces of pictures excite a filter most: found in one pass over many, cut out in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.architecture.arithmetic import LayerSummary
from alexnet.architecture.layers import Conv
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.errors import DataError
from alexnet.images.batches import load_batches
from alexnet.images.decode import Picture
from alexnet.images.splits import LazyPictures
from alexnet.images.views import View, read_centre
from alexnet.inside.sheets import BLANK
from alexnet.learning.model import AlexNet

PATCHES = 9  # of a filter, each of another picture
FILTERS = 48  # of a layer
_BATCH = 16  # pictures


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Where a filter's value is large."""

    picture: int  # index of the file
    row: int  # of the layer's grid
    column: int
    value: float  # of the convolution there, before its ReLU


@dataclass(frozen=True, kw_only=True)
class LayerPatches:
    """For each of a layer's filters the places that excite it most."""

    layer: LayerSummary
    filters: dict[
        int, tuple[Patch, ...]
    ]  # by the filter's index, strongest first; each one's strongest first


@dataclass(frozen=True, kw_only=True)
class Excitement:
    """What excites the filters of a network, in the pictures that were looked at."""

    layers: tuple[LayerPatches, ...]
    files: tuple[Path, ...]  # the pictures, by the patches' indices
    unreadable: int  # of them


def find_patches(
    model: AlexNet,
    files: Sequence[Path],
    *,
    view: View,
    filters: int = FILTERS,
    patches: int = PATCHES,
    workers: int = 2,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Excitement:
    """For the convolutions behind the first, the places in the pictures that excite each filter most.

    A picture counts once for a filter, where the filter's value is largest. Of each layer the `filters` with
    the largest values are kept, with `patches` places each, or fewer where there are fewer pictures. Layers
    whose windows have no one stride are left out: their places cannot be cut out. `on_progress` is told how
    many pictures are done. Memory does not grow with their number; those that cannot be read are counted. The
    model is put in evaluation mode. Raises DataError for a number below 1, and where no picture can be read.
    """
    for name, value in (("filters", filters), ("patches", patches)):
        if value < 1:
            raise DataError(f"{name}: {value}; must be at least 1")
    rows = placed_convolutions(model.network)
    best = [_Best(row.output[2], patches) for row in rows]
    unreadable: list[str] = []
    done = 0
    batches = load_batches(
        LazyPictures(files, partial(read_centre, view=view)),
        range(len(files)),
        shape=lambda centre: centre,
        batch_size=_BATCH,
        workers=workers,
        on_unreadable=lambda _, reason: unreadable.append(reason),
    )
    with closing(batches):
        for batch, indices in batches:
            for each, values in zip(best, _convolved(model, batch, rows), strict=True):
                each.add(values, indices)
            done += len(indices)
            on_progress(done + len(unreadable))
    if not done:
        found = unreadable[0] if unreadable else "no pictures"
        raise DataError(f"patches: none of {len(files):,} pictures can be read: {found}; add some that can")
    return Excitement(
        layers=tuple(
            LayerPatches(layer=row, filters=each.top(filters)) for row, each in zip(rows, best, strict=True)
        ),
        files=tuple(files),
        unreadable=len(unreadable),
    )


def placed_convolutions(network: Network) -> list[LayerSummary]:
    """The convolutions behind the first whose windows can be cut out of the picture."""
    convolutions = [row for row in summarize(network).layers if row.kind == Conv.kind]
    return [row for row in convolutions[1:] if row.receptive_stride is not None]


def cut(crop: Picture, layer: LayerSummary, row: int, column: int) -> Picture:
    """What a layer's value at (row, column) looks at: its window of the crop, blank outside the crop.

    A square of the layer's receptive field. Raises DataError for a layer whose windows have no one stride.
    """
    start, stride, size = layer.receptive_start, layer.receptive_stride, layer.receptive_field
    if start is None or stride is None:
        raise DataError(f"Layer '{layer.name}': its windows have no one stride; take another layer")
    top, left = start + stride * row, start + stride * column
    window = np.empty((size, size, 3), np.uint8)
    window[:] = BLANK
    within = crop[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)]
    down, right = max(-top, 0), max(-left, 0)
    window[down : down + within.shape[0], right : right + within.shape[1]] = within
    return window


class _Best:
    """The largest values of each filter so far, with their pictures and places."""

    def __init__(self, filters: int, patches: int) -> None:
        self._patches = patches
        self._values = np.empty((filters, 0), np.float32)
        self._pictures = np.empty((filters, 0), np.int64)
        self._places: npt.NDArray[np.int64] = np.empty((filters, 0, 2), np.int64)

    def add(self, values: Tensor, indices: npt.NDArray[np.int64]) -> None:
        """Take in a batch's values, (pictures, filters, height, width), of the pictures of these indices."""
        _, filters, _, width = values.shape
        largest, at = values.flatten(2).max(dim=2)
        places = at.T.cpu().numpy()
        self._values = np.concatenate([self._values, largest.T.float().cpu().numpy()], axis=1)
        self._pictures = np.concatenate([self._pictures, np.tile(indices, (filters, 1))], axis=1)
        self._places = np.concatenate(
            [self._places, np.stack([places // width, places % width], axis=2)], axis=1
        )
        order = np.argsort(-self._values, axis=1, kind="stable")[:, : self._patches]
        self._values = np.take_along_axis(self._values, order, axis=1)
        self._pictures = np.take_along_axis(self._pictures, order, axis=1)
        self._places = np.take_along_axis(self._places, order[:, :, None], axis=1)

    def top(self, filters: int) -> dict[int, tuple[Patch, ...]]:
        """Those of the filters with the largest values."""
        strongest = np.argsort(-self._values[:, 0], kind="stable")[:filters].tolist()
        return {index: tuple(self._of(index)) for index in strongest}

    def _of(self, index: int) -> list[Patch]:
        rows = zip(self._pictures[index], self._places[index], self._values[index], strict=True)
        return [
            Patch(picture=int(picture), row=int(row), column=int(column), value=float(value))
            for picture, (row, column), value in rows
        ]


def _convolved(model: AlexNet, batch: npt.NDArray[np.uint8], rows: Sequence[LayerSummary]) -> list[Tensor]:
    """What these layers give for a batch, in order; the layers behind the last of them do not run."""
    wanted = {row.name for row in rows}
    kept: list[Tensor] = []
    with torch.inference_mode():
        value = torch.from_numpy(batch).to(next(model.buffers()).device)
        for name, module in model.eval().named_children():
            if len(kept) == len(rows):
                break
            value = module(value)
            if name in wanted:
                kept.append(value)
    return kept

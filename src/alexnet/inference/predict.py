"""predict(classifier, paths) -> ranked labels for picture files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, PictureError
from alexnet.images.batches import load_these
from alexnet.images.decode import decode
from alexnet.images.folders import find_below
from alexnet.images.splits import LazyPictures
from alexnet.images.views import read_centre
from alexnet.learning.classifier import Classifier, Label, ranked, softmax

_LISTED = 8192  # paths at a time


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a classifier takes a picture for."""

    path: str  # as it was found
    labels: tuple[Label, ...]  # the likeliest first; none where it cannot be read
    error: str | None = None  # why it cannot be read


def predict(
    classifier: Classifier,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    batch_size: int = 32,
    workers: int = 2,
) -> Iterator[Prediction]:
    """Yield a Prediction for every picture, in order, while the next ones are found and decoded.

    `paths` are files, folders (searched to any depth) and globs; memory does not grow with their number. A
    picture that cannot be read has its `error` in its place. Raises PictureError, before anything is decoded,
    for a `top` below 1.
    """
    if top < 1:
        raise PictureError(f"top: {top}; must be at least 1")
    if workers < 0:
        raise DataError(f"workers is {workers}; it must be at least 0")
    return _predict(classifier, find_pictures(paths), top, batch_size, workers)


def find_pictures(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The picture files that `paths` lead to: files as they are, folders searched, globs expanded."""
    for path in map(str, paths):
        # What is neither there nor matches anything is left as it is: decoding it tells what is wrong.
        for given in [path] if os.path.lexists(path) else _glob(path) or [path]:
            if os.path.isdir(given):  # noqa: PTH112  # Path.is_dir raises where a name is too long
                yield from find_below(Path(given))
            else:
                yield Path(given)


def check_paths(paths: Iterable[str | Path]) -> None:
    """Raise PictureError for the first of `paths` that leads to no picture."""
    for path in map(str, paths):
        found = next(find_pictures([path]), None)
        if found is None:
            raise PictureError(f"{path}: no pictures in this folder; must hold some; check the path")
        if not os.path.lexists(found):
            decode(found)  # tells what is wrong


def _glob(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern


def _predict(
    classifier: Classifier, files: Iterator[Path], top: int, batch_size: int, workers: int
) -> Iterator[Prediction]:
    read = partial(read_centre, view=classifier.view)
    while some := list(islice(files, _LISTED)):
        batches = [
            range(start, min(start + batch_size, len(some))) for start in range(0, len(some), batch_size)
        ]
        errors: dict[int, str] = {}
        loaded = load_these(
            LazyPictures(some, read),
            batches,
            shape=lambda centre: centre,
            workers=workers,
            on_unreadable=errors.__setitem__,
        )
        with closing(loaded):
            for asked, batch in zip(batches, loaded, strict=True):
                found: dict[int, npt.NDArray[np.float32]] = {}
                if batch is not None:
                    pictures, chosen = batch
                    found = dict(zip(chosen.tolist(), softmax(classifier(pictures)), strict=True))
                for index in asked:
                    labels = ranked(found[index], classifier.class_names, top) if index in found else ()
                    yield Prediction(path=str(some[index]), labels=labels, error=errors.pop(index, None))

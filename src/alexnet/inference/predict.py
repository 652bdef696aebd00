"""predict(classifier, paths) -> ranked labels for picture files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet.errors import PictureError
from alexnet.images import views
from alexnet.images.batches import load_batches
from alexnet.images.decode import decode
from alexnet.images.folders import pictures_below
from alexnet.images.splits import LazyPictures
from alexnet.learning.classifier import Classifier, softmax


@dataclass(frozen=True, kw_only=True)
class Label:
    """One answer."""

    name: str  # of the class
    probability: float  # 0 to 1


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a classifier takes a picture for."""

    path: str  # as it was found
    labels: tuple[Label, ...]  # the likeliest first


def predict(
    classifier: Classifier,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    batch_size: int = 32,
    workers: int = 2,
) -> Iterator[Prediction]:
    """Yield a Prediction for every picture, in order, while the next ones are decoded.

    `paths` are files, folders (searched to any depth) and globs. Raises PictureError, before anything is
    decoded, for a path that leads to no picture, and in its place for a file that cannot be decoded.
    """
    files = find_pictures(paths)
    if top < 1:
        raise PictureError(f"top: {top}; must be at least 1")
    return _predict(classifier, files, top, batch_size, workers)


def find_pictures(paths: Iterable[str | Path]) -> list[Path]:
    """The picture files that `paths` lead to: files as they are, folders searched, globs expanded."""
    found: list[Path] = []
    for path in map(str, paths):
        # What is neither there nor matches anything is left as it is: decoding it tells what is wrong.
        for given in [path] if os.path.lexists(path) else _glob(path) or [path]:
            found += _pictures_at(given)
    return found


def _pictures_at(path: str) -> list[Path]:
    if not os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises where a name is too long
        return [Path(path)]
    inside = pictures_below(Path(path))
    if not inside:
        raise PictureError(f"{path}: no pictures in this folder; must hold some; check the path")
    return inside


def _glob(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern


def _predict(
    classifier: Classifier, files: Sequence[Path], top: int, batch_size: int, workers: int
) -> Iterator[Prediction]:
    batches = load_batches(
        LazyPictures(files, decode),
        range(len(files)),
        shape=lambda picture: views.center(picture, classifier.view),
        batch_size=batch_size,
        workers=workers,
    )
    for batch, chosen in batches:
        for index, probabilities in zip(chosen, softmax(classifier(batch)), strict=True):
            ranked = np.argsort(-probabilities, kind="stable")[:top]
            labels = (
                Label(name=classifier.class_names[label], probability=float(probabilities[label]))
                for label in ranked
            )
            yield Prediction(path=str(files[index]), labels=tuple(labels))

"""predict(classifier, paths) -> ranked labels for picture files."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, PictureError
from alexnet.images.batches import in_groups, load_these
from alexnet.images.decode import Picture, decode
from alexnet.images.folders import find_below
from alexnet.images.views import read_centre
from alexnet.inference.arrivals import as_they_come
from alexnet.learning.classifier import Classifier, Label, ranked, softmax


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
    patience: float | None = None,
) -> Iterator[Prediction]:
    """Yield a Prediction for every picture, in order, while the next ones are found and decoded.

    `paths` are files, folders (searched to any depth) and globs; memory does not grow with their number. With
    `patience` a batch waits so many seconds for more paths and is answered as it is then: for paths that come
    slowly; without, batches are full. A picture that cannot be read has its `error` in its place. Raises,
    before anything is decoded, PictureError for a `top` below 1, DataError for `workers` or a `batch_size`
    that are too few, NetworkError for a network that takes no colours.
    """
    classifier.network.check_takes_colours()
    if top < 1:
        raise PictureError(f"top: {top}; must be at least 1")
    if workers < 0:
        raise DataError(f"workers is {workers}; it must be at least 0")
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be at least 1")
    asked = _Asked(lambda path: read_centre(path, view=classifier.view))
    files = find_pictures(paths)
    if patience is None:
        groups = in_groups(files, batch_size)
    else:
        groups = as_they_come(files, batch_size, patience=patience, unanswered=lambda: bool(asked))
    return _predict(classifier, asked, groups, top, workers)


def find_pictures(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The picture files that `paths` lead to: files as they are, folders searched, globs expanded."""
    for path in map(str, paths):
        searched: set[Path] = set()
        # What is neither there nor matches anything is left as it is: decoding it tells what is wrong.
        for given in [path] if os.path.lexists(path) else _glob(path) or [path]:
            if searched and not searched.isdisjoint(Path(given).parents):
                continue  # of photos/**, which is the folders, too
            if os.path.isdir(given):  # noqa: PTH112  # Path.is_dir raises where a name is too long
                searched.add(Path(given))
                refused: list[Path] = []  # decoding them tells why
                for each in find_below(Path(given), on_unreadable=refused.append):
                    yield from refused
                    refused.clear()
                    yield each
                yield from refused
            else:
                yield Path(given)


def check_paths(paths: Iterable[str | Path]) -> None:
    """Raise PictureError for the first of `paths` that leads to no picture."""
    for path in map(str, paths):
        if not path:
            raise PictureError("a path that is empty; must lead to pictures; check the argument")
        found = next(find_pictures([path]), None)
        if found is None:
            raise PictureError(f"{path}: no pictures in this folder; must hold some; check the path")
        if not os.path.lexists(found):
            decode(found)  # tells what is wrong


def _glob(pattern: str) -> list[str]:
    if "\0" in pattern:
        return []  # no name has it
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern


class _Asked:
    """The pictures that are asked for and not answered: what is known of them is let go with the answer."""

    def __init__(self, read: Callable[[Path], Picture]) -> None:
        self._read = read
        self._paths: dict[int, Path] = {}
        self._first = 0  # number of the next

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Picture:
        return self._read(self._paths[number])

    def add(self, paths: list[Path]) -> range:
        """Their numbers."""
        numbers = range(self._first, self._first + len(paths))
        self._paths.update(zip(numbers, paths, strict=True))
        self._first = numbers.stop
        return numbers

    def answered(self, number: int) -> Path:
        """Its path, once."""
        return self._paths.pop(number)


def _predict(
    classifier: Classifier, asked: _Asked, groups: Iterator[list[Path]], top: int, workers: int
) -> Iterator[Prediction]:
    errors: dict[int, str] = {}
    waiting: deque[range] = deque()

    def batches() -> Iterator[range]:
        for paths in groups:
            waiting.append(asked.add(paths))
            yield waiting[-1]

    loaded = load_these(
        asked, batches(), shape=lambda centre: centre, workers=workers, on_unreadable=errors.__setitem__
    )
    with closing(loaded):
        for batch in loaded:
            found: dict[int, npt.NDArray[np.float32]] = {}
            if batch is not None:
                pictures, chosen = batch
                found = dict(zip(chosen.tolist(), softmax(classifier(pictures)), strict=True))
            for number in waiting.popleft():
                labels = ranked(found[number], classifier.class_names, top) if number in found else ()
                path = str(asked.answered(number))
                yield Prediction(path=path, labels=labels, error=errors.pop(number, None))

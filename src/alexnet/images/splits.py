"""What a data set is once it has been found: pictures with labels, in splits. Not where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError
from alexnet.images.decode import Picture

Item = TypeVar("Item")
Labels = npt.NDArray[np.int64]


class LazyPictures(Sequence[Picture], Generic[Item]):
    """A sequence of pictures that are made when asked for, each time: `read(item)` for each of `items`."""

    def __init__(self, items: Sequence[Item], read: Callable[[Item], Picture]) -> None:
        self._items = items
        self._read = read

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> LazyPictures[Item]: ...
    def __getitem__(self, index: int | slice) -> Picture | LazyPictures[Item]:
        if isinstance(index, slice):
            return LazyPictures(self._items[index], self._read)
        return self._read(self._items[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Pictures, the class of each, and what to call each in a report."""

    pictures: Sequence[Picture]  # each (height, width, 3), sizes may differ; files are decoded when asked for
    labels: Labels  # (N,), indices into the class names
    names: Sequence[str]  # the file's path as given, or such as "fashion-mnist/test/00012"
    warnings: tuple[str, ...] = ()  # a line each: what is odd and may be meant

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Iterable[int]) -> Split:
        """Return the pictures at these indices, in this order; none is decoded for it."""
        chosen = [int(index) for index in indices]
        return Split(
            pictures=LazyPictures(chosen, self.pictures.__getitem__),
            labels=self.labels[chosen] if chosen else self.labels[:0],
            names=[self.names[index] for index in chosen],
        )

    def head(self, count: int) -> Split:
        """Return the first `count` pictures, or all where there are fewer."""
        return self.subset(range(min(count, len(self))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Pictures to train on, to choose by and to report on, and what is to be known about them."""

    name: str  # for titles: the folder's own name, or that of a named set
    source: str  # where the pictures were read from
    class_names: tuple[str, ...]  # labels are indices into this
    train: Split
    validation: Split
    test: Split | None  # None where none was set apart
    mirror: bool  # whether a mirrored picture keeps its class: not so for digits
    tight: bool  # whether pictures are framed already, so that the view cuts no margin
    # Where `validation` was divided off `train` here: the names of the pictures in each, below the folder of
    # the data set, for `open_split` to find the same ones again after pictures were added or have gone.
    division: Mapping[str, Sequence[str]] | None = None
    warnings: tuple[str, ...] = ()  # a line each: what is odd and may be meant

    @property
    def divided(self) -> bool:
        """Whether the folder or CSV had no validation split, so that a part of train became it."""
        return self.division is not None


def divide(labels: Labels, share: float, *, seed: int) -> tuple[Labels, Labels]:
    """Divide 0..N-1 into what stays and what is set apart, about `share` of each class; both ascending.

    A class of two pictures or more gives at least one and keeps at least one; a class of one keeps it. The
    same labels, share and seed give the same division. Raises `DataError` unless 0 < share < 1.

    >>> stay, apart = divide(np.repeat([0, 1], [10, 2]), 0.2, seed=0)
    >>> len(stay), len(apart)
    (9, 3)
    """
    if seed < 0:
        raise DataError(f"seed: {seed}; it must be at least 0")
    if not 0 < share < 1:
        raise DataError(f"validation share: {share}; it must be above 0 and below 1; 0.1 is usual")
    random = np.random.default_rng(seed)
    apart = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        count = min(max(round(len(members) * share), 1), len(members) - 1)
        apart[members[:count]] = True
    return np.flatnonzero(~apart), np.flatnonzero(apart)

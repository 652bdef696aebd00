"""What is odd about a data set and may be meant: a line each. What cannot be meant is an error elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from alexnet.images.sources import listed
from alexnet.images.splits import Dataset, Split
from alexnet.images.twins import identical_files, told_pairs


def survey(dataset: Dataset) -> tuple[str, ...]:
    """Look for classes with too few pictures or in one split only, and for files that splits share.

    The names of the pictures must be their files' paths. See `identical_files` for what that costs.
    """
    return (*_thin_classes(dataset), *_shared_files(dataset))


def _thin_classes(dataset: Dataset) -> Iterator[str]:
    single = _classes_of(dataset, dataset.train, 1)
    if single:
        yield f"{dataset.source}: only one picture to train on of {listed(single)}; more are needed"
    for name, split in _splits(dataset).items():
        absent = _classes_of(dataset, split, 0)
        if absent:
            yield f"{dataset.source}: {name} has no pictures of {listed(absent)}; it says nothing about them"


def _shared_files(dataset: Dataset) -> Iterator[str]:
    names = {name: split.names for name, split in _splits(dataset).items()}
    for (earlier, later), pairs in identical_files(names).items():
        files = "file" if len(pairs) == 1 else "files"
        yield (
            f"{dataset.source}: {later} has {len(pairs):,} {files} that {earlier} has too "
            f"({told_pairs(pairs)}), so that it is answered too well; keep each in one of them"
        )


def _classes_of(dataset: Dataset, split: Split, count: int) -> Sequence[str]:
    counts = np.bincount(split.labels, minlength=len(dataset.class_names))
    return [dataset.class_names[label] for label in np.flatnonzero(counts == count)]


def _splits(dataset: Dataset) -> dict[str, Split]:
    splits = {"train": dataset.train, "validation": dataset.validation}
    return splits if dataset.test is None else {**splits, "test": dataset.test}

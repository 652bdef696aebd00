"""Folders of class folders, and folders that hold them by split: finding the pictures, not decoding them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from alexnet.errors import DataError
from alexnet.images.decode import PICTURE_SUFFIXES, decode
from alexnet.images.splits import Dataset, LazyPictures, Split, divide

ClassFiles = Mapping[str, Sequence[Path]]
"""The picture files of each class, by class name."""

SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What the folder of a split may be called, in any case, and which split it then is."""


def read_folder(folder: Path, *, seed: int, validation_share: float) -> Dataset:
    """Read train/ with val/ or test/ or both, or else a folder of class folders that is divided here."""
    splits = split_folders(folder)
    if splits and "train" not in splits:
        raise DataError(
            f"{folder}: has {listed(path.name for path in splits.values())} but no train; it must have that "
            f"too, with a folder for each class; add it"
        )
    files = class_files(splits.get("train", folder))
    class_names = tuple(files)
    if len(class_names) < 2:
        raise DataError(
            f"{splits.get('train', folder)}: one class folder ({class_names[0]}); there must be at least two "
            f"classes; put each class's pictures in a folder of its own"
        )
    train = labelled(files, class_names)
    if "validation" in splits:
        validation = labelled(class_files(splits["validation"]), class_names)
    else:
        stay, apart = divide(train.labels, validation_share, seed=seed)
        if not len(apart):
            raise DataError(
                f"{folder}: one picture in each class; one must have a second, for validation; add pictures"
            )
        train, validation = train.subset(stay), train.subset(apart)
    test = labelled(class_files(splits["test"]), class_names) if "test" in splits else None
    return Dataset(
        name=folder.resolve().name,
        source=str(folder),
        class_names=class_names,
        train=train,
        validation=validation,
        test=test,
        mirror=True,
        tight=False,
    )


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each split, by "train", "validation" and "test"; none for a folder of classes.

    A folder of classes may have one that is called train, with pictures of trains: beside folders of other
    names, train is a split only if it holds folders itself. Raises `DataError` where two are the same split.
    """
    filled = [child for child in _subfolders(folder) if any(_visible(child))]
    splits: dict[str, Path] = {}
    for child in filled:
        split = SPLIT_NAMES.get(child.name.lower())
        if split is None:
            continue
        if split in splits:
            raise DataError(
                f"{folder}: both {splits[split].name} and {child.name}; only one may hold the {split} split; "
                f"rename or join them"
            )
        splits[split] = child
    if len(splits) == len(filled) or ("train" in splits and _subfolders(splits["train"])):
        return splits
    return {}


def class_files(folder: Path) -> dict[str, list[Path]]:
    """Return the picture files below each class folder, classes and files sorted; empty classes left out.

    Raises `DataError` where there are none, and says so if the pictures lie in the folder itself.
    """
    files = {child.name: pictures_below(child) for child in _subfolders(folder)}
    found = {name: paths for name, paths in files.items() if paths}
    if found:
        return found
    if any(_is_picture(child.name) for child in _visible(folder)):
        raise DataError(
            f"{folder}: pictures directly in it; each must be in a folder that is named after its class; "
            f"make one for each class"
        )
    raise DataError(
        f"{folder}: no pictures; it must have a folder for each class, with files ending in "
        f"{listed(PICTURE_SUFFIXES)}"
    )


def labelled(files: ClassFiles, class_names: Sequence[str]) -> Split:
    """Return the files as a split whose labels are indices into `class_names`.

    Raises `DataError` for a class that is not among them.
    """
    index = {name: label for label, name in enumerate(class_names)}
    unknown = [name for name in files if name not in index]
    if unknown:
        raise DataError(
            f"{files[unknown[0]][0]}: of a class that is not known ({listed(unknown)}); it must be one of "
            f"{listed(class_names)}; rename the folder or leave it out"
        )
    paths = [path for name in files for path in files[name]]
    labels = [index[name] for name in files for _ in files[name]]
    return Split(
        pictures=LazyPictures(paths, decode),
        labels=np.array(labels, np.int64),
        names=[str(path) for path in paths],
    )


def pictures_below(folder: Path) -> list[Path]:
    """Return every picture file below a folder, in a fixed order, hidden files and folders left out.

    Links to folders are followed, each folder being visited once, so that a loop of links ends.
    """

    def refuse(error: OSError) -> None:  # os.walk would leave the folder out without a word
        raise _unreadable(error) from error

    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for here, subfolders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(here)  # noqa: PTH116  # os.walk gives strings; a Path for each folder is slow
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(here, name) for name in sorted(files) if _is_picture(name)]
    return found


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from error


def _subfolders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir()]


def _unreadable(error: OSError) -> DataError:
    return DataError(f"{error.filename}: cannot be read ({error.strerror}); it must be a readable folder")


def listed(names: Iterable[str], *, most: int = 12) -> str:
    """Join names for a message, which stays one readable line for a thousand classes.

    >>> listed(["dog", "cat", "emu"], most=2)
    'cat, dog and 1 more'
    """
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")

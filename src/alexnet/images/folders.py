"""Folders of class folders, and folders that hold them by split: finding the pictures, not decoding them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from alexnet.errors import DataError
from alexnet.images.decode import PICTURE_SUFFIXES
from alexnet.images.sources import SPLIT_NAMES, ClassFiles, Source, listed

_OF_CAMERAS = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf")
_NOT_READ = frozenset((*_OF_CAMERAS, ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".psd", ".tga"))
"""Endings of pictures of other formats."""


def open_folder(folder: Path) -> Source:
    """Find out how a folder is divided; its pictures are looked for when a split is read."""
    splits = split_folders(folder)
    others: Counter[str] = Counter()

    def read(split: str | None) -> ClassFiles:
        return class_files(folder if split is None else splits[split], others)

    return Source(
        path=folder,
        root=folder,
        splits=splits,
        read=read,
        doubts=partial(_doubts, folder, splits),
        others=others,
    )


def _doubts(folder: Path, splits: Mapping[str, Path]) -> Iterator[str]:
    """What may have been meant otherwise."""
    filled = [child for child in _subfolders(folder) if not _is_empty(child)]
    beside = [child.name for child in filled if child not in splits.values()]
    if splits and beside:
        split = listed(child.name for child in splits.values())
        yield f"{folder}: {listed(beside)} beside {split}; passed over"
    if splits:
        return
    for child in filled:
        if child.name.lower() in SPLIT_NAMES:
            yield f"{folder}: {child.name} is taken for a class, as there are others beside it"
    inner = [_only_folders(child) for child in filled]
    shared = set.intersection(*inner) if inner else set()
    if len(shared) > 1:
        yield (
            f"{folder}: its folders ({listed(beside)}) are taken for classes, and all hold the same folders "
            f"({listed(shared)}); where those are the classes, name one of its folders"
        )


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each split, by "train", "validation" and "test"; none for a folder of classes.

    A folder of classes may have one that is called train, with pictures of trains: beside folders of other
    names, train is a split only if it holds folders itself. Raises `DataError` where two are the same split,
    and where one holds folders of classes that lie beside it.
    """
    filled = [child for child in _subfolders(folder) if not _is_empty(child)]
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
    classes = {child.name for child in filled} - {child.name for child in splits.values()}
    for child in splits.values():
        twice = classes & {inner.name for inner in _subfolders(child)}
        if twice:
            raise DataError(
                f"{folder}: {child.name} holds classes that lie beside it, too ({listed(twice)}); what lies "
                f"beside a split must be in one; move it into {folder / 'train'}"
            )
    return {}


def class_files(folder: Path, others: Counter[str]) -> dict[str, list[Path]]:
    """Return the picture files below each class folder, classes and files sorted; none of an empty one.

    Pictures of formats that are not read are counted in `others`, by their endings. Raises `DataError` where
    there are none at all, and says so if the pictures lie in the folder itself.
    """
    files = {child.name: list(find_below(child, others=others)) for child in _subfolders(folder)}
    if any(files.values()):
        return files
    if any(_is_picture(child.name) for child in _visible(folder)):
        raise DataError(
            f"{folder}: pictures directly in it; each must be in a folder that is named after its class; "
            f"make one for each class, or move them away"
        )
    raise DataError(
        f"{folder}: no pictures; it must have a folder for each class, with files ending in "
        f"{listed(PICTURE_SUFFIXES)}"
    )


def find_below(
    folder: Path,
    *,
    on_unreadable: Callable[[Path], None] | None = None,
    others: Counter[str] | None = None,
) -> Iterator[Path]:
    """Yield every picture file below a folder, in a fixed order, hidden files and folders left out.

    Links to folders are followed, each folder being visited once and none that the folder lies in, so that a
    loop of links ends. No more than one folder's names are in memory at a time. `on_unreadable` is told of a
    folder that cannot be read; where there is nobody to tell, it is a DataError. Pictures of formats that are
    not read are counted in `others`, by their endings.
    """

    def refuse(error: OSError) -> None:  # os.walk would leave the folder out without a word
        if on_unreadable is None:
            raise _unreadable(error) from error
        on_unreadable(Path(error.filename))

    visited = {(each.st_dev, each.st_ino) for each in map(os.stat, folder.resolve().parents)}
    for here, subfolders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(here)  # noqa: PTH116  # os.walk gives strings; a Path for each folder is slow
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if others is not None:
            visible = (name for name in files if not name.startswith("."))
            others.update(ending for name in visible if (ending := _ending(name)) in _NOT_READ)
        yield from (Path(here, name) for name in sorted(files) if _is_picture(name))


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and _ending(name) in PICTURE_SUFFIXES


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a Path for each of a million files is slow


def _is_empty(folder: Path) -> bool:
    """Whether it holds nothing but hidden files, seen without looking at more than one."""
    try:
        with os.scandir(folder) as found:
            return all(each.name.startswith(".") for each in found)
    except OSError as error:
        raise _unreadable(error) from error


def _only_folders(folder: Path) -> set[str]:
    """The names of the folders in one that holds no pictures itself, else none."""
    inner: set[str] = set()
    with os.scandir(folder) as found:
        for each in found:
            if _is_picture(each.name):
                return set()
            if each.is_dir() and not each.name.startswith("."):
                inner.add(each.name)
    return inner


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from error


def _subfolders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir()]


def _unreadable(error: OSError) -> DataError:
    return DataError(f"{error.filename}: cannot be read ({error.strerror}); it must be a readable folder")

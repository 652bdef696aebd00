"""The picture files of a data set, by split and class, before any is opened: what folders and CSVs share."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alexnet.errors import DataError
from alexnet.images.decode import decode
from alexnet.images.splits import LazyPictures, Split

ClassFiles = Mapping[str, Sequence[Path]]
"""The picture files of each class, by class name, in order; of a class folder that is empty, none."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, in any case, and which split it then is."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of a folder or a CSV."""

    path: Path  # the folder or the CSV, as it was given
    root: Path  # the folder that the names of pictures are relative to
    splits: Mapping[str, Path]  # by "train", "validation", "test": what errors name; none where undivided
    read: Callable[[str | None], ClassFiles]  # of a split, or of all where there is none; at least one file
    doubts: Callable[[], Iterable[str]] = tuple  # a line each: what is odd and may be meant; looks once more
    others: Counter[str] = field(
        default_factory=Counter
    )  # by ending: files of formats that are not read, so far

    def where(self, split: str | None) -> Path:
        """Return what an error about the files of `split` begins with."""
        return self.splits.get(split or "", self.path)

    def relative(self, path: str | Path) -> str:
        """Return a file's name below the root, with /: it stays the same where the data set is moved."""
        return below(self.root, path)


def below(root: Path, path: str | Path) -> str:
    """Return the name of a file below a folder, with /; of one that lies elsewhere, as it is given.

    >>> below(Path("photos"), "photos/cat/1.jpg"), below(Path("photos"), "/other/1.jpg")
    ('cat/1.jpg', '/other/1.jpg')
    """
    name = Path(path).as_posix()
    folder = root.as_posix()
    if name.startswith("/") and not folder.startswith("/"):  # a CSV may hold whole paths
        folder = Path(os.path.abspath(root)).as_posix()  # noqa: PTH100  # links stay what they are
    return name.removeprefix(f"{folder.rstrip('/')}/")


def labelled(files: ClassFiles, class_names: Sequence[str], *, where: Path) -> Split:
    """Return the files, found at `where`, as a split whose labels are indices into `class_names`.

    Raises `DataError` for a class with pictures that is not among them.
    """
    index = {name: label for label, name in enumerate(class_names)}
    # Two ways to write é are one class, unless they are two here: where macOS made one of the folders.
    alike = {_normal(name): label for name, label in index.items()}
    index |= {name: alike[_normal(name)] for name in files if name not in index and _normal(name) in alike}
    unknown = [name for name, paths in files.items() if paths and name not in index]
    if unknown:
        inside = inner_folders(where / unknown[0])
        advice = f"the folder holds folders itself ({inside}): move them up" if inside else "rename the class"
        raise DataError(
            f"{files[unknown[0]][0]}: of a class that is not known ({listed(unknown)}); it must be one of "
            f"{listed(class_names)}; {advice} or leave it out"
        )
    paths = [path for name in files for path in files[name]]
    labels = [index[name] for name, found in files.items() for _ in found]
    return Split(
        pictures=LazyPictures(paths, decode),
        labels=np.array(labels, np.int64),
        names=[str(path) for path in paths],
    )


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def inner_folders(folder: Path) -> str:
    """Return the names of the folders in a folder, for a message; empty where it has none or is none."""
    if not folder.is_dir():
        return ""
    return listed(child.name for child in folder.iterdir() if child.is_dir() and child.name[0] != ".")


def listed(names: Iterable[str], *, most: int = 12) -> str:
    """Join names for a message, which stays one readable line for a thousand classes.

    >>> listed(["dog", "cat", "emu"], most=2)
    'cat, dog and 1 more'
    """
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")

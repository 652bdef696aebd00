"""From what the user names to a data set: a folder, or the name of one of the `named` sets.

`open_dataset` is for training; `open_split` is for judging a classifier that exists already.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.errors import DataError
from alexnet.images.folders import SPLIT_NAMES, class_files, labelled, listed, read_folder, split_folders
from alexnet.images.named import NAMED, read_named
from alexnet.images.splits import Dataset, Split

__all__ = ["Dataset", "Split", "is_undivided", "open_dataset", "open_split"]


def open_dataset(
    spec: str | Path,
    *,
    seed: int = 0,
    validation_share: float = 0.1,
    fetch: bool = True,
    on_fetch: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Open a named set or a folder, with its pictures found but not yet decoded.

    A folder holds `train` with `val` (or `valid`, `validation`) or `test` or both, and a folder for each
    class in each; or just a folder for each class. Where there is no validation split, `validation_share` of
    each class's training pictures becomes it, chosen by `seed`. A named set's splits have sizes of their own.
    `fetch` allows a named set to be fetched where it is not on this machine; `on_fetch` is told of it.
    Raises `DataError` for anything else, and where the pictures cannot be a classifier's: none at all, or one
    class only.
    """
    if spec in NAMED:
        return read_named(str(spec), seed=seed, fetch=fetch, on_fetch=on_fetch)
    return read_folder(_existing_folder(spec), seed=seed, validation_share=validation_share)


def open_split(
    spec: str | Path,
    class_names: Sequence[str],
    *,
    split: str | None = None,
    seed: int = 0,
    validation_share: float = 0.1,
    fetch: bool = True,
) -> Split:
    """Open the pictures to judge a classifier by, labelled with indices into its `class_names`.

    Without `split`: the test split where there is one, else validation; of a folder of class folders, all
    its pictures. `split` asks for "train", "validation" or "test" as `open_dataset` has it with this seed
    and share. Raises `DataError` for a split that is not there, and for a class not among `class_names`.
    """
    if split is not None and split not in SPLIT_NAMES:
        raise DataError(
            f"{split}: not a split; it must be one of {', '.join(sorted(set(SPLIT_NAMES.values())))}"
        )
    wanted = SPLIT_NAMES[split] if split is not None else None
    if spec not in NAMED:
        folder = _existing_folder(spec)
        present = split_folders(folder)
        if wanted is None and not present:
            return labelled(class_files(folder), class_names)
        if wanted is None:
            wanted = "test" if "test" in present else "validation"
        if wanted in present and not (wanted == "train" and "validation" not in present):
            return labelled(class_files(present[wanted]), class_names)
    dataset = open_dataset(spec, seed=seed, validation_share=validation_share, fetch=fetch)
    chosen = {"train": dataset.train, "validation": dataset.validation}.get(wanted or "test", dataset.test)
    if chosen is None:
        raise DataError(f"{spec}: no test split; it must have one; add a folder test or choose validation")
    return _relabelled(chosen, dataset, class_names)


def is_undivided(spec: str | Path) -> bool:
    """Whether `spec` is a folder of class folders: training divides it, and a split must be asked for."""
    return spec not in NAMED and Path(spec).is_dir() and not split_folders(Path(spec))


def _relabelled(split: Split, dataset: Dataset, class_names: Sequence[str]) -> Split:
    unknown = sorted(set(dataset.class_names) - set(class_names))
    if unknown:
        raise DataError(
            f"{dataset.name}: has classes that the classifier does not know, {listed(unknown)}; all must be "
            f"among {listed(class_names)}; take the data set that it was trained on"
        )
    places = np.array([list(class_names).index(name) for name in dataset.class_names], np.int64)
    return replace(split, labels=places[split.labels])


def _existing_folder(spec: str | Path) -> Path:
    folder = Path(spec)
    if folder.is_dir():
        return folder
    found = "a file" if folder.exists() else "no such data set or folder"
    beside = (
        [str(child) for child in folder.parent.iterdir() if child.is_dir()] if folder.parent.is_dir() else []
    )
    near = difflib.get_close_matches(str(folder), [*NAMED, *beside], n=1)
    advice = f"did you mean {near[0]}?" if near else "check the path"
    raise DataError(
        f"{spec}: {found}; it must be a folder of class folders or one of {', '.join(NAMED)}; {advice}"
    )

"""From what the user names to a data set: a folder, a CSV, or the name of one of the `named` sets.

`open_dataset` is for training; `open_split` is for judging a classifier that exists already.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.errors import DataError
from alexnet.images.folders import open_folder
from alexnet.images.listing import LISTING_SUFFIXES, open_listing
from alexnet.images.named import NAMED, UNLIKE_IN_A_MIRROR, read_named
from alexnet.images.sources import SPLIT_NAMES, Source, inner_folders, labelled, listed
from alexnet.images.splits import Dataset, Split, divide
from alexnet.images.survey import survey

__all__ = [
    "Dataset",
    "Split",
    "default_split",
    "divides_validation",
    "is_undivided",
    "open_dataset",
    "open_split",
]


def open_dataset(
    spec: str | Path,
    *,
    seed: int = 0,
    validation_share: float = 0.1,
    fetch: bool = True,
    on_fetch: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Open a named set, a folder or a CSV, with its pictures found but not yet decoded.

    A folder holds `train` with `val` (or `valid`, `validation`) or `test` or both, and a folder for each
    class in each; or just a folder for each class. A CSV has a row for each picture: path, label and, if it
    is divided already, split (`open_listing`). Where there is no validation split, `validation_share` of each
    class's training pictures becomes it, chosen by `seed`. A named set's splits have sizes of their own.
    `fetch` allows a named set to be fetched where it is not on this machine; `on_fetch` is told of it.
    What is odd about a folder or a CSV is in the data set's `warnings`. Raises `DataError` for anything else,
    and where the pictures cannot be a classifier's: none at all, or one class only.
    """
    if spec in NAMED:
        return read_named(str(spec), seed=seed, fetch=fetch, on_fetch=on_fetch)
    dataset = _read(_source(spec), seed=seed, validation_share=validation_share)
    return replace(dataset, warnings=(*dataset.warnings, *survey(dataset)))


def open_split(
    spec: str | Path,
    class_names: Sequence[str],
    *,
    split: str | None = None,
    seed: int = 0,
    validation_share: float = 0.1,
    division: Mapping[str, Sequence[str]] | None = None,
    fetch: bool = True,
) -> Split:
    """Open the pictures to judge a classifier by, labelled with indices into its `class_names`.

    Without `split`: the test split where there is one, else validation; of a folder of class folders, or a
    CSV without splits, all its pictures. `split` asks for "train", "validation" or "test" as `open_dataset`
    has it with this seed and share; but where validation is divided off train here, a `division`, that of the
    data set that was trained on, says which pictures are in which: those added since are in neither, and of
    those that have gone the split's `warnings` tell. Raises `DataError` for a split that is not there or of
    which all pictures have gone, and for a class not among `class_names`.
    """
    if split is not None and split not in SPLIT_NAMES:
        raise DataError(
            f"{split}: not a split; it must be one of {', '.join(sorted(set(SPLIT_NAMES.values())))}"
        )
    if spec not in NAMED:
        source = _source(spec)
        wanted = SPLIT_NAMES[split] if split is not None else _default_split(source)
        if wanted is None:
            return labelled(source.read(None), class_names, where=source.path)
        if wanted in source.splits and not (wanted == "train" and "validation" not in source.splits):
            return labelled(source.read(wanted), class_names, where=source.where(wanted))
        if division is not None and wanted != "test":
            return _part(source, wanted, division[wanted], class_names)
        dataset = _read(source, seed=seed, validation_share=validation_share)
    else:
        wanted = SPLIT_NAMES[split] if split is not None else "test"
        dataset = read_named(str(spec), seed=seed, fetch=fetch)
    chosen = {"train": dataset.train, "validation": dataset.validation}.get(wanted, dataset.test)
    if chosen is None:
        raise DataError(f"{spec}: no test split; it must have one; add one or choose validation")
    return _relabelled(chosen, dataset, class_names)


def default_split(spec: str | Path, *, order: Sequence[str] = ("test", "validation")) -> str | None:
    """Return the split to judge by where none is asked for: the first of these that `spec` has.

    Validation where it has train alone, which is divided then; None, all its pictures, of a folder or CSV
    without splits.
    """
    return order[0] if spec in NAMED else _default_split(_source(spec), order=order)


def _default_split(source: Source, *, order: Sequence[str] = ("test", "validation")) -> str | None:
    if not source.splits:
        return None
    return next((split for split in order if split in source.splits), "validation")


def divides_validation(spec: str | Path) -> bool:
    """Whether `spec` is a folder or CSV of whose training pictures some are set apart for validation."""
    return spec not in NAMED and Path(spec).exists() and "validation" not in _source(spec).splits


def is_undivided(spec: str | Path) -> bool:
    """Whether `spec` is a folder or CSV without splits: training divides it, and one must be asked for."""
    return spec not in NAMED and Path(spec).exists() and not _source(spec).splits


def keeps_class_mirrored(spec: str | Path) -> bool:
    """Whether a mirrored picture of `spec` keeps its class, as far as is known: not so for digits."""
    return str(spec) not in UNLIKE_IN_A_MIRROR


def _read(source: Source, *, seed: int, validation_share: float) -> Dataset:
    """Label the files of every split, and divide validation off train where there is none."""
    if source.splits and "train" not in source.splits:
        raise DataError(
            f"{source.path}: has {listed(source.splits)} but no train; it must have that too, with "
            f"pictures of each class; add it"
        )
    tables = {split: source.read(split) for split in source.splits} or {"train": source.read(None)}
    class_names = tuple(name for name, files in tables["train"].items() if files)
    if len(class_names) < 2:
        raise _one_class(source, class_names[0])
    splits = {
        split: labelled(files, class_names, where=source.where(split)) for split, files in tables.items()
    }
    division = None
    if "validation" not in splits:
        full = splits["train"]
        stay, apart = divide(full.labels, validation_share, seed=seed)
        if not len(apart):
            raise DataError(
                f"{source.path}: one picture in each class; one must have a second, for validation; "
                f"add pictures"
            )
        splits |= {"train": full.subset(stay), "validation": full.subset(apart)}
        division = {
            part: [source.relative(name) for name in splits[part].names] for part in ("train", "validation")
        }
    empty = {split: [name for name, files in tables[split].items() if not files] for split in tables}
    return Dataset(
        name=source.path.resolve().stem if source.path.is_file() else source.path.resolve().name,
        source=str(source.path),
        class_names=class_names,
        train=splits["train"],
        validation=splits["validation"],
        test=splits.get("test"),
        mirror=True,
        tight=False,
        division=division,
        warnings=(
            *source.doubts(),
            *(
                f"{source.where(split)}: no pictures in {listed(names)}; passed over"
                for split, names in empty.items()
                if names
            ),
            *_of_other_formats(source),
        ),
    )


def _of_other_formats(source: Source) -> Iterator[str]:
    """Pictures that a whole class may be of: telephones' HEIC is no rarity."""
    if source.others:
        told = listed(f"{count:,} {ending}" for ending, count in source.others.items())
        yield (
            f"{source.path}: {source.others.total():,} files passed over, of formats that are not read "
            f"({told}); save them as JPEG or PNG"
        )


def _one_class(source: Source, name: str) -> DataError:
    where = source.where("train")
    inside = inner_folders(where / name)
    if inside:
        advice = f"move those up, into {where}" if source.splits else f"give {where / name}"
        found = f"one class folder ({name}), which holds folders itself ({inside})"
    elif where.is_dir():
        found, advice = f"one class folder ({name})", "put each class's pictures in a folder of its own"
        if told := "; ".join(_of_other_formats(source)):
            advice = told
    else:
        found, advice = f"one class to train on ({name})", "add pictures of another"
    return DataError(f"{where}: {found}; there must be at least two classes; {advice}")


def _part(source: Source, wanted: str, names: Iterable[str], class_names: Sequence[str]) -> Split:
    """Find the pictures of these names among those that the validation split was divided off."""
    asked, whole = set(names), "train" if source.splits else None
    files = {
        class_name: [path for path in paths if source.relative(path) in asked]
        for class_name, paths in source.read(whole).items()
    }
    split = labelled(files, class_names, where=source.where(whole))
    gone = asked.difference(map(source.relative, split.names))
    if not len(split):
        raise DataError(
            f"{source.path}: none of the {len(asked):,} pictures of {wanted} is there "
            f"({listed(gone, most=3)}); they must be those of the training; give the data set that it was on"
        )
    if not gone:
        return split
    told = f"{len(gone):,} of the {len(asked):,} pictures of {wanted} have gone ({listed(gone, most=3)})"
    return replace(split, warnings=(f"{source.path}: {told}; the others are taken",))


def _relabelled(split: Split, dataset: Dataset, class_names: Sequence[str]) -> Split:
    unknown = sorted(set(dataset.class_names) - set(class_names))
    if unknown:
        raise DataError(
            f"{dataset.name}: has classes that the classifier does not know, {listed(unknown)}; all must be "
            f"among {listed(class_names)}; take the data set that it was trained on"
        )
    places = np.array([list(class_names).index(name) for name in dataset.class_names], np.int64)
    return replace(split, labels=places[split.labels])


def _source(spec: str | Path) -> Source:
    path = Path(spec)
    if path.is_dir():
        return open_folder(path)
    if path.suffix.lower() in LISTING_SUFFIXES and path.is_file():
        return open_listing(path)
    mistyped = not path.exists()
    found = "no such data set, folder or CSV" if mistyped else "a file"
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    meant = [*NAMED, *(str(child) for child in beside if _may_be_meant(child))]
    near = difflib.get_close_matches(str(path), meant, n=1) if mistyped else []
    advice = f"did you mean {near[0]}?" if near else "check the path"
    raise DataError(
        f"{spec}: {found}; it must be a folder of class folders, a CSV of path,label or one of "
        f"{', '.join(NAMED)}; {advice}"
    )


def _may_be_meant(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in LISTING_SUFFIXES

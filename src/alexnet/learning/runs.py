"""A run's folder: what lies in it, under which names. `train` fills it, reports read from it."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

import alexnet
from alexnet.architecture.network import Network, to_mapping
from alexnet.errors import DataError, OutputError, TrainingError
from alexnet.images.datasets import default_split, divides_validation, open_split
from alexnet.images.sources import SPLIT_NAMES, below
from alexnet.images.splits import Dataset, Split
from alexnet.learning.recipe import Recipe
from alexnet.writing import lock, write_whole

RUNS = "runs"  # where the folders of runs are made that were given no place
BEST = "best.safetensors"
BEST_BEFORE = "best-before.safetensors"  # that of the newest state, where a better one has come since
LAST = "last.safetensors"
METRICS = "metrics.csv"  # a line an epoch
STEPS = "steps.csv"  # a line every few steps
DESCRIPTION = "run.json"
REPORT = "report.html"
DIVISION = "division.json"  # of a data set that training divided: which pictures are in which split
EVENTS = "events.out.tfevents.*"  # the lines of both, for TensorBoard
STATE = "state.safetensors"  # what resuming needs
STATE_BEFORE = "state-before.safetensors"  # the same, of the checkpoint before
STATE_NEXT = "state-next.safetensors"  # the same, newer than both: a kill came before it was in its place
SKIPPED = "skipped.csv"  # pictures that could not be read, if any
_WRITTEN_WHOLE = (
    *(BEST, BEST_BEFORE, LAST, METRICS, STEPS, DESCRIPTION, REPORT, SKIPPED, DIVISION),
    *(STATE, STATE_BEFORE, STATE_NEXT),
)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of metrics.csv."""

    epoch: int  # from 1; the last one may be a part of one
    pictures: int  # trained on so far
    seconds: float  # since the start, validation included
    pictures_per_second: float  # in this epoch's training
    learning_rate: float  # at its end
    train_loss: float  # mean over the epoch, on augmented pictures, in nats
    train_accuracy: float  # the same, 0 to 1
    validation_loss: float | None  # after it, in nats; None where Ctrl-C came before
    validation_accuracy: float | None  # top-1, 0 to 1; the same


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One line of steps.csv: the mean over the steps since the line before."""

    pictures: int  # trained on so far
    seconds: float  # since the start
    learning_rate: float
    train_loss: float  # in nats
    train_accuracy: float  # 0 to 1


def new_run_folder(output: str | Path | None, *, name: str, resume: bool = False) -> Path:
    """Make an empty folder for a run: `output`, or runs/NAME-1, -2, ... in the working folder.

    To `resume`, the folder may hold what a run leaves that was stopped before it had begun. Raises
    OutputError where it cannot be made or holds something else.
    """
    try:
        if output is not None:
            folder = Path(output)
            folder.mkdir(parents=True, exist_ok=True)
            if any(not (resume and _is_beginning(child.name)) for child in folder.iterdir()):
                raise OutputError(
                    f"{folder}: not empty; a run needs a folder of its own; choose another --output"
                )
            return folder
        number = 1
        while True:
            folder = Path(RUNS) / f"{name}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; choose another --output") from None


def has_nothing(folder: Path) -> bool:
    """Whether it is empty, or not there."""
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError:  # a file, or one that may not be read: a run will refuse it
        return False


def _is_beginning(name: str) -> bool:
    return name == DIVISION or name.startswith((f".{DIVISION}.", f".{DESCRIPTION}."))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the folder; without locks on this system or disk, nothing.

    Raises TrainingError where another process does.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # some systems open no folders
        yield
        return
    try:
        if not lock(descriptor):
            raise TrainingError(
                f"{folder}: another process trains there; a run has one at a time; wait until it ends, or "
                "choose another --output"
            )
        yield
    finally:
        os.close(descriptor)


def remove_half_written(folder: Path) -> None:
    """Remove what was being written aside when a run was killed."""
    # .tmp and six characters: what safetensors itself writes before it renames it.
    for pattern in (*(f".{name}.*" for name in _WRITTEN_WHOLE), ".tmp??????"):
        for child in folder.glob(pattern):
            child.unlink(missing_ok=True)


def write_lines(path: Path, lines: Sequence[Epoch] | Sequence[Steps]) -> None:
    """Write metrics.csv or steps.csv: a header, then a line for each."""
    header = [each.name for each in fields(lines[0])]
    values = (asdict(line).values() for line in lines)
    rows = ([f"{each:.6g}" if isinstance(each, float) else each for each in line] for line in values)
    _write_csv(path, [header, *rows])


def _write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_whole(path, buffer.getvalue())


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes a run what it is; another value would make it another run."""

    network: Network  # with the data's classes
    data: Mapping[str, Any]  # describe_data's
    recipe: Recipe
    epochs: int | None
    time_limit: float | None  # seconds
    patience: int | None  # epochs without a better validation accuracy
    seed: int
    precision: str
    start: str | None  # the weights that it started from; None: random ones
    frozen: str | None  # the last layer that is not trained

    def to_dict(self) -> dict[str, Any]:
        """As run.json has it."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        described = values | {"network": to_mapping(self.network), "recipe": asdict(self.recipe)}
        # JSON has no infinity.
        described["recipe"] = {
            name: None if value == inf else value for name, value in described["recipe"].items()
        }
        return described


_MAY_CHANGE = ("epochs", "time_limit", "patience", "recipe.learning_rate")
_MAY_MOVE = (
    "data.name",
    "data.source",
)  # where pictures lie: their names and classes say that they are the same


def check_settings(folder: Path, settings: Settings) -> None:
    """Raise TrainingError that names what differs from the settings that the folder's run was started with.

    How long it goes on and at which rate may change, and where the pictures lie.
    """
    path = folder / DESCRIPTION
    found, wanted = _flat(read_description(folder)), _flat(settings.to_dict())
    streamed = isinstance(settings.data["pictures"], int)  # nothing is known of such pictures
    may_move = () if streamed else _MAY_MOVE
    changed = [
        f"{name} was {found.get(name)} and is now {value}"
        for name, value in wanted.items()
        if found.get(name) != value and name not in (*_MAY_CHANGE, *may_move)
    ]
    if changed:
        raise TrainingError(
            f"{path}: another run: {'; '.join(changed[:3])}; to go on it must be as it was started, but for "
            f"{', '.join(_MAY_CHANGE)}; or choose another --output"
        )


def read_description(folder: Path) -> dict[str, Any]:
    """What run.json says; raises TrainingError where it cannot be read."""
    path = folder / DESCRIPTION
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); must be the run.json of a run") from None
    if not isinstance(described, dict):
        raise TrainingError(f"{path}: not the run.json of a run")
    return described


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.loads(json.dumps(value))
    return flat


def write_description(folder: Path, settings: Settings, **results: object) -> None:
    """Write run.json: the settings, what the run was made with, and what it came to so far."""
    described = settings.to_dict() | {"versions": versions()} | results
    write_whole(folder / DESCRIPTION, json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def write_division(folder: Path, data: Dataset) -> None:
    """Write which pictures of an undivided data set train and which are set apart, by their names."""
    if data.division is not None:
        division = {"source": str(Path(data.source).resolve()), "splits": dict(data.division)}
        write_whole(folder / DIVISION, json.dumps(division, indent=0) + "\n")


@dataclass(frozen=True, kw_only=True)
class Division:
    """How a run divided a data set that was not."""

    source: str  # the data set's whole path
    splits: dict[str, list[str]]  # names of pictures, relative to it


def read_division(folder: Path) -> Division | None:
    """Of the run in `folder`; None where it divided nothing."""
    try:
        told = json.loads((folder / DIVISION).read_text(encoding="utf-8"))
        splits = {str(name): list(names) for name, names in told["splits"].items()}
        return Division(source=str(told["source"]), splits=splits)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise TrainingError(
            f"{folder / DIVISION}: cannot be read; must be as training wrote it; "
            "delete it to divide by --seed"
        ) from None


def _seed_of(folder: Path) -> int:
    """That of the run in `folder`; 0, as is usual, where it holds none."""
    try:
        seed = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["seed"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return seed if isinstance(seed, int) else 0


def open_split_of_run(
    weights: Path, data: str, class_names: Sequence[str], *, split: str | None, seed: int | None = None
) -> Split:
    """The pictures of `data` to judge `weights` by, divided as the run did that the weights lie in.

    Without a `split`, `default_split`. Without a `seed` it is the run's. A data set in another place is taken
    for that of the run if it has all of the run's pictures. Where a division is made anew, the split's
    `warnings` tell. Raises as `open_split` does, and TrainingError where the run's division cannot be read.
    """
    split = split or default_split(data)
    seed = _seed_of(weights.parent) if seed is None else seed
    opened = partial(open_split, data, class_names, split=split, seed=seed)
    if split is None or SPLIT_NAMES.get(split) == "test" or not divides_validation(data):
        return opened()
    division = read_division(weights.parent)
    if division is not None:
        if division.source == str(Path(data).resolve()):
            return opened(division=division.splits)
        with suppress(DataError):  # none of the names is there
            found = opened(division=division.splits)
            if not found.warnings:
                return found
    missing = f"{weights.parent / DIVISION} is {'of other pictures' if division else 'not there'}"
    warning = f"{data}: divided anew by the seed, as {missing}; some may be pictures that were trained on"
    anew = opened()
    return replace(anew, warnings=(*anew.warnings, warning))


def write_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Write skipped.csv: the name of each picture that could not be read, and why; none where all could."""
    if skipped:
        _write_csv(folder / SKIPPED, [("picture", "reason"), *skipped])
    else:
        (folder / SKIPPED).unlink(missing_ok=True)


def read_skipped(folder: Path) -> dict[str, str]:
    """What skipped.csv says: why each of these pictures could not be read, by their names."""
    try:
        with (folder / SKIPPED).open(encoding="utf-8", newline="") as file:
            return {line["picture"]: line["reason"] for line in csv.DictReader(file)}
    except (OSError, ValueError, KeyError):
        return {}


def remove_if_worthless(folder: Path, *, itself: bool, parent: bool) -> None:
    """Empty a run's folder that has neither weights nor a state.

    Remove `itself`, too, and its `parent` if that is empty then.
    """
    worthless = {DESCRIPTION, DIVISION, METRICS, STEPS}
    kept = list(folder.iterdir())
    if all(child.name in worthless or child.match(EVENTS) for child in kept):
        for child in kept:
            child.unlink()
        if itself:
            folder.rmdir()
        if parent and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "alexnet": alexnet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def describe_data(data: Dataset) -> dict[str, Any]:
    """The data set's name, source, classes, how many pictures of each class each split has, and a checksum.

    The checksum is of the pictures' names below the data set's folder and their labels, in order.
    """
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    checksum, source = sha256(), Path(data.source)
    root = source.parent if source.is_file() else source  # of a CSV its folder
    for split in (data.train, data.validation):
        for name, label in zip(split.names, split.labels.tolist(), strict=True):
            checksum.update(f"{below(root, name)}\0{label}\0".encode(errors="surrogateescape"))
    return {
        "name": data.name,
        "source": data.source,
        "class_names": list(data.class_names),
        "pictures": {
            name: np.bincount(split.labels, minlength=len(data.class_names)).tolist()
            for name, split in splits.items()
            if split is not None
        },
        "checksum": checksum.hexdigest()[:16],
    }

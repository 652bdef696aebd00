"""A run's folder: what lies in it, under which names. `train` fills it, reports read from it."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

import alexnet
from alexnet.errors import OutputError
from alexnet.images.splits import Dataset
from alexnet.writing import write_whole

BEST = "best.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.csv"  # a line an epoch
STEPS = "steps.csv"  # a line every few steps
DESCRIPTION = "run.json"
REPORT = "report.html"


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


def new_run_folder(output: str | Path | None, *, name: str) -> Path:
    """Make an empty folder for a run: `output`, or runs/NAME-1, -2, ... in the working folder.

    Raises OutputError where it cannot be made or holds a run already.
    """
    try:
        if output is not None:
            folder = Path(output)
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise OutputError(
                    f"{folder}: not empty; a run needs a folder of its own; choose another --output"
                )
            return folder
        number = 1
        while True:
            folder = Path("runs") / f"{name}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; choose another --output") from None


def write_lines(path: Path, lines: Sequence[Epoch] | Sequence[Steps]) -> None:
    """Write metrics.csv or steps.csv: a header, then a line for each."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([each.name for each in fields(lines[0])])
    for line in lines:
        values = asdict(line).values()
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    write_whole(path, buffer.getvalue())


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write run.json."""
    write_whole(folder / DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False) + "\n")


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
    """The data set's name, source, classes, and how many pictures of each class each split has."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "name": data.name,
        "source": data.source,
        "class_names": list(data.class_names),
        "pictures": {
            name: np.bincount(split.labels, minlength=len(data.class_names)).tolist()
            for name, split in splits.items()
            if split is not None
        },
    }

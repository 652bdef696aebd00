"""The main job from beginning to end: train the notes' network on real pictures, judge it, use it, report."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.architecture.zoo import NOTES
from alexnet.errors import DataError, OutputError
from alexnet.images.datasets import Dataset, open_dataset
from alexnet.images.decode import Picture
from alexnet.images.splits import Split
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import Prediction, predict
from alexnet.learning import runs
from alexnet.learning.evaluate import Report, evaluate
from alexnet.learning.progress import Progress
from alexnet.learning.report import write_report
from alexnet.learning.train import History, train
from alexnet.writing import write_whole

PICTURES = "fashion-mnist"
FALLBACK = "digits"  # needs no download
HANDFUL = 6  # pictures that are predicted one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the trained network is worth."""

    report: Report  # on the test pictures
    predictions: tuple[tuple[str, Picture, Prediction], ...]  # true class, picture, answer
    page: Path  # report.html


def open_pictures(name: str, *, say: Callable[[str], None], fetch: bool = True) -> Dataset:
    """The named pictures; where Fashion-MNIST cannot be had, digits, which `say` is told with the reason."""
    try:
        return open_dataset(name, fetch=fetch, on_fetch=say)
    except DataError as error:
        if name != PICTURES:
            raise
        say(f"{error}\nUsing {FALLBACK} instead.")
        return open_dataset(FALLBACK)


def train_notes(
    data: Dataset,
    *,
    time_limit: float,
    output: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> History:
    """Train the notes' network, unabridged, on `data` for `time_limit` seconds."""
    return train(NOTES, data, output=output, time_limit=time_limit, on_progress=on_progress)


def judge(
    history: History, data: Dataset, *, on_progress: Callable[[int], None] = lambda _: None
) -> Judgement:
    """Evaluate on the test pictures, write report.html, predict a handful of pictures from their files."""
    classifier = open_classifier(history.output / runs.BEST, engine="torch")
    test = data.test or data.validation
    report = evaluate(classifier, test, on_progress=on_progress)
    page = write_report(
        history,
        report,
        test,
        title=f"AlexNet of the lecture notes on {data.name}",
        facts=(
            ("network", f"{NOTES.name}, unabridged, input {NOTES.input[0]}x{NOTES.input[1]}"),
            ("pictures", f"{data.name}, from {data.source}"),
        ),
    )
    files = write_handful(test, history.output / "pictures")
    predictions = predict(classifier, files.values(), top=3)
    return Judgement(
        report=report,
        predictions=tuple(
            (classifier.class_names[test.labels[index]], test.pictures[index], prediction)
            for index, prediction in zip(files, predictions, strict=True)
        ),
        page=page,
    )


def write_handful(split: Split, folder: Path) -> dict[int, Path]:
    """Write a few pictures of different classes as PNG files: their indices and paths."""
    _, first_of_each = np.unique(split.labels, return_index=True)
    chosen = [int(index) for index in sorted(first_of_each)[:HANDFUL]]
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; make room") from error
    paths = {index: folder / f"{number}.png" for number, index in enumerate(chosen, start=1)}
    for index, path in paths.items():
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(split.pictures[index])).save(buffer, "PNG")
        write_whole(path, buffer.getvalue())
    return paths

"""The main job from beginning to end: train the notes' network on real pictures, judge it, use it, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.architecture.zoo import NOTES
from alexnet.errors import DataError
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

FALLBACK = "digits"  # needs no download
HANDFUL = 6  # pictures that are predicted one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class Demo:
    """What the demo came to."""

    history: History
    report: Report  # on the test pictures
    predictions: tuple[tuple[str, Picture, Prediction], ...]  # true class, picture, answer
    page: Path  # report.html


def open_pictures(name: str, *, say: Callable[[str], None], fetch: bool = True) -> Dataset:
    """The named pictures, or digits where they cannot be had, which `say` is then told with the reason."""
    try:
        return open_dataset(name, fetch=fetch)
    except DataError as error:
        if name == FALLBACK:
            raise
        say(f"{error}\nUsing {FALLBACK} instead.")
        return open_dataset(FALLBACK)


def run_demo(
    data: Dataset,
    *,
    time_limit: float,
    output: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_evaluation: Callable[[int], None] = lambda _: None,
) -> Demo:
    """Train for `time_limit` seconds, evaluate on the test pictures, predict a handful, write report.html."""
    history = train(NOTES, data, output=output, time_limit=time_limit, on_progress=on_progress)
    classifier = open_classifier(history.output / runs.BEST)
    test = data.test or data.validation
    report = evaluate(classifier, test, on_progress=on_evaluation)
    facts = (
        ("network", f"{NOTES.name}, unabridged, input {NOTES.input[0]}x{NOTES.input[1]}"),
        ("pictures", f"{data.name}, from {data.source}"),
    )
    title = f"AlexNet of the lecture notes on {data.name}"
    page = write_report(history, report, test, title=title, facts=facts)
    files = write_handful(test, history.output / "pictures")
    predictions = predict(classifier, files.values(), top=3)
    return Demo(
        history=history,
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
    folder.mkdir(exist_ok=True)
    paths = {index: folder / f"{number}.png" for number, index in enumerate(chosen, start=1)}
    for index, path in paths.items():
        Image.fromarray(np.ascontiguousarray(split.pictures[index])).save(path)
    return paths

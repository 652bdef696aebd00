"""evaluate(classifier, split) -> Report: how often a classifier is right, and what it takes for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError
from alexnet.images import views
from alexnet.images.batches import load_batches
from alexnet.images.decode import Picture
from alexnet.images.splits import Split
from alexnet.learning.classifier import Classifier, softmax

VIEWS = (1, 10)


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a classifier answered for every picture of a split; every figure follows from that."""

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # (N,), the true classes
    probabilities: npt.NDArray[np.float32]  # (N, classes), averaged over the views
    views: int  # of each picture: 1 or 10
    seconds: float  # decoding included

    @property
    def pictures(self) -> int:
        """How many pictures were judged."""
        return len(self.labels)

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """The likeliest class of every picture, (N,)."""
        predicted: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predicted

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """(classes, classes): how many pictures of the row's class were taken for the column's."""
        classes = len(self.class_names)
        pairs = np.bincount(self.labels * classes + self.predictions, minlength=classes * classes)
        return pairs.reshape(classes, classes).astype(np.int64)

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        right = self.probabilities[np.arange(self.pictures), self.labels]
        return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())

    def top(self, k: int) -> float:
        """Share of the pictures whose class is among the `k` likeliest, 0 to 1."""
        right = self.probabilities[np.arange(self.pictures), self.labels][:, None]
        # Of equals the earlier class is ahead, as in `predictions`.
        earlier = np.arange(len(self.class_names)) < self.labels[:, None]
        # Not `>`: where the answer is not a number, nothing speaks for the right class.
        ahead = ~(self.probabilities <= right) | ((self.probabilities == right) & earlier)
        return float((ahead.sum(axis=1) < k).mean())

    def per_class(self) -> list[tuple[str, int, int]]:
        """Class name, its pictures, how many of them were recognised; in the order of the classes."""
        confusion = self.confusion
        counts, right = confusion.sum(axis=1).tolist(), confusion.diagonal().tolist()
        return list(zip(self.class_names, counts, right, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "pictures": self.pictures,
            "views": self.views,
            "top1": self.top(1),
            "top5": self.top(5),
            "loss": self.loss,
            "seconds": round(self.seconds, 3),
            "per_class": [
                {"class": name, "pictures": count, "right": right} for name, count, right in self.per_class()
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    classifier: Classifier,
    split: Split,
    *,
    views_each: int = 1,
    batch_size: int = 128,
    workers: int = 2,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Run the classifier on every picture of `split`, through its view: the centre, or ten views averaged.

    The ten views' softmax is averaged, as in Krizhevsky et al. 2012, section 4.1. `on_progress` is called
    with the number of pictures done. Raises DataError for an empty split and a number of views that is
    neither 1 nor 10, PictureError for a file that cannot be decoded.
    """
    if views_each not in VIEWS:
        raise DataError(f"views: {views_each}; must be one of {' and '.join(map(str, VIEWS))}")
    if not len(split):
        raise DataError("evaluation: no pictures; there must be at least one")
    view, started = classifier.view, perf_counter()

    def shape(picture: Picture) -> Picture:
        # Ten views travel as one tall picture, as the loader stacks pictures of one shape.
        if views_each == 1:
            return views.center(picture, view)
        return views.ten(picture, view).reshape(10 * view.height, view.width, 3)

    probabilities: list[npt.NDArray[np.float32]] = []
    done = 0
    per_batch = max(1, batch_size // views_each)
    batches = load_batches(
        split.pictures, range(len(split)), shape=shape, batch_size=per_batch, workers=workers
    )
    for batch, chosen in batches:
        each = batch.reshape(len(chosen) * views_each, view.height, view.width, 3)
        answers = softmax(classifier(each)).reshape(len(chosen), views_each, -1)
        probabilities.append(answers.mean(axis=1))
        done += len(chosen)
        on_progress(done)
    return Report(
        class_names=classifier.class_names,
        labels=split.labels,
        probabilities=np.concatenate(probabilities),
        views=views_each,
        seconds=perf_counter() - started,
    )


def surest_wrong(report: Report, *, most: int) -> list[int]:
    """Indices of pictures that were answered wrongly, the most confident answers first."""
    wrong = np.flatnonzero(report.predictions != report.labels)
    return _surest_first(report, wrong)[:most]


def surest_right(report: Report, *, most: int) -> list[int]:
    """Indices of pictures that were answered rightly: the surest of each class, then the next of each."""
    by_class = [
        _surest_first(report, np.flatnonzero((report.predictions == label) & (report.labels == label)))
        for label in range(len(report.class_names))
    ]
    ranks = zip_longest(*by_class)
    return [index for rank in ranks for index in rank if index is not None][:most]


def _surest_first(report: Report, chosen: npt.NDArray[np.intp]) -> list[int]:
    order = np.argsort(-report.probabilities.max(axis=1)[chosen], kind="stable")
    return [int(index) for index in chosen[order]]

"""evaluate(classifier, split) -> Report: how often a classifier is right, and what it takes for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from math import sqrt
from statistics import NormalDist
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

VIEWS = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How often a class was recognised, and how often it was answered."""

    name: str
    pictures: int  # of this class
    right: int  # of them, those answered with it
    answers: int  # pictures that were taken for it, rightly or not

    @property
    def recall(self) -> float | None:
        """Share of its pictures that were recognised, 0 to 1; None where it has none."""
        return self.right / self.pictures if self.pictures else None

    @property
    def precision(self) -> float | None:
        """Share of the answers with this class that were right, 0 to 1; None where there were none."""
        return self.right / self.answers if self.answers else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a classifier answered for the pictures of a split; every figure follows from that."""

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # (N,), the true classes of the pictures that were judged
    probabilities: npt.NDArray[np.float32]  # (N, classes), averaged over the views
    views: int  # of each picture, one of VIEWS
    seconds: float  # decoding included
    indices: npt.NDArray[np.int64] | None = None  # (N,), their places in the split; None: all, in its order

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

    def interval(self) -> tuple[float, float]:
        """Where top-1 lies with 95 % confidence, given so many pictures: lowest and highest, 0 to 1."""
        return wilson_interval(round(self.top(1) * self.pictures), self.pictures)

    def per_class(self) -> list[ClassFigures]:
        """Each class's figures, in the order of the classes."""
        confusion = self.confusion
        columns = (confusion.sum(axis=1), confusion.diagonal(), confusion.sum(axis=0))
        figures = zip(self.class_names, *(column.tolist() for column in columns), strict=True)
        return [
            ClassFigures(name=name, pictures=pictures, right=right, answers=answers)
            for name, pictures, right, answers in figures
        ]

    def place(self, picture: int) -> int:
        """Where in the split the picture lies that is the report's `picture`-th."""
        return picture if self.indices is None else int(self.indices[picture])

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "pictures": self.pictures,
            "views": self.views,
            "top1": self.top(1),
            "top1_interval": list(self.interval()),
            "top5": self.top(5),
            "loss": self.loss,
            "seconds": round(self.seconds, 3),
            "per_class": [
                {
                    "class": each.name,
                    "pictures": each.pictures,
                    "right": each.right,
                    "answers": each.answers,
                    "recall": each.recall,
                    "precision": each.precision,
                }
                for each in self.per_class()
            ],
            "confusion": self.confusion.tolist(),
        }


def wilson_interval(right: int, pictures: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share: of `right` among `pictures`, lowest and highest, 0 to 1.

    Unlike the share plus and minus its standard error it stays within 0 to 1 and holds for few pictures
    and for shares near 1. Source: Wilson 1927, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22; compared with others by Newcombe 1998,
    Statistics in Medicine 17. Of no pictures nothing is known: 0 to 1.

    >>> low, high = wilson_interval(9120, 10_000)
    >>> f"{low:.2%} to {high:.2%}"
    '90.63% to 91.74%'
    """
    if not pictures:
        return 0.0, 1.0
    share, z = right / pictures, NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / pictures
    middle = share + z * z / (2 * pictures)
    reach = z * sqrt(share * (1 - share) / pictures + (z / (2 * pictures)) ** 2)
    return max((middle - reach) / shrink, 0.0), min((middle + reach) / shrink, 1.0)


def evaluate(
    classifier: Classifier,
    split: Split,
    *,
    views_each: int = 1,
    prepared: bool = False,
    batch_size: int = 128,
    workers: int = 2,
    on_progress: Callable[[int], None] = lambda _: None,
    on_unreadable: Callable[[int, str], None] | None = None,
) -> Report:
    """Run the classifier on every picture of `split`, through its view: the centre, or several averaged.

    `prepared` pictures are the view's centres already. The softmax of ten views is averaged, as in Krizhevsky
    et al. 2012, section 4.1; of five, those that are not mirrored. `on_progress` is called with the number of
    pictures done. A picture that cannot be decoded raises PictureError; but where `on_unreadable` is given it
    is left out of the report, and `on_unreadable` is told its index in the split and the reason. Raises
    DataError for an empty split, one without a readable picture, and a number of views that is none of VIEWS.
    """
    if views_each not in VIEWS:
        raise DataError(f"views: {views_each}; must be one of {', '.join(map(str, VIEWS))}")
    if prepared and views_each != 1:
        raise DataError(f"views: {views_each} of prepared pictures; must be 1, as a centre has no other view")
    if not len(split):
        raise DataError("evaluation: no pictures; there must be at least one")
    view, started = classifier.view, perf_counter()
    # Without a margin the corners are the centre, and one of the five says as much as all.
    alike = 5 if views_each > 1 and view.resize == view.height == view.width else 1
    distinct = views_each // alike

    def shape(picture: Picture) -> Picture:
        # Several views travel as one tall picture, as the loader stacks pictures of one shape.
        if prepared:
            return picture
        if views_each == 1:
            return views.center(picture, view)
        several = views.five if views_each == 5 else views.ten
        return several(picture, view)[::alike].reshape(distinct * view.height, view.width, 3)

    probabilities: list[npt.NDArray[np.float32]] = []
    judged: list[npt.NDArray[np.int64]] = []
    batches = load_batches(
        split.pictures,
        range(len(split)),
        shape=shape,
        batch_size=max(1, batch_size // distinct),
        workers=workers,
        on_unreadable=on_unreadable,
    )
    for batch, chosen in batches:
        each = batch.reshape(len(chosen) * distinct, view.height, view.width, 3)
        answers = softmax(classifier(each)).reshape(len(chosen), distinct, -1)
        probabilities.append(answers.mean(axis=1))
        judged.append(chosen)
        on_progress(int(chosen[-1]) + 1)
    if not judged:
        raise DataError(
            f"evaluation: none of {len(split):,} pictures can be read, such as {split.names[0]}; "
            "at least one must be; check the files"
        )
    indices = np.concatenate(judged)
    return Report(
        class_names=classifier.class_names,
        labels=split.labels[indices],
        probabilities=np.concatenate(probabilities),
        views=views_each,
        seconds=perf_counter() - started,
        indices=indices,
    )


def surest_wrong(report: Report, *, most: int) -> list[int]:
    """Which of a report's pictures were answered wrongly, the most confident answers first."""
    wrong = np.flatnonzero(report.predictions != report.labels)
    return _surest_first(report, wrong)[:most]


def surest_right(report: Report, *, most: int) -> list[int]:
    """Which of a report's pictures were answered rightly: the surest of each class, then the next of each."""
    by_class = [
        _surest_first(report, np.flatnonzero((report.predictions == label) & (report.labels == label)))
        for label in range(len(report.class_names))
    ]
    ranks = zip_longest(*by_class)
    return [index for rank in ranks for index in rank if index is not None][:most]


def _surest_first(report: Report, chosen: npt.NDArray[np.intp]) -> list[int]:
    order = np.argsort(-report.probabilities.max(axis=1)[chosen], kind="stable")
    return [int(index) for index in chosen[order]]

"""Training batches from a stream of tar shards: for sets that are too large for a disk."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from alexnet.errors import DataError
from alexnet.images.datasets import default_split, open_split
from alexnet.images.shards import Drawn, ShardBatch, Shards, open_shards, shard_batches
from alexnet.images.splits import Dataset, Split
from alexnet.images.views import View
from alexnet.learning.feed import Feed
from alexnet.learning.sizes import Size
from alexnet.learning.source import Source, Statistics, statistics
from alexnet.learning.step import TrainingBatch

_SAMPLE = 500  # pictures at the stream's beginning from which the statistics are taken


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A training set in shards."""

    shards: Shards
    pictures_an_epoch: int  # over all processes; a stream has no end by itself


@dataclass(kw_only=True, eq=False)
class _Place:
    """Where this process stands in its stream."""

    drawn: Drawn = field(default_factory=Drawn)  # of batches that were trained on
    given: Drawn = field(default_factory=Drawn)  # with the batch that was given last
    left_out: dict[str, str] = field(default_factory=dict)
    batches: Generator[ShardBatch, None, None] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardFeed(Feed):
    """A stream, as `Feed` has pictures that can be had in any order."""

    stream: Stream
    _place: _Place = field(default_factory=_Place)

    @property
    def steps(self) -> int:
        """Steps that are counted as an epoch, all of whole batches."""
        return max(self.stream.pictures_an_epoch // self.recipe.batch_size, 1)

    @property
    def drawn(self) -> Drawn:
        """How far this process has taken the stream."""
        return self._place.drawn

    def note_step(self) -> None:
        """The batch that was given last has been trained on."""
        self._place.drawn = self._place.given

    def go_on_after(self, drawn: Drawn) -> None:
        """Begin there in this process's stream."""
        self._place.drawn = drawn

    def close(self) -> None:
        """End the stream's threads; they would wait for the next epoch for as long as this process lives."""
        if self._place.batches is not None:
            self._place.batches.close()

    def counts(self, classes: int) -> npt.NDArray[np.int64] | None:  # noqa: ARG002  # the base class's
        """Not known of a stream."""
        return None

    def skipped(self, names: object) -> dict[str, str]:  # noqa: ARG002  # the base class's
        """The pictures that could not be read so far, and why."""
        return dict(self._place.left_out)

    def check_readable_by_all(self) -> None:
        """Nothing: a process counts what it drew of the stream, which is its own."""

    def epoch(
        self, number: int, *, first: int = 0, picture_size: Callable[[int], Size] | None = None
    ) -> Generator[TrainingBatch, None, None]:
        """The next batches of the stream, to the end of epoch `number`."""
        total = self.recipe.batch_size
        part = self.processes.part(total)
        places = np.arange(total)[part]
        if self._place.batches is None:
            self._place.batches = shard_batches(
                self.stream.shards,
                side=self.source.side,
                batch_size=len(places),
                workers=self.workers,
                seed=self.seed,
                rank=self.processes.rank,
                world=self.processes.count,
                after=self._place.drawn,
                on_unreadable=self._note_left_out,
            )
        for step in range(first, self.steps):
            batch = next(self._place.batches)
            self._place.given = batch.drawn
            self._check_readable()
            there, labels = places[: len(batch.labels)], batch.labels
            squares = torch.from_numpy(batch.squares).to(self.device, non_blocking=True)
            yield self._augmented(squares, batch.aspects, labels, number, step, there, total, picture_size)

    def _note_left_out(self, message: str) -> None:
        name, _, reason = message.partition(": ")
        self._place.left_out[name] = reason

    def _check_readable(self) -> None:
        left_out, drawn = len(self._place.left_out), self._place.given.pictures
        if left_out <= self.most_unreadable * max(drawn, self.recipe.batch_size):
            return
        name, reason = next(iter(self._place.left_out.items()))
        raise DataError(
            f"{name}: {reason}; {left_out} of {drawn} pictures of the stream cannot be read; at "
            f"most {self.most_unreadable:.0%} may be; mend the shards, or allow more with --most-unreadable"
        )


def stream_source(stream: Stream, view: View, *, workers: int) -> tuple[Source, Statistics]:
    """What there is of a source for a stream, and the colours of its first pictures.

    Raises DataError where none of its pictures can be read.
    """
    unreadable: list[str] = []
    batches = shard_batches(
        stream.shards,
        side=view.resize,
        batch_size=50,
        workers=workers,
        seed=None,
        passes=1,
        on_unreadable=unreadable.append,
    )
    with closing(batches):
        squares = [square for batch in islice(batches, _SAMPLE // 50) for square in batch.squares]
    if not squares:
        raise DataError(
            f"{unreadable[0]}; none of the {len(unreadable)} pictures of the stream can be read; at least "
            "one must be; write the shards again"
        )
    sample = Source(
        pictures=squares,
        aspects=lambda chosen: np.ones(len(chosen), np.float32),
        labels=np.zeros(len(squares), np.int64),
        side=view.resize,
        share=max(view.height, view.width) / view.resize,
        unreadable=list,
    )
    empty = replace(sample, pictures=[], labels=np.empty(0, np.int64))
    return empty, statistics(sample, workers=0)


def open_stream(
    spec: str, classes: Path | None, validation: str, pictures_an_epoch: int
) -> tuple[Dataset, Stream]:
    """Shards to train on, and a data set that has but the pictures to judge by.

    Raises DataError for what is not there or does not fit, MissingExtraError without webdataset.
    """
    if pictures_an_epoch < 1:
        raise DataError(f"{spec}: {pictures_an_epoch} pictures an epoch; must be at least 1")
    shards = open_shards(spec, class_names=classes)
    nothing = Split(pictures=[], labels=np.empty(0, np.int64), names=[])
    data = Dataset(
        name=Path(spec).name.partition("{")[0].strip("-_.") or "shards",
        source=spec,
        class_names=shards.class_names,
        train=nothing,
        validation=open_split(
            validation,
            shards.class_names,
            split=default_split(validation, order=("validation", "test")),
        ),
        test=None,
        mirror=True,
        tight=False,
    )
    return data, Stream(shards=shards, pictures_an_epoch=pictures_an_epoch)

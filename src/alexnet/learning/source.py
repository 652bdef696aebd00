"""What training draws its crops from: squares of one size, and what is to be known of their colours.

A picture from a file is a square that holds all of it, stretched, from the pack; a small picture that is
framed already gets a margin, so that crops of its own size can be shifted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.images.batches import load_batches
from alexnet.images.cache import cache_folder
from alexnet.images.decode import Picture
from alexnet.images.packed import PackedPictures, centred, pack, whole
from alexnet.images.splits import Dataset, Split
from alexnet.images.twins import near_twins, told_pairs
from alexnet.images.views import View

Indices = npt.NDArray[np.int64]

_SAMPLE = 500  # training pictures from which the statistics are taken
_MOST_COMPARED = 100_000  # pictures: comparing them takes a minute
_MARGIN = 1 / 14  # of the side of a picture that is framed already: 2 pixels of 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Training pictures as squares."""

    pictures: Sequence[Picture]  # each uint8 (side, side, 3)
    aspects: Callable[[Indices], npt.NDArray[np.float32]]  # width / height as they were, by index
    labels: Indices  # (N,)
    side: int  # pixels
    share: float  # of the shorter side that the view's crop has
    unreadable: Callable[[], list[tuple[int, str]]]  # index and reason, of those known so far
    is_decoded: Callable[[], bool] = lambda: True  # whether no picture has to be decoded any more

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The colours of a data set, 0 to 255."""

    mean: tuple[float, ...]  # whole grey levels, which bfloat16 holds exactly
    scale: tuple[float, ...]  # standard deviation of each channel
    # As rows, principal components times their eigenvalues (of pixels from 0 to 1), in grey levels.
    components: tuple[tuple[float, ...], ...]


def open_source(data: Dataset, view: View, *, on_notice: Callable[[str], None]) -> Source:
    """The data set's training pictures, none of them decoded yet."""
    split = data.train
    if data.tight:
        return _framed(split)
    packed = pack(
        split,
        form=whole(view.resize),
        folder=pack_folder(data, "train"),
        divided=data.divided,
        on_notice=on_notice,
    )
    return packed_source(data, view, packed)


def packed_source(data: Dataset, view: View, packed: PackedPictures) -> Source:
    """Pictures that are kept whole, as squares of the view's `resize`."""
    return Source(
        pictures=packed,
        aspects=lambda chosen: packed.aspects[chosen],
        labels=data.train.labels,
        side=view.resize,
        share=max(view.height, view.width) / view.resize,
        unreadable=packed.unreadable,
        is_decoded=lambda: packed.packed == len(packed),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Centres:
    """The validation pictures as the view has them, decoded once."""

    split: Split
    packed: PackedPictures  # the split's pictures

    @contextmanager
    def decoded_ahead(self, chosen: Indices) -> Iterator[Callable[[], None]]:
        """Decode those in a thread meanwhile; what is given ends that, as the end of the block does."""
        stopped = threading.Event()
        thread = threading.Thread(
            target=partial(self.packed.fill, chosen, go_on=lambda: not stopped.is_set()),
            name="alexnet-validation",
            daemon=True,
        )

        def stop() -> None:
            stopped.set()
            thread.join()

        thread.start()
        try:
            yield stop
        finally:
            stop()


def open_centres(data: Dataset, view: View, *, on_notice: Callable[[str], None]) -> Centres | None:
    """The validation pictures as the view has them; None where pictures are framed already."""
    if data.tight:
        return None
    packed = pack(
        data.validation,
        form=centred(view),
        folder=pack_folder(data, "validation"),
        divided=data.divided,
        on_notice=on_notice,
    )
    return Centres(split=replace(data.validation, pictures=packed), packed=packed)


def pack_folder(data: Dataset, split: str) -> Path:
    """Where the decoded pictures of a data set's split are kept."""
    where = str(Path(data.source).resolve())
    key = sha256(where.encode(errors="surrogateescape")).hexdigest()[:12]
    return cache_folder() / "packed" / key / f"{data.name}-{split}"


def _framed(split: Split) -> Source:
    side = max(split.pictures[0].shape[:2])
    margin = max(1, round(side * _MARGIN))
    pictures = np.empty((len(split), side + 2 * margin, side + 2 * margin, 3), np.uint8)
    around = ((margin, margin), (margin, margin), (0, 0))
    for index in range(len(split)):
        pictures[index] = np.pad(split.pictures[index], around, mode="edge")
    return Source(
        pictures=pictures,  # type: ignore[arg-type]  # an array is a sequence of what its first axis holds
        aspects=lambda chosen: np.ones(len(chosen), np.float32),
        labels=split.labels,
        side=pictures.shape[1],
        share=side / pictures.shape[1],
        unreadable=list,
    )


def find_twins(
    data: Dataset, source: Source, centres: Centres | None, *, go_on: Callable[[], bool] = lambda: True
) -> tuple[str, ...] | None:
    """A line that names validation pictures which are nearly the same as one to train on, if any.

    Not looked for where pictures are framed already, and alike for that, nor among very many. None once
    `go_on` says no.
    """
    many = len(data.train) + len(data.validation) > _MOST_COMPARED
    if centres is None or many or not isinstance(source.pictures, PackedPictures):
        return ()
    first, second = (each.thumbnails(go_on=go_on) for each in (source.pictures, centres.packed))
    if first is None or second is None:
        return None
    pairs = near_twins(first, second)
    named = [(data.train.names[first], data.validation.names[second]) for first, second in pairs]
    if not named:
        return ()
    return (
        f"{data.name}: {len(named)} validation pictures look like one to train on, which flatters the "
        f"accuracy: {told_pairs(named)}",
    )


def statistics(source: Source, *, workers: int) -> Statistics:
    """Mean, deviation and principal components over pictures spread evenly through the source."""
    indices = np.unique(np.linspace(0, len(source) - 1, _SAMPLE).astype(int)).tolist()
    sums, products, values = np.zeros(3), np.zeros((3, 3)), 0
    batches = load_batches(
        source.pictures,
        indices,
        shape=lambda square: square[::4, ::4] if source.side >= 64 else square,
        batch_size=32,
        workers=workers,
        on_unreadable=lambda *_: None,
    )
    with closing(batches):
        for batch, _ in batches:
            flat = batch.reshape(-1, 3).astype(np.float64)
            sums += flat.sum(axis=0)
            products += flat.T @ flat
            values += len(flat)
    if not values:  # none could be read: training will say so
        return Statistics(mean=(128.0,) * 3, scale=(64.0,) * 3, components=((0.0,) * 3,) * 3)
    mean = sums / values
    covariance = products / values - np.outer(mean, mean)
    # Pictures of one colour have no deviation; one grey level keeps the division harmless.
    deviation = np.maximum(np.sqrt(np.maximum(covariance.diagonal(), 0)), 1.0)
    eigenvalues, vectors = np.linalg.eigh(covariance / 255**2)
    components = (vectors * np.maximum(eigenvalues, 0)).T * 255
    return Statistics(
        mean=tuple(np.rint(mean).tolist()),
        scale=tuple(deviation.tolist()),
        components=tuple(map(tuple, components.tolist())),
    )

"""Batches against plain slices of the same arrays; threads counted before and after."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from alexnet.errors import DataError, PictureError
from alexnet.images.batches import load_batches
from alexnet.images.decode import Picture, decode
from alexnet.images.splits import LazyPictures

PICTURES = [np.full((2, 3, 3), value, np.uint8) for value in range(23)]


def same(picture: Picture) -> Picture:
    return picture


def loaders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("alexnet-pictures")]


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
@pytest.mark.parametrize("ahead", [0, 2])
def test_batches_come_in_the_order_asked_for(workers: int, batch_size: int, ahead: int) -> None:
    order = np.random.default_rng(0).permutation(23)
    batches = list(
        load_batches(PICTURES, order, shape=same, batch_size=batch_size, workers=workers, ahead=ahead)
    )
    assert [len(batch) for batch, _ in batches] == [
        len(order[i : i + batch_size]) for i in range(0, 23, batch_size)
    ]
    np.testing.assert_array_equal(np.concatenate([indices for _, indices in batches]), order)
    np.testing.assert_array_equal(np.concatenate([batch[:, 0, 0, 0] for batch, _ in batches]), order)
    assert not loaders()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_contiguous_uint8_even_of_grey_pictures(workers: int) -> None:
    greys = [np.broadcast_to(np.uint8(value), (4, 5, 3)) for value in range(3)]
    ((batch, indices),) = load_batches(greys, range(3), shape=same, batch_size=8, workers=workers)
    assert batch.shape == (3, 4, 5, 3)
    assert batch.dtype == np.uint8
    assert batch.flags.c_contiguous
    assert batch.flags.writeable
    assert indices.dtype == np.int64


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_asked_for_gives_no_batches(workers: int) -> None:
    assert list(load_batches(PICTURES, [], shape=same, batch_size=2, workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_raised_in_its_turn_and_the_threads_end(
    workers: int, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.pgm", tmp_path / "bad.pgm"
    good.write_bytes(b"P5 1 1 255 a")
    bad.write_bytes(b"nothing")
    pictures = LazyPictures([good, good, good, bad, good], decode)
    batches = load_batches(pictures, range(5), shape=same, batch_size=2, workers=workers)
    assert next(batches)[1].tolist() == [0, 1]
    with pytest.raises(PictureError, match=r"bad\.pgm: not a picture"):
        next(batches)
    assert not loaders()


def test_closing_early_ends_the_threads_after_at_most_a_picture_each() -> None:
    begun: list[int] = []

    class Slow(Sequence[Picture]):
        """Each picture after the first batch waits for the test to let it go."""

        def __len__(self) -> int:
            return 1000

        def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
            begun.append(index)
            if index >= 10:
                release.wait(30)
            return PICTURES[0]

    release = threading.Event()
    batches = load_batches(Slow(), range(1000), shape=same, batch_size=10, workers=2, ahead=50)
    next(batches)
    threading.Timer(0.05, release.set).start()
    batches.close()
    assert not loaders()
    assert len(begun) < 100


def test_no_thread_is_started_before_the_first_batch_is_asked_for() -> None:
    load_batches(PICTURES, range(23), shape=same, batch_size=4, workers=2)
    assert not loaders()


def test_no_more_is_loaded_than_was_said() -> None:
    taken: list[int] = []

    def indices() -> Iterator[int]:
        for index in count():
            taken.append(index)
            yield index % len(PICTURES)

    batches = load_batches(PICTURES, indices(), shape=same, batch_size=3, workers=2, ahead=2)
    next(batches)
    assert len(taken) == 9  # the batch given and two ahead, three pictures each
    batches.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0, "workers": 0}, "batch_size is 0; it must be at least 1"),
        ({"batch_size": 1, "workers": -1}, "workers is -1; it must be at least 0"),
        ({"batch_size": 1, "workers": 0, "ahead": -1}, "ahead is -1; it must be at least 0"),
    ],
)
def test_impossible_sizes_are_refused_at_the_call(options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_batches(PICTURES, range(3), shape=same, **options)

"""Batches against plain slices of the same arrays; threads counted before and after."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.errors import DataError, PictureError
from alexnet.images.batches import load_batches, load_these
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
def test_impossible_sizes_are_refused_at_the_call(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_batches(PICTURES, range(3), shape=same, **options)


def unreadable_at(bad: set[int]) -> LazyPictures[int]:
    def read(index: int) -> Picture:
        if index in bad:
            raise PictureError(f"{index}.jpg: empty")
        return PICTURES[index]

    return LazyPictures(range(len(PICTURES)), read)


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_unreadable_pictures_are_left_out_of_their_batches_and_reported_in_order(workers: int) -> None:
    order = [7, 3, 0, 1, 2, 22, 5, 9, 8]
    reported: list[tuple[int, str]] = []
    batches = list(
        load_batches(
            unreadable_at({0, 3, 22, 1, 2}),
            order,
            shape=same,
            batch_size=3,
            workers=workers,
            on_unreadable=lambda *what: reported.append(what),
        )
    )
    # Of 7 3 0, 1 2 22 and 5 9 8 the second has none left, and does not come.
    assert [indices.tolist() for _, indices in batches] == [[7], [5, 9, 8]]
    assert [batch[:, 0, 0, 0].tolist() for batch, _ in batches] == [[7], [5, 9, 8]]
    assert reported == [(index, f"{index}.jpg: empty") for index in (3, 0, 1, 2, 22)]


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_pictures_are_reported_in_the_consumers_thread_with_their_batch(workers: int) -> None:
    reported: list[tuple[int, threading.Thread]] = []
    batches = load_batches(
        unreadable_at({1, 4}),
        range(6),
        shape=same,
        batch_size=3,
        workers=workers,
        on_unreadable=lambda index, reason: reported.append((index, threading.current_thread())),
    )
    next(batches)
    assert reported == [(1, threading.current_thread())]
    next(batches)
    assert reported[1:] == [(4, threading.current_thread())]
    batches.close()
    assert not loaders()


@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_are_raised_though_unreadable_pictures_are_left_out(workers: int) -> None:
    def fail(picture: Picture) -> Picture:
        raise MemoryError

    batches = load_batches(
        PICTURES, range(3), shape=fail, batch_size=2, workers=workers, on_unreadable=lambda *_: None
    )
    with pytest.raises(MemoryError):
        next(batches)
    assert not loaders()


# --- batches that the caller has cut ----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 2])
def test_batches_may_be_of_any_size_and_overlap(workers: int, ahead: int) -> None:
    wanted = [[4, 1], [], [22], [1, 1, 0, 9, 3, 2, 7], list(range(23))]
    found = list(load_these(PICTURES, wanted, shape=same, workers=workers, ahead=ahead))
    assert [None if batch is None else batch[1].tolist() for batch in found] == [
        [4, 1],
        None,
        [22],
        [1, 1, 0, 9, 3, 2, 7],
        list(range(23)),
    ]
    for batch in found:
        if batch is not None:
            np.testing.assert_array_equal(batch[0][:, 0, 0, 0], batch[1])
    assert not loaders()


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_a_batch_of_which_no_picture_can_be_read_is_none_in_its_place(workers: int) -> None:
    reported: list[int] = []
    found = list(
        load_these(
            unreadable_at({0, 3, 22, 1, 2}),
            [[7, 3, 0], [1, 2, 22], [5, 9, 8]],
            shape=same,
            workers=workers,
            on_unreadable=lambda index, _: reported.append(index),
        )
    )
    assert [None if batch is None else batch[1].tolist() for batch in found] == [[7], None, [5, 9, 8]]
    assert reported == [3, 0, 1, 2, 22]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_raised_where_nobody_is_to_be_told(workers: int) -> None:
    batches = load_these(unreadable_at({3}), [[1, 2], [3]], shape=same, workers=workers)
    assert next(batches) is not None
    with pytest.raises(PictureError, match=r"3\.jpg: empty"):
        next(batches)
    assert not loaders()


def test_of_batches_too_no_more_are_loaded_than_was_said() -> None:
    taken: list[int] = []

    def wanted() -> Iterator[list[int]]:
        for number in count():
            taken.append(number)
            yield [number % 23, (number + 1) % 23]

    batches = load_these(PICTURES, wanted(), shape=same, workers=2, ahead=3)
    next(batches)
    assert taken == [0, 1, 2, 3]
    batches.close()
    assert not loaders()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers is -1; it must be at least 0"),
        ({"workers": 0, "ahead": -1}, "ahead is -1; it must be at least 0"),
    ],
)
def test_impossible_numbers_are_refused_at_the_call_of_these_too(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_these(PICTURES, [[1]], shape=same, **options)

"""Pictures -> batches, decoded by threads while the network is busy with the batches before.

Which pictures, in which order and of which shape is the caller's choice. Threads do, as Pillow lets go of
Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, PictureError
from alexnet.images.decode import Picture

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Pictures (N, height, width, 3), contiguous, and their N indices."""


Item = TypeVar("Item")
Loaded = list[Picture | str]
"""Pictures in the shape of a batch's, and why there is none in the place of those that cannot be read."""


def load_batches(
    pictures: Sequence[Picture],
    indices: Iterable[int],
    *,
    shape: Callable[[Picture], Picture],
    batch_size: int,
    workers: int,
    ahead: int = 2,
    on_unreadable: Callable[[int, str], None] | None = None,
) -> Generator[Batch, None, None]:
    """Yield `shape(pictures[i])` for i of `indices`, in that order, `batch_size` at a time.

    The last batch may be smaller. `workers` threads work up to `ahead` batches ahead of the consumer; with 0
    workers all is done in the calling thread. An error of a picture is raised where its batch would have
    come; but `on_unreadable`, where given, is told the index and the message of each `PictureError`, in the
    consumer's thread, and the batch comes without that picture, or not at all if it has no other. Closing
    the generator early ends the threads. Raises `DataError`, at the call, for a batch size below 1, and for
    workers or ahead below 0.

    >>> greys = [np.full((1, 1, 3), value, np.uint8) for value in (10, 20, 30)]
    >>> for batch, chosen in load_batches(greys, [2, 0, 1], shape=np.fliplr, batch_size=2, workers=0):
    ...     print(batch.shape, batch[:, 0, 0, 0], chosen)
    (2, 1, 1, 3) [30 10] [2 0]
    (1, 1, 1, 3) [20] [1]
    """
    if batch_size < 1:
        raise DataError(f"batches: batch_size is {batch_size}; it must be at least 1")
    loaded = load_these(
        pictures,
        in_groups(indices, batch_size),
        shape=shape,
        workers=workers,
        ahead=ahead,
        on_unreadable=on_unreadable,
    )
    return _there(loaded)


class Pictures(Protocol):
    """Anything that gives a picture for its index."""

    def __getitem__(self, index: int, /) -> Picture:
        """Return it, decoded."""
        ...


def load_these(
    pictures: Pictures,
    batches: Iterable[Sequence[int]],
    *,
    shape: Callable[[Picture], Picture],
    workers: int,
    ahead: int = 2,
    on_unreadable: Callable[[int, str], None] | None = None,
) -> Generator[Batch | None, None, None]:
    """Yield each of `batches` of indices as `load_batches` would, but None for one without a picture."""
    for name, value in (("workers", workers), ("ahead", ahead)):
        if value < 0:
            raise DataError(f"batches: {name} is {value}; it must be at least 0")

    def load(index: int) -> Picture | str:
        try:
            return shape(pictures[index])
        except PictureError as error:
            if on_unreadable is None:
                raise
            return str(error)

    if workers == 0:
        loaded = ((chosen, [load(index) for index in chosen]) for chosen in batches)
    else:
        loaded = _load_by_threads(iter(batches), load, workers, ahead)
    return _gathered(loaded, on_unreadable)


def _there(batches: Generator[Batch | None, None, None]) -> Generator[Batch, None, None]:
    with closing(batches):
        for batch in batches:
            if batch is not None:
                yield batch


def _gathered(
    loaded: Generator[tuple[Sequence[int], Loaded], None, None],
    on_unreadable: Callable[[int, str], None] | None,
) -> Generator[Batch | None, None, None]:
    with closing(loaded):
        for chosen, results in loaded:
            there: list[int] = []
            pictures: list[Picture] = []
            for index, result in zip(chosen, results, strict=True):
                if not isinstance(result, str):
                    there.append(index)
                    pictures.append(result)
                elif on_unreadable is not None:
                    on_unreadable(int(index), result)
            yield (_stack(pictures), np.array(there, np.int64)) if pictures else None


def _load_by_threads(
    batches: Iterator[Sequence[int]], load: Callable[[int], Picture | str], workers: int, ahead: int
) -> Generator[tuple[Sequence[int], Loaded], None, None]:
    stop = threading.Event()

    def load_part(part: list[int]) -> Loaded:
        loaded: Loaded = []
        for index in part:
            if stop.is_set():
                break
            loaded.append(load(index))
        return loaded

    pool = ThreadPoolExecutor(workers, thread_name_prefix="alexnet-pictures")
    waiting: deque[tuple[Sequence[int], list[Future[Loaded]]]] = deque()
    try:
        while True:
            # One part of a batch a worker: a task for each picture would cost more than a small picture does.
            for chosen in islice(batches, ahead + 1 - len(waiting)):
                size = max(-(-len(chosen) // workers), 1)
                waiting.append((chosen, [pool.submit(load_part, part) for part in in_groups(chosen, size)]))
            if not waiting:
                return
            chosen, parts = waiting.popleft()
            yield chosen, [picture for part in parts for picture in part.result()]
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`, the last of what is left."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def _stack(pictures: list[Picture]) -> npt.NDArray[np.uint8]:
    # Not np.stack: of grey pictures, whose channels have stride 0, it makes a batch that is not contiguous.
    batch = np.empty((len(pictures), *pictures[0].shape), np.uint8)
    for index, picture in enumerate(pictures):
        batch[index] = picture
    return batch

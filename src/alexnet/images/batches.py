"""Pictures -> batches, decoded by threads while the network is busy with the batches before.

Which pictures, in which order and of which shape is the caller's choice. Threads do, as Pillow lets go of
Python's lock while it decodes and resizes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError
from alexnet.images.decode import Picture

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Pictures (N, height, width, 3), contiguous, and their N indices."""


def load_batches(
    pictures: Sequence[Picture],
    indices: Iterable[int],
    *,
    shape: Callable[[Picture], Picture],
    batch_size: int,
    workers: int,
    ahead: int = 2,
) -> Generator[Batch, None, None]:
    """Yield `shape(pictures[i])` for i of `indices`, in that order, `batch_size` at a time.

    The last batch may be smaller. `workers` threads work up to `ahead` batches ahead of the consumer; with 0
    workers all is done in the calling thread. An error of a picture is raised where its batch would have
    come. Closing the generator early ends the threads. Raises `DataError`, at the call, for a batch size
    below 1, and for workers or ahead below 0.

    >>> greys = [np.full((1, 1, 3), value, np.uint8) for value in (10, 20, 30)]
    >>> for batch, chosen in load_batches(greys, [2, 0, 1], shape=np.fliplr, batch_size=2, workers=0):
    ...     print(batch.shape, batch[:, 0, 0, 0], chosen)
    (2, 1, 1, 3) [30 10] [2 0]
    (1, 1, 1, 3) [20] [1]
    """
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0), ("ahead", ahead, 0)):
        if value < least:
            raise DataError(f"batches: {name} is {value}; it must be at least {least}")
    batches = _cut(indices, batch_size)
    if workers == 0:
        return (
            (_stack([shape(pictures[i]) for i in chosen]), np.array(chosen, np.int64)) for chosen in batches
        )
    return _load_by_threads(pictures, batches, shape, workers, ahead)


def _load_by_threads(
    pictures: Sequence[Picture],
    batches: Iterator[list[int]],
    shape: Callable[[Picture], Picture],
    workers: int,
    ahead: int,
) -> Generator[Batch, None, None]:
    stop = threading.Event()

    def load(chosen: list[int]) -> list[Picture]:
        loaded = []
        for index in chosen:
            if stop.is_set():
                break
            loaded.append(shape(pictures[index]))
        return loaded

    pool = ThreadPoolExecutor(workers, thread_name_prefix="alexnet-pictures")
    waiting: deque[tuple[list[int], list[Future[list[Picture]]]]] = deque()
    try:
        while True:
            # One part of a batch a worker: a task for each picture would cost more than a small picture does.
            for chosen in islice(batches, ahead + 1 - len(waiting)):
                part = -(-len(chosen) // workers)
                waiting.append((chosen, [pool.submit(load, piece) for piece in _cut(chosen, part)]))
            if not waiting:
                return
            chosen, parts = waiting.popleft()
            batch = _stack([picture for part in parts for picture in part.result()])
            yield batch, np.array(chosen, np.int64)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _cut(indices: Iterable[int], size: int) -> Iterator[list[int]]:
    iterator = iter(indices)
    while part := list(islice(iterator, size)):
        yield part


def _stack(pictures: list[Picture]) -> npt.NDArray[np.uint8]:
    # Not np.stack: of grey pictures, whose channels have stride 0, it makes a batch that is not contiguous.
    batch = np.empty((len(pictures), *pictures[0].shape), np.uint8)
    for index, picture in enumerate(pictures):
        batch[index] = picture
    return batch

"""A slow source's items in groups, so that what has come does not wait for what may never come."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")

_SECONDS_TO_NOTICE = 0.2  # that nobody takes the items any more


def as_they_come(
    items: Iterable[Item], size: int, *, patience: float, unanswered: Callable[[], bool]
) -> Iterator[list[Item]]:
    """Yield all items in order in lists of up to `size`, each what has come within `patience` seconds.

    Where nothing has come, an empty list while something of the lists before is `unanswered`, so that whoever
    works on several lists at a time can go on with it; otherwise the next item is waited for. The source is
    read in a thread, and an error of it is raised where its item would have come. Closing ends the thread
    once the source gives it another item.

    >>> list(as_they_come("abc", 2, patience=1, unanswered=lambda: False))
    [['a', 'b'], ['c']]
    """
    came: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(maxsize=2 * size)
    left = threading.Event()

    def put(what: tuple[Item] | BaseException | None) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                came.put(what, timeout=_SECONDS_TO_NOTICE)
                break

    def read() -> None:
        try:
            for item in items:
                put((item,))
                if left.is_set():
                    return
        except BaseException as error:  # whatever it is, it belongs to the consumer
            put(error)
        put(None)

    threading.Thread(target=read, name="alexnet-arrivals", daemon=True).start()
    try:
        yield from _groups(came, size, patience, unanswered)
    finally:
        left.set()


def _groups(
    came: queue.Queue[tuple[Item] | BaseException | None],
    size: int,
    patience: float,
    unanswered: Callable[[], bool],
) -> Iterator[list[Item]]:
    while True:
        group: list[Item] = []
        waits_until = 0.0
        while len(group) < size:
            try:
                if group:
                    what = came.get(timeout=max(waits_until - time.monotonic(), 0))
                else:
                    what = came.get(block=not unanswered())
                    waits_until = time.monotonic() + patience
            except queue.Empty:
                break
            if not isinstance(what, tuple):
                if group:
                    yield group
                if what is not None:
                    raise what
                return
            group.append(what[0])
        yield group

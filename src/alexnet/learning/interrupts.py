"""Ctrl-C as something to ask for at a good moment, so that it never cuts into the saving of a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_INSIST = 3  # times, after which it is an exception at once, wherever the program is


@dataclass(kw_only=True)
class Interrupts:
    """How often Ctrl-C was pressed."""

    count: int = 0


@contextmanager
def count_interrupts() -> Iterator[Interrupts]:
    """Count Ctrl-C instead of raising KeyboardInterrupt, but for the third, which raises it.

    Only Python's own handler is replaced, and only in the main thread, the one that signals reach;
    elsewhere the count stays 0.
    """
    interrupts = Interrupts()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupts
        return

    def count(number: int, frame: FrameType | None) -> None:
        interrupts.count += 1
        if interrupts.count >= _INSIST:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, count)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

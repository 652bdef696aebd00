"""Ctrl-C and SIGTERM as something to ask for at a good moment: they never cut into the saving of a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

_INSIST = 3  # times, after which it is an exception at once, wherever the program is


@dataclass(kw_only=True)
class Interrupts:
    """What arrived so far."""

    count: int = 0  # of Ctrl-C
    terminated: bool = False  # by SIGTERM: save and be gone


@contextmanager
def count_interrupts() -> Iterator[Interrupts]:
    """Count Ctrl-C instead of raising KeyboardInterrupt, but for the third, which raises it; note SIGTERM.

    Only Python's own handlers are replaced, and only in the main thread, the one that signals reach;
    elsewhere nothing is counted.
    """
    interrupts = Interrupts()

    def count(number: int, frame: FrameType | None) -> None:
        interrupts.count += 1
        if interrupts.count >= _INSIST:
            signal.default_int_handler(number, frame)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        interrupts.terminated = True

    usual: dict[signal.Signals, tuple[Any, Callable[[int, FrameType | None], None]]] = {
        signal.SIGINT: (signal.default_int_handler, count),
        signal.SIGTERM: (signal.SIG_DFL, terminate),
    }
    in_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number, (own, _) in usual.items() if in_main and signal.getsignal(number) is own]
    for number in replaced:
        signal.signal(number, usual[number][1])
    try:
        yield interrupts
    finally:
        for number in replaced:
            signal.signal(number, usual[number][0])

"""Groups of what comes slowly: nothing waits for what may never come, nothing is lost or left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from alexnet.inference.arrivals import as_they_come

LONG = 60.0  # seconds that no test waits


def test_everything_comes_once_and_in_order_in_groups_no_larger_than_asked() -> None:
    groups = list(as_they_come(iter(range(100)), 8, patience=LONG, unanswered=lambda: False))
    assert [each for group in groups for each in group] == list(range(100))
    assert max(map(len, groups)) == 8


def test_a_group_goes_without_what_has_not_come() -> None:
    gate = threading.Event()

    def slow() -> Iterator[str]:
        yield "a"
        assert gate.wait(LONG)
        yield "b"

    answered = False
    groups = as_they_come(slow(), 8, patience=0.01, unanswered=lambda: not answered)
    assert next(each for each in groups if each) == ["a"]
    assert next(groups) == []  # nothing more is there, and "a" is not answered
    answered = True
    gate.set()
    assert list(groups) == [["b"]]


def test_an_error_of_the_source_comes_behind_what_came_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    groups = as_they_come(broken(), 8, patience=LONG, unanswered=lambda: False)
    assert next(groups) == [1]
    with pytest.raises(OSError, match="gone"):
        next(groups)


def test_closing_ends_the_thread() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            ended.set()

    groups = as_they_come(endless(), 2, patience=LONG, unanswered=lambda: False)
    assert next(groups) == [0, 0]
    groups.close()  # type: ignore[attr-defined]  # a generator
    assert ended.wait(LONG)

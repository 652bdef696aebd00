"""What the server takes on: how much, how long, how many at a time. Each field is an option of `serve`."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from math import inf
from typing import Any

from alexnet.errors import ServerError


def _limit(default: Any, told: str) -> Any:
    return field(default=default, metadata={"help": told})


def option_name(limit: Field[Any]) -> str:
    """What `alexnet serve` calls one of `fields(Limits)`: max_bytes is max-bytes."""
    return limit.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every limit of the server; raises ServerError for one that is not above 0.

    >>> Limits(max_pictures=0)
    Traceback (most recent call last):
    alexnet.errors.ServerError: max-pictures: 0; must be above 0
    """

    max_bytes: int = _limit(32 * 2**20, "Of a request's body; more is answered 413.")
    max_pixels: int = _limit(25_000_000, "Of a picture as it is decoded; more is answered 413.")
    max_pictures: int = _limit(16, "In a request; more is answered 400.")
    queue: int = _limit(256, "Pictures being decoded or waiting, of all clients; more is answered 503.")
    body_memory: int = _limit(256 * 2**20, "Bytes of all bodies being read; more is answered 503.")
    connections: int = _limit(1024, "At a time; more is answered 503.")
    request_seconds: float = _limit(10.0, "From a body's end to its answer; more is answered 504.")
    header_seconds: float = _limit(10.0, "For a request's headers to arrive; then the client is cut off.")
    body_seconds: float = _limit(30.0, "For a request's body to arrive; more is answered 408.")
    answer_seconds: float = _limit(30.0, "For a client to read on in its answer; then it is cut off.")
    batch_size: int = _limit(64, "Pictures that the network answers at a time.")
    batch_wait: float = _limit(0.005, "Seconds that a batch waits for pictures that are being decoded.")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < inf:
                finite = "" if value <= 0 else " and finite"
                raise ServerError(f"{option_name(each)}: {value}; must be above 0{finite}")
        if self.body_memory < self.max_bytes:
            raise ServerError(
                f"body-memory: {self.body_memory}; must hold one request's body, max-bytes {self.max_bytes}"
            )
        if self.queue < self.max_pictures:
            raise ServerError(
                f"queue: {self.queue}; must hold one request's pictures, max-pictures {self.max_pictures}"
            )


COME_AGAIN = {"Retry-After": "1"}
"""With 503 and 504, the seconds after which a client may come again: more than a full queue takes."""

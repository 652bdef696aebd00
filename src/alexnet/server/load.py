"""Asks a server as many clients at a time would, over loopback, and keeps how long each answer took.

In one thread and by hand, since the clients share the processor with what they measure.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter

import numpy as np

_LAST_SECONDS = 60.0  # that an answer is waited for; a server gives up on a request long before


@dataclass(kw_only=True)
class Load:
    """What came of asking."""

    seconds: float = 0.0  # that it took
    statuses: Counter[str] = field(
        default_factory=Counter
    )  # how often each was answered, or the error's name
    latencies: list[float] = field(default_factory=list)  # seconds, of what was answered 200

    @property
    def rate(self) -> float:
        """Answers (200) a second."""
        return self.statuses["200"] / self.seconds

    @property
    def failures(self) -> int:
        """What was answered neither 200 nor, on purpose, 503."""
        return sum(self.statuses.values()) - self.statuses["200"] - self.statuses["503"]

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came."""
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


def request(content: bytes, *, path: str = "/v1/predict", kind: str = "image/jpeg") -> bytes:
    """A picture as a request, as it goes over the wire."""
    fields = f"Host: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{fields}".encode() + content


def keep_asking(port: int, requests: Sequence[bytes], *, clients: int, asked: int) -> Load:
    """`clients` at a time, each asking again as soon as it is answered, `asked` requests in all."""
    return asyncio.run(_keep_asking(port, requests, clients, asked))


def ask_at(port: int, requests: Sequence[bytes], *, rate: float, asked: int, connections: int) -> Load:
    """`rate` requests a second, answered or not, over at most `connections` at a time.

    What cannot be sent for want of a connection waits, and its time counts.
    """
    return asyncio.run(_ask_at(port, requests, rate, asked, connections))


class _Client:
    """A connection that is kept, and made anew where the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, load: Load, begun: float) -> None:
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                status = await self._ask(request)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            status = type(error).__name__
        load.statuses[status] += 1
        if status == "200":
            load.latencies.append(perf_counter() - begun)

    async def _ask(self, request: bytes) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        told = dict(each.split(": ", 1) for each in fields if each)
        await reader.readexactly(int(told["content-length"]))
        if told.get("connection") == "close":
            self.close()
        return first.split()[1]

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _keep_asking(port: int, requests: Sequence[bytes], clients: int, asked: int) -> Load:
    load, numbers = Load(), iter(range(asked))
    begun = perf_counter()
    await asyncio.gather(*(_one_after_another(port, requests, numbers, load) for _ in range(clients)))
    load.seconds = perf_counter() - begun
    return load


async def _one_after_another(
    port: int, requests: Sequence[bytes], numbers: Iterator[int], load: Load
) -> None:
    client = _Client(port)
    for number in numbers:
        await client.ask(requests[number % len(requests)], load, perf_counter())
    client.close()


async def _ask_at(port: int, requests: Sequence[bytes], rate: float, asked: int, connections: int) -> Load:
    load = Load()
    free: asyncio.LifoQueue[_Client] = asyncio.LifoQueue()
    made = count()

    async def ask(number: int, due: float) -> None:
        client: _Client | None = None
        with suppress(asyncio.QueueEmpty):
            client = free.get_nowait()
        if client is None:
            client = _Client(port) if next(made) < connections else await free.get()
        await client.ask(requests[number % len(requests)], load, due)
        free.put_nowait(client)

    begun = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(asked):
            due = begun + number / rate
            await asyncio.sleep(max(due - perf_counter(), 0))
            tasks.create_task(ask(number, due))
    load.seconds = perf_counter() - begun
    while not free.empty():
        free.get_nowait().close()
    return load

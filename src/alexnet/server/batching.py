"""Pictures of many clients, decoded in threads and answered a batch at a time.

While the network is at one batch, the next one comes together. A batch also waits a moment for the pictures
that are being decoded, which costs nothing where the decoding has the processor meanwhile, and never for
pictures that nobody has sent: a client that is alone is answered at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from alexnet.errors import PictureError, ServerError
from alexnet.images.cores import available_cores
from alexnet.images.decode import Picture
from alexnet.images.views import read_centre
from alexnet.learning.classifier import Classifier, Logits, softmax
from alexnet.server.limits import Limits

_OnBatch = Callable[[int], None]


class BusyError(ServerError):
    """As many pictures wait as may; whoever asked may ask again later."""


@dataclass(frozen=True)
class _Waiting:
    picture: Picture
    answer: asyncio.Future[Logits | PictureError]  # (classes,), probabilities


class Batcher:
    """Answers for one event loop's requests; to be entered in it with `async with`.

    `threads` decode, as many as there are cores unless told. `on_batch` is told the size of each batch that
    was answered.
    """

    def __init__(
        self,
        classifier: Classifier,
        limits: Limits,
        *,
        threads: int | None = None,
        on_batch: _OnBatch = lambda _: None,
    ) -> None:
        self._classifier = classifier
        self._limits = limits
        self._on_batch = on_batch
        self._decoders = ThreadPoolExecutor(threads or available_cores(), thread_name_prefix="decode")
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._decoding = 0
        self._computing = 0
        self._waiting: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Warm up, so that the first client does not pay for it, and start."""
        view = self._classifier.view
        blank = np.zeros((1, view.height, view.width, 3), np.uint8)
        await asyncio.get_running_loop().run_in_executor(self._engine, self._classifier, blank)
        self._task = asyncio.create_task(self._answer_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._decoders.shutdown(cancel_futures=True)
        self._engine.shutdown()

    @property
    def running(self) -> bool:
        """Whether what is asked will be answered."""
        return self._task is not None and not self._task.done()

    @property
    def inside(self) -> int:
        """Pictures that are being decoded, wait, or are being answered."""
        return self._decoding + len(self._waiting) + self._computing

    def check_room(self, pictures: int) -> None:
        """Raise BusyError where there is no room for so many more."""
        if self.inside + pictures > self._limits.queue:
            raise BusyError(f"{self.inside} pictures wait; at most {self._limits.queue} may; come again")

    async def answer(self, files: Sequence[bytes]) -> list[Logits | PictureError]:
        """Probabilities (classes,) for each picture file, or why it cannot be read.

        Raises BusyError, with none of them taken, where there is no room.
        """
        self.check_room(len(files))
        asked = [self._start(file) for file in files]
        try:
            return await asyncio.gather(*asked)
        finally:
            for each in asked:
                each.cancel()

    def _start(self, file: bytes) -> asyncio.Future[Logits | PictureError]:
        """Have a file decoded; its answer, some time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Logits | PictureError] = loop.create_future()
        decoded = self._decoders.submit(self._read, file)
        self._decoding += 1
        # A thread cannot be stopped: its picture is inside until it is done, whoever still waits for it.
        decoded.add_done_callback(partial(self._tell_decoded, loop, answer))
        return answer

    def _read(self, file: bytes) -> Picture:
        return read_centre(file, view=self._classifier.view, max_pixels=self._limits.max_pixels)

    def _tell_decoded(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[Logits | PictureError],
        decoded: Future[Picture],
    ) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._take, answer, decoded)

    def _take(self, answer: asyncio.Future[Logits | PictureError], decoded: Future[Picture]) -> None:
        """A picture that is decoded waits, in one step: no batch goes while it does neither."""
        self._decoding -= 1
        if decoded.cancelled():
            answer.cancel()
        elif not answer.done():  # it is still waited for
            error = decoded.exception()
            if error is None:
                self._waiting.append(_Waiting(decoded.result(), answer))
            elif isinstance(error, PictureError):
                answer.set_result(error)
            else:
                answer.set_exception(error)
        self._changed.set()

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            self._computing = len(batch)
            try:
                pictures = np.stack([each.picture for each in batch])
                rows = await loop.run_in_executor(self._engine, self._compute, pictures)
            except Exception as error:  # an engine raises what it likes: the clients get it, the next do not
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            finally:
                self._computing = 0
            self._on_batch(len(batch))
            for each, row in zip(batch, rows, strict=True):
                if not each.answer.done():
                    each.answer.set_result(row)

    def _compute(self, pictures: Picture) -> Logits:
        return softmax(self._classifier(pictures))

    async def _next_batch(self) -> list[_Waiting]:
        while True:
            while not self._waiting:
                await self._change()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.batch_wait):
                    while self._decoding and len(self._waiting) < self._limits.batch_size:
                        await self._change()
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.batch_size))]
            # Whose client has hung up, or was told that it took too long, is not answered.
            if batch := [each for each in taken if not each.answer.done()]:
                return batch

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

"""A request's body -> picture files, within the limits, whatever the client sends and however slowly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Message

from alexnet.server.limits import COME_AGAIN, Limits
from alexnet.writing import printable

BINARY = "application/octet-stream"
FORM = "multipart/form-data"

_HANG_UP = {"Connection": "close"}
_LINGERING_SECONDS = 2.0
_END_BYTES = 4096  # of a form: its closing boundary, and what may stand behind it


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture file as it came."""

    name: str | None  # that the client gave it
    content: bytes


class Bodies:
    """Reads bodies, with no more bytes of them in memory at a time than the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reserved = 0
        # What is wrong with a form is told to its client; the operator's log is not for strangers to fill.
        logging.getLogger("python_multipart").setLevel(logging.ERROR)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[list[Upload]]:
        """The picture files of a request's body, which count as in memory until they are let go.

        Raises HTTPException: 400 for what is no multipart form of files, or too many; 408 for a client that
        is slow; 413 for too many bytes; 415 for what holds no pictures; 503 where other bodies take the room.
        """
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            # RFC 9112, section 6.1: a proxy may have taken it for another body than it is.
            raise HTTPException(400, "both Content-Length and Transfer-Encoding; send one of them", _HANG_UP)
        body = _Body(request, self._limits)
        expected = self._expected_bytes(request)
        if self._reserved + expected > self._limits.body_memory:
            await body.discard()
            raise HTTPException(503, "too many bodies at a time; come again", COME_AGAIN)
        self._reserved += expected
        try:
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    uploads = await self._uploads(Request(request.scope, body.receive), body)
            except TimeoutError:
                told = f"the body took longer than {self._limits.body_seconds:g} s; send it faster"
                raise HTTPException(408, told, _HANG_UP) from None
            except ClientDisconnect:  # nobody reads the answer; the metrics count it
                raise HTTPException(400, "the body ends early") from None
            except HTTPException:
                await body.discard()
                raise
            yield uploads
        finally:
            self._reserved -= expected

    def _expected_bytes(self, request: Request) -> int:
        told = request.headers.get("content-length", "")
        # One that tells no length, or too much, is read as far as is allowed.
        return (
            min(int(told), self._limits.max_bytes)
            if told.isascii() and told.isdigit()
            else self._limits.max_bytes
        )

    async def _uploads(self, request: Request, body: _Body) -> list[Upload]:
        kind = request.headers.get("content-type", BINARY).partition(";")[0].strip().lower()
        if kind == FORM:
            uploads = await self._form_files(request)
            boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
            if b"--" + boundary + b"--" not in body.end:  # a part that is cut off has been left out
                raise HTTPException(400, "the form ends early; it must end with its boundary")
            if not uploads:
                raise HTTPException(400, "the form has no files; it must have at least one")
            return uploads
        if kind != BINARY and not kind.startswith("image/"):
            raise HTTPException(415, f"content type {kind!a}; must be {FORM}, image/... or {BINARY}")
        return [Upload(name=None, content=await request.body())]

    async def _form_files(self, request: Request) -> list[Upload]:
        uploads = []
        most = self._limits.max_pictures
        parser = MultiPartParser(request.headers, request.stream(), max_files=most, max_fields=most)
        parser.spool_max_size = self._limits.max_bytes  # in memory, whose limit counts it, and on no disk
        try:
            async with aclosing(parser.stream):
                form = await parser.parse()
            for part, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    told = f"part {part!a} is no file; every part must be a picture file"
                    raise HTTPException(400, told)
                # Some character sets decode to what is no text.
                name = value.filename and printable(value.filename)
                uploads.append(Upload(name=name, content=await value.read()))
                await value.close()
        except MultiPartException as error:
            raise HTTPException(400, error.message) from None
        except UnicodeError:
            raise HTTPException(
                400, "the names in the form are not of the charset it tells; use UTF-8"
            ) from None
        return uploads


class _Body:
    """What a request's client sends, up to the limit of bytes."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._receive = request.receive
        self._limits = limits
        self._received = 0
        self._more = True
        self.end = b""  # the last bytes so far

    async def receive(self) -> Message:
        """The next piece; raises HTTPException 413 where there are too many bytes."""
        message = await self._next()
        if self._received > self._limits.max_bytes:
            told = f"the body has more than {self._limits.max_bytes:,} bytes; send less at a time"
            raise HTTPException(413, told, _HANG_UP if self._more else None)
        return message

    async def discard(self) -> None:
        """Read on for a while: who is still sending would be cut off before the refusal is read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGERING_SECONDS):
                while self._more and self._received <= 2 * self._limits.max_bytes:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        piece = message.get("body", b"")
        self._received += len(piece)
        self.end = (self.end + piece[-_END_BYTES:])[-_END_BYTES:]
        self._more = message.get("more_body", False)
        return message

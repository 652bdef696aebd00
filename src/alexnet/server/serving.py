"""serve(weights): the HTTP interface on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from alexnet.errors import AlexNetError, ServerError
from alexnet.images.cores import available_cores
from alexnet.inference.engines import open_classifier
from alexnet.server.limits import COME_AGAIN, Limits

API_KEY = "ALEXNET_API_KEY"
"""The environment variable that may hold the key that clients must send."""

_TOO_MANY = JSONResponse(
    {"error": "too many connections; come again"}, 503, COME_AGAIN | {"Connection": "close"}
)
_BACKLOG = 1024
_OWN_FILES = 256  # that a process has open besides its connections, at most
_PARTING_SECONDS = 5  # beyond the time that a request may take
_INTERRUPTED = 130  # what a shell gives for Ctrl-C


def serve(
    weights: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    api_key: str | None = None,
    processes: int = 1,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    on_note: Callable[[str], None] = lambda _: None,
    on_listening: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer for `weights` on host:port until SIGTERM or SIGINT, and finish then what was begun.

    `on_note` is told which engine is chosen and what is fetched, `on_listening` the address once connections
    are taken; port 0 is any that is free. Several `processes` share the port, and the processor's cores.
    Raises ServerError where the port cannot be had, and what `open_classifier` raises.
    """
    if processes < 1:
        raise ServerError(f"processes: {processes}; must be at least 1")
    limits = _that_fit(limits or Limits(), on_note)
    open_app = partial(
        _open_app,
        weights,
        limits=limits,
        api_key=api_key,
        engine=engine,
        device=device,
        precision=precision,
        threads=None if processes == 1 else max(available_cores() // processes, 1),
    )
    with bind(host, port) as listening:
        # What is wrong is told here, whatever process answers.
        app = open_app(on_note=on_note, on_fetch=on_note)
        try:
            listening.listen(_BACKLOG)
        except OSError as error:  # another was quicker
            raise _unheard(host, port, error.strerror) from None
        on_listening(address_of(listening))
        if processes == 1:
            run_app(app, listening, limits)
            return
        del app
        with TemporaryDirectory(prefix="alexnet-") as shared:
            from alexnet.server.metrics import SHARED_FOLDER

            os.environ[SHARED_FOLDER] = shared
            start = partial(_open_or_exit, open_app)
            several = _Several(_config(start, limits, processes=processes), sockets=[listening])
            several.run()
            if any(each.exitcode == STARTUP_FAILURE for each in several.processes):
                raise ServerError(
                    f"processes: {processes}; one of them could not start, for the reason above"
                )


def _that_fit(limits: Limits, on_note: Callable[[str], None]) -> Limits:
    """The limits, with no more connections than this process may have files open, once it asked for more."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = limits.connections + _OWN_FILES
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return limits
        if hard == resource.RLIM_INFINITY or hard >= wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return limits
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        most = max(hard - _OWN_FILES, 1)
        on_note(
            f"{most:,} connections instead of {limits.connections:,}: a process here may open {hard:,} files"
        )
        return replace(limits, connections=most)
    return limits


def read_api_key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """The first line of the file, or what the environment has; raises ServerError for an empty one."""
    if path is None:
        key, found = environment.get(API_KEY), f"${API_KEY}"
        if key is None:
            return None
    else:
        try:
            key, found = path.read_text(encoding="utf-8-sig").partition("\n")[0], str(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ServerError(
                f"{path}: cannot be read: {reason}; must hold the key in its first line"
            ) from None
    if not key.strip():
        raise ServerError(f"{found}: empty; must be a key that clients send")
    return key.strip()


def _open_app(
    weights: str | Path, *, limits: Limits, api_key: str | None, threads: int | None, **chosen: Any
) -> FastAPI:
    from alexnet.server.app import create_app

    classifier = open_classifier(weights, threads=threads, **chosen)
    return create_app(classifier, limits=limits, api_key=api_key, threads=threads)


def _open_or_exit(open_app: Callable[[], FastAPI]) -> FastAPI:
    """In a process of several: what it cannot start for, it would not start for the next time either."""
    try:
        return open_app()
    except AlexNetError as error:
        sys.stderr.write(f"alexnet: {error}\n")
        sys.exit(STARTUP_FAILURE)


def _config(
    app: FastAPI | Callable[[], FastAPI], limits: Limits, *, processes: int | None = None
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=processes is not None,
        workers=processes,
        http=partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(limits.body_seconds + limits.request_seconds) + _PARTING_SECONDS,
    )


def run_app(app: FastAPI, listening: socket.socket, limits: Limits) -> None:
    """Answer on a socket until SIGTERM or SIGINT; in a process's main thread."""
    server = _Server(_config(app, limits))
    # For a signal that comes before uvicorn listens to them; and for the end, when uvicorn raises it anew.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, partial(uvicorn.Server.handle_exit, server))
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which ends at once where it is told to a second time."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The second Ctrl-C leaves what was begun: uvicorn would cancel it, and tell of each as an error."""
        if self.should_exit and sig == signal.SIGINT:
            sys.stderr.write("alexnet: stopped at once; what was begun is not answered\n")
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        super().handle_exit(sig, frame)


class _Several(Multiprocess):
    """uvicorn's processes, which let go of their port before they finish what was begun."""

    def terminate_all(self) -> None:
        """While this process holds the port, too, the system takes connections that nobody answers."""
        super().terminate_all()
        for each in self.sockets:
            each.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket of that address, not listening yet; raises ServerError where it cannot be had."""
    if not 0 <= port < 1 << 16:  # the system would take what is left of it
        raise ServerError(f"port: {port}; must be from 0, which is any that is free, to {(1 << 16) - 1}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        unknown = "no host has such a name" if isinstance(error, UnicodeError) else None
        raise _unheard(host, port, unknown or getattr(error, "strerror", None) or error) from None
    return listening


def _unheard(host: str, port: int, reason: object) -> ServerError:
    return ServerError(f"{host}:{port}: cannot be listened on: {reason}; choose another --host or --port")


def address_of(listening: socket.socket) -> str:
    """As a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on a client that is slow, and refuses one connection too many.

    Slow to send its headers, or to read its answer: uvicorn would wait for ever, and refuse without saying
    when to come again.
    """

    def __init__(self, *args: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._hanging_up: asyncio.TimerHandle | None = None  # while headers are expected
        self._cutting_off: asyncio.TimerHandle | None = None  # while an answer waits to be read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first headers' time begins."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self.app = _TOO_MANY
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Headers that have begun have to end in time, and so has a body that nobody waits for any more."""
        super().data_received(data)
        answered = self.conn.our_state in (h11.DONE, h11.MUST_CLOSE)
        if answered or self.conn.their_state is h11.IDLE:
            self._expect_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is expected."""
        self._stop_waiting()
        if self._cutting_off is not None:
            self._cutting_off.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """As much is unread as is kept for a client: the time to read on begins."""
        super().pause_writing()
        self._cut_off_later()

    def resume_writing(self) -> None:
        """It was read, but perhaps for a rest; where the connection closes, that has its time, too."""
        if self._cutting_off is not None and not self.transport.is_closing():
            self._cutting_off.cancel()
            self._cutting_off = None
        super().resume_writing()

    def _expect_headers(self) -> None:
        if self._hanging_up is None:
            self._hanging_up = self.loop.call_later(self._limits.header_seconds, self._hang_up)

    def _hang_up(self) -> None:
        self.transport.close()
        self._cut_off_later()  # closing waits for the client to read what was answered

    def _cut_off_later(self) -> None:
        if self._cutting_off is None:
            self._cutting_off = self.loop.call_later(self._limits.answer_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._hanging_up is not None:
            self._hanging_up.cancel()
            self._hanging_up = None

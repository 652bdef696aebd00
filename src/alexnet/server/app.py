"""create_app(classifier) -> the HTTP interface, as an ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexnet.architecture.summary import summarize
from alexnet.errors import PictureError, TooManyPixelsError
from alexnet.learning.classifier import Classifier, Logits, ranked
from alexnet.server.batching import Batcher, BusyError
from alexnet.server.bodies import BINARY, FORM, Bodies, Upload
from alexnet.server.limits import COME_AGAIN, Limits
from alexnet.server.metrics import CONTENT_TYPE, Metrics
from alexnet.server.page import POLICY, page
from alexnet.writing import printable

Result = TypeVar("Result")

MOST_LABELS = 1000
_HUNG_UP = 499  # as nginx counts them
_BEARER = HTTPBearer(auto_error=False, scheme_name="bearer")
_KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header")


class Label(BaseModel):
    """One answer."""

    name: str  # of the class
    probability: float  # 0 to 1


class PictureAnswer(BaseModel):
    """What the network takes a picture for, or why it cannot be read."""

    name: str | None  # of the file, where the client gave one
    labels: list[Label]  # the likeliest first
    error: str | None


class Answer(BaseModel):
    """A picture each, in the order in which they were sent; `error` where none of them can be read."""

    pictures: list[PictureAnswer]
    error: str | None


class Model(BaseModel):
    """What answers here."""

    network: str
    parameters: int
    class_names: list[str]
    view: dict[str, int]  # pixels: the shorter side is resized, then the centre height x width cut out
    limits: dict[str, int]


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str


class Status(BaseModel):
    """ok."""

    status: str


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Refusal} for code in codes}


_NO_PICTURE: dict[int | str, dict[str, Any]] = {code: {"model": Answer | Refusal} for code in (413, 422)}
_UNANSWERED = _errors(400, 408, 415, 503, 504) | _NO_PICTURE
_COUNTERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "pictures": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                    "required": ["pictures"],
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            BINARY: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class HeadAsGet:
    """Answers HEAD, with which monitors ask, as GET; the server leaves the body out (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send)


def create_app(
    classifier: Classifier,
    *,
    limits: Limits | None = None,
    api_key: str | None = None,
    threads: int | None = None,
) -> FastAPI:
    """The interface to a classifier; with an `api_key`, only the health checks and the pages do without.

    `threads` decode pictures, as many as there are cores unless told. Raises NetworkError for a network that
    takes no colours.
    """
    classifier.network.check_takes_colours()
    limits = limits or Limits()
    bodies = Bodies(limits)
    metrics = Metrics(lambda: batcher.inside)
    batcher = Batcher(classifier, limits, threads=threads, on_batch=metrics.batches.observe)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher:
            yield

    app = FastAPI(
        title="alexnet",
        description=f"{classifier.network.name}: pictures in, the likeliest of "
        f"{len(classifier.class_names):,} classes out.",
        version="1",
        docs_url=None,  # FastAPI's page loads its script from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to where the Host header says
        lifespan=lifespan,
    )
    _tell_errors_alike(app)

    app.add_middleware(Counting, metrics=metrics)
    app.add_middleware(HeadAsGet)

    def authorized(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
        header: Annotated[str | None, Depends(_KEY_HEADER)],
    ) -> None:
        given = bearer.credentials.strip() if bearer is not None else header or ""
        if not hmac.compare_digest(given.encode("latin-1"), (api_key or "").encode()):
            raise HTTPException(
                401,
                "API key: missing or wrong; send Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    asked = [] if api_key is None else [Depends(authorized)]
    refused = {} if api_key is None else _errors(401)

    @app.post(
        "/v1/predict",
        summary="Say what pictures show: one as the body, or several as files of a form",
        response_model=Answer,
        dependencies=asked,
        responses=_UNANSWERED | refused,
        openapi_extra=_BODY,
    )
    async def predict(request: Request, top: Annotated[int, Query(ge=1, le=MOST_LABELS)] = 5) -> Response:
        async with bodies.read(request) as uploads:
            answering = batcher.answer([each.content for each in uploads])
            try:
                async with asyncio.timeout(limits.request_seconds):
                    answers = await _while_there(request, answering)
            except TimeoutError:
                raise HTTPException(
                    504, f"no answer within {limits.request_seconds:g} s; come again", COME_AGAIN
                ) from None
            except BusyError as error:
                raise HTTPException(503, str(error), COME_AGAIN) from None
        metrics.unreadable.inc(sum(isinstance(each, PictureError) for each in answers))
        return _answer(uploads, answers, class_names, top)

    figures = summarize(classifier.network)
    class_names = [printable(each) for each in classifier.class_names]  # folders' names need not be UTF-8
    model = Model(
        network=classifier.network.name,
        parameters=figures.parameters,
        class_names=class_names,
        view=classifier.view.to_dict(),
        limits={name: getattr(limits, name) for name in ("max_bytes", "max_pixels", "max_pictures")},
    )

    @app.get(
        "/v1/model",
        summary="Say what answers here: its network, classes and limits",
        dependencies=asked,
        responses=refused,
    )
    async def describe() -> Model:
        return model

    @app.get("/healthz", summary="Whether the process is alive")
    async def healthy() -> Status:
        return Status(status="ok")

    @app.get("/readyz", summary="Whether it answers", responses=_errors(503))
    async def ready() -> Status:
        if not batcher.running:
            raise HTTPException(503, "not answering", COME_AGAIN)
        return Status(status="ok")

    @app.get(
        "/metrics",
        summary="Prometheus' counters",
        response_class=Response,
        dependencies=asked,
        responses=_COUNTERS | refused,
    )
    async def counters() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def front() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": POLICY})

    return app


async def _while_there(request: Request, answering: Coroutine[Any, Any, Result]) -> Result:
    """What comes of it, where the client does not hang up before: then nobody waits for it any more."""
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(request.receive())  # the body has been read: what comes is its end
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise HTTPException(_HUNG_UP, "the client has hung up")  # nobody reads it; the metrics count it
        return await answer
    finally:
        answer.cancel()
        gone.cancel()


class Counting:
    """ASGI middleware: every request counts in the metrics, by its route and status."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # The pattern, not the path: clients make up as many paths as they like.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count_request(route, status, time.perf_counter() - begun)


def _answer(
    uploads: Sequence[Upload],
    answers: Sequence[Logits | PictureError],
    class_names: Sequence[str],
    top: int,
) -> JSONResponse:
    pictures, failures = [], []
    for upload, answer in zip(uploads, answers, strict=True):
        labels: list[dict[str, Any]] = []
        error = None
        if isinstance(answer, PictureError):
            failures.append(answer)
            error = str(answer)
        else:
            labels = [asdict(each) for each in ranked(answer, class_names, top)]
        pictures.append({"name": upload.name, "labels": labels, "error": error})
    status, error = 200, None
    if len(failures) == len(uploads):
        status = 413 if all(isinstance(each, TooManyPixelsError) for each in failures) else 422
        error = str(failures[0])
    return JSONResponse({"pictures": pictures, "error": error}, status)


def _tell_errors_alike(app: FastAPI) -> None:
    """Every error is {"error": "one line"}."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return JSONResponse({"error": told}, 422)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": "something went wrong here; the server's log says what"}, 500)

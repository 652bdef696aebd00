"""The explorer over HTTP: its page, and what the page asks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from alexnet.errors import NetworkError, PictureError, TooManyPixelsError, WeightsError
from alexnet.explorer.gallery import Gallery
from alexnet.explorer.page import served_page, web_files
from alexnet.explorer.study import Study, Values
from alexnet.server.bodies import BINARY, Bodies
from alexnet.server.limits import Limits

PLACE = "/explore/"
"""Where the page is."""

_MOST_SETTINGS = 64


def add_explorer(app: FastAPI, gallery: Gallery, *, limits: Limits) -> None:
    """Give `app` the explorer's page at PLACE, with all that it asks below it."""
    html, policy = served_page()
    bodies = Bodies(limits)
    about = gallery.about(static=False)

    def study(model: int) -> Study:
        if not 0 <= model < len(gallery.studies):
            raise HTTPException(404, f"model {model}; there are {len(gallery.studies)}")
        return gallery.studies[model]

    @app.get(PLACE.rstrip("/"), include_in_schema=False)
    def without_slash() -> RedirectResponse:
        return RedirectResponse(PLACE)

    @app.get(PLACE, include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @app.get(PLACE + "web/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in web_files():
            raise HTTPException(404, "no such file")
        content, kind = web_files()[name]
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.get(PLACE + "about", include_in_schema=False)
    def tell() -> dict[str, Any]:
        return about

    @app.post(PLACE + "pictures", include_in_schema=False)
    async def take(request: Request) -> dict[str, Any]:
        async with bodies.read(request) as uploads:
            try:
                key = await run_in_threadpool(gallery.add, uploads[0].content, max_pixels=limits.max_pixels)
            except TooManyPixelsError as error:
                raise HTTPException(413, str(error)) from None
            except PictureError as error:
                raise HTTPException(422, str(error)) from None
        return {"key": key}

    @app.get(PLACE + "models/{model}/pictures/{key}", include_in_schema=False)
    def look(model: int, key: str) -> dict[str, Any]:
        with _Missing():
            return study(model).look(key)

    @app.get(PLACE + "models/{model}/pictures/{key}/maps/{layer}", include_in_schema=False)
    def maps(model: int, key: str, layer: str) -> Response:
        with _Missing():
            return _floats(study(model).maps(key, layer))

    @app.get(PLACE + "models/{model}/pictures/{key}/cam/{layer}/{label}", include_in_schema=False)
    def cam(model: int, key: str, layer: str, label: int) -> Response:
        with _Missing():
            return _floats(study(model).cam(key, layer, label))

    @app.get(PLACE + "models/{model}/kernels/{layer}", include_in_schema=False)
    def kernels(model: int, layer: str) -> Response:
        with _Missing():
            return _floats(study(model).kernels(layer))

    @app.get(PLACE + "models/{model}/kernels/{layer}/{unit}", include_in_schema=False)
    def kernel(model: int, layer: str, unit: int) -> Response:
        with _Missing():
            found = study(model).kernel(layer, unit)
        return _floats(found.weights, {"X-Bias": repr(found.bias)})

    @app.get(PLACE + "models/{model}/what-if", include_in_schema=False)
    def change(
        model: int, settings: Annotated[list[str], Query(alias="set", max_length=_MOST_SETTINGS)]
    ) -> dict[str, Any]:
        try:
            return study(model).what_if(*settings).to_dict()
        except NetworkError as error:
            raise HTTPException(422, str(error)) from None


class _Missing:
    """What is asked for and is not there becomes 404."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyError):
            raise HTTPException(404, "no such picture or layer; it may have been let go") from None
        if isinstance(error, NetworkError):
            raise HTTPException(404, str(error)) from None
        if isinstance(error, WeightsError):
            raise HTTPException(422, str(error)) from None


def _floats(values: Values, headers: dict[str, str] | None = None) -> Response:
    """Float32, little-endian, row by row; the shape is in a header."""
    shape = {"X-Shape": ",".join(map(str, values.shape))}
    return Response(values.astype("<f4").tobytes(), media_type=BINARY, headers=shape | (headers or {}))

"""The HTTP interface in this process: answers as predict gives them, a reason for whatever is no picture."""

from __future__ import annotations

import asyncio
import io
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from httpx2 import Response
from PIL import Image
from starlette.testclient import TestClient

import alexnet
from alexnet import ServerError
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import predict
from alexnet.learning.classifier import Classifier, Run
from alexnet.server.app import create_app
from alexnet.server.limits import Limits

JPEG = {"Content-Type": "image/jpeg"}
FORM = "multipart/form-data; boundary=x"
TEXT_PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
Open = Callable[..., TestClient]


@pytest.fixture
def classifier(weights_file: Path) -> Classifier:
    return open_classifier(weights_file, engine="torch", precision="fp32")


@pytest.fixture
def serving(classifier: Classifier) -> Iterator[Open]:
    """Opens a client of a server with the limits given; `run` takes the network's place."""
    with ExitStack() as stack:

        def open_client(
            *,
            run: Run | None = None,
            api_key: str | None = None,
            **limits: Any,
        ) -> TestClient:
            answering = classifier
            if run is not None:
                answering = Classifier(
                    run=run,
                    network=classifier.network,
                    class_names=classifier.class_names,
                    view=classifier.view,
                )
            app = create_app(answering, limits=Limits(**limits), api_key=api_key)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield open_client


class Gate:
    """A network that waits to be let go on, and tells what it was given."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.batches: list[int] = []

    def __call__(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if batch.any():  # the blank one that warms up passes
            self.batches.append(len(batch))
            self.begun.set()
            assert self.open.wait(30)
        return np.zeros((len(batch), 3), np.float32)


def encoded(colour: str = "red", size: tuple[int, int] = (30, 30), form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, form)
    return stream.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def ask(client: TestClient, content: bytes, **settings: Any) -> Response:
    return client.post("/v1/predict", content=content, headers=JPEG, **settings)


def reason(response: Response, status: int) -> str:
    assert response.status_code == status, response.text
    told = response.json()["error"]
    assert isinstance(told, str)
    assert "\n" not in told
    return told


def test_a_picture_as_the_body_is_answered_as_predict_answers_its_file(
    serving: Open, classifier: Classifier, coloured: Path
) -> None:
    path = coloured / "green" / "02.png"
    (expected,) = predict(classifier, [path], top=2, workers=0)
    (answer,) = ask(serving(), path.read_bytes(), params={"top": 2}).json()["pictures"]
    assert answer["error"] is None
    assert [label["name"] for label in answer["labels"]] == [label.name for label in expected.labels]
    probabilities = [label["probability"] for label in answer["labels"]]
    assert probabilities == pytest.approx([label.probability for label in expected.labels], rel=1e-4)


def test_files_of_a_form_are_answered_in_their_order_each_with_labels_or_a_reason(
    serving: Open, classifier: Classifier, coloured: Path
) -> None:
    paths = [coloured / name / "00.png" for name in ("red", "blue", "green")]
    files = [("pictures", (path.parent.name, path.read_bytes(), "image/png")) for path in paths]
    files.insert(1, ("other", ("broken", paths[0].read_bytes()[:60], "image/png")))
    response = serving().post("/v1/predict", files=files)
    assert response.status_code == 200
    answers = response.json()["pictures"]
    assert response.json()["error"] is None
    assert [each["name"] for each in answers] == ["red", "broken", "blue", "green"]
    broken = answers.pop(1)
    assert broken["labels"] == []
    assert "cannot be decoded" in broken["error"]
    for answer, expected in zip(answers, predict(classifier, paths, workers=0), strict=True):
        assert [each["name"] for each in answer["labels"]] == [each.name for each in expected.labels]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"hello", encoded(form="JPEG")[:200]])
def test_what_is_no_picture_gets_a_reason(serving: Open, content: bytes) -> None:
    response = ask(serving(), content)
    told = reason(response, 422)
    assert [each["error"] for each in response.json()["pictures"]] == [told]


@pytest.mark.parametrize("sides", [(100_000, 100_000), (5001, 5000)])
def test_too_many_pixels_are_refused_by_the_header_alone(serving: Open, sides: tuple[int, int]) -> None:
    assert "25,000,000" in reason(ask(serving(), claiming(*sides)), 413)


def test_a_strip_of_a_hundred_thousand_pixels_is_answered(serving: Open) -> None:
    for size in ((100_000, 1), (1, 100_000), (100_000, 20)):
        assert ask(serving(), encoded(size=size)).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_too_many_bytes_is_refused(serving: Open, chunked: bool) -> None:
    client = serving(max_bytes=1000)
    most = encoded()[:1000].ljust(1000, b"\0")
    for content, status in ((most, 200), (most + b"\0", 413)):
        pieces = (content[start : start + 100] for start in range(0, len(content), 100))
        response = client.post("/v1/predict", content=pieces if chunked else content, headers=JPEG)
        assert response.status_code == status, response.text
    assert "1,000" in reason(response, 413)


def form(name: str, disposition: str, charset: str) -> dict[str, Any]:
    """A request with a form of one part, whose names are in a charset of the client's choice."""
    part = f'--B\r\nContent-Disposition: form-data; name="{name}"; {disposition}\r\n\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=B; charset={charset}"}
    return {"content": part.encode() + encoded() + b"\r\n--B--\r\n", "headers": headers}


@pytest.mark.parametrize("charset", ["idna", "utf-7", "undefined", "unicode_escape", "nonsense"])
def test_names_in_a_charset_that_cannot_be_are_an_answer_s_matter(serving: Open, charset: str) -> None:
    told = form("pictures", r'filename="\ud800\xff..a"', charset)
    response = serving().post("/v1/predict", **told)
    assert response.status_code in (200, 400), response.text
    assert isinstance(response.json(), dict)


def test_a_part_that_is_no_file_is_named(serving: Open) -> None:
    told = serving().post("/v1/predict", files={"words": (None, "a text")})
    assert "part 'words' is no file; every part must be a picture file" in reason(told, 400)


# Starlette lets go of the file of a part that does not end without closing it.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cut", [1, 2, 6, 8, 40])
def test_a_form_that_is_cut_off_is_refused(serving: Open, cut: int) -> None:
    """In its end or in its last part: what came before would be answered as if it were all."""
    parts = "".join(
        f'--B\r\nContent-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n{{}}\r\n' for name in "ab"
    )
    first, between, last = parts.split("{}")
    whole = first.encode() + encoded() + between.encode() + encoded() + last.encode() + b"--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    response = serving().post("/v1/predict", content=whole, headers=headers)
    assert len(response.json()["pictures"]) == 2
    told = serving().post("/v1/predict", content=whole[: -2 - cut], headers=headers)
    assert reason(told, 400) == "the form ends early; it must end with its boundary"


def test_a_large_picture_of_a_form_is_kept_in_memory(serving: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the folder for temporary files, which may be full, or not be there to write to."""

    def full(_: object) -> None:
        raise OSError(27, "File too large")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", full)
    large = encoded().ljust(3_000_000, b"\0")
    response = serving().post("/v1/predict", files=[("pictures", ("a.png", large, "image/png"))])
    assert response.json()["pictures"][0]["error"] is None


def test_who_hangs_up_is_not_computed_for_and_counts_apart(classifier: Classifier) -> None:
    """Two fill the batch that the network is at; of what waits then, one hangs up."""
    gate = Gate()
    app = create_app(replace(classifier, run=gate), limits=Limits(batch_size=2))
    sent = encoded()

    async def ask_and(*, hang_up: asyncio.Event) -> int:
        """The status of an answer to a client that hangs up then."""
        pieces: list[dict[str, Any]] = [{"type": "http.request", "body": sent, "more_body": False}]
        statuses = []

        async def receive() -> dict[str, Any]:
            if pieces:
                return pieces.pop()
            await hang_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        headers = [(b"content-type", b"image/png"), (b"content-length", str(len(sent)).encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers}
        await app({**scope, "query_string": b"", "http_version": "1.1"}, receive, send)
        return int(statuses[0])

    async def all_of_them() -> list[int]:
        never, now = asyncio.Event(), asyncio.Event()
        async with app.router.lifespan_context(app):
            first = [asyncio.create_task(ask_and(hang_up=never)) for _ in range(2)]
            while not gate.begun.is_set():
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(ask_and(hang_up=now))
            left = asyncio.create_task(ask_and(hang_up=never))
            await asyncio.sleep(0.1)
            now.set()
            status = await waiting
            gate.open.set()
            return [status, *[await each for each in (*first, left)]]

    assert asyncio.run(all_of_them()) == [499, 200, 200, 200]
    assert sum(gate.batches) == 3


def test_a_path_with_a_slash_more_is_no_path(serving: Open) -> None:
    told = serving().post("/v1/predict/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert "location" not in told.headers
    assert reason(told, 404)


def test_a_form_of_too_many_pictures_is_refused(serving: Open) -> None:
    client = serving(max_pictures=3)
    for count, status in ((3, 200), (4, 400)):
        files = [("pictures", (f"{i}.png", encoded(), "image/png")) for i in range(count)]
        response = client.post("/v1/predict", files=files)
        assert response.status_code == status
    assert "3" in reason(response, 400)


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain; charset=utf-8", b"hello", 415),
        ("multipart/form-data", b"hello", 400),
        (FORM, b"hello", 400),
        (FORM, b"--x--\r\n", 400),
        (FORM, TEXT_PART, 400),
        (FORM, b"--x\r\n\r\nno name\r\n--x--\r\n", 400),
    ],
)
def test_a_body_of_another_kind_is_refused(
    serving: Open, content_type: str, content: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = serving().post("/v1/predict", content=content, headers={"Content-Type": content_type})
    assert reason(response, status)
    assert not [each for each in caplog.records if each.name.startswith("python_multipart")]


@pytest.mark.parametrize("top", ["0", "-1", "1001", "many", "1.5"])
def test_a_top_out_of_range_is_refused(serving: Open, top: str) -> None:
    assert "top" in reason(ask(serving(), encoded(), params={"top": top}), 422)


def test_what_comes_while_a_batch_is_computed_is_the_next_batch(serving: Open) -> None:
    gate = Gate()
    client = serving(run=gate, batch_size=4)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, client, encoded())]
        assert gate.begun.wait(30)
        answers += [pool.submit(ask, client, encoded()) for _ in range(6)]
        while "alexnet_pictures_inside 7.0" not in client.get("/metrics").text:
            pass
        gate.open.set()
        assert [each.result().status_code for each in answers] == [200] * 7
    assert gate.batches == [1, 4, 2]
    assert "alexnet_batch_pictures_sum 7.0" in client.get("/metrics").text


@pytest.mark.parametrize("count", [2, 3, 8])
def test_pictures_of_a_request_are_a_batch_though_one_is_decoded_last(
    serving: Open, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each decoding tells the loop when it is done; by then its picture must wait for the batch."""
    sizes: list[int] = []

    def run(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if batch.any():
            sizes.append(len(batch))
        return np.zeros((len(batch), 3), np.float32)

    client = serving(run=run, batch_size=16, batch_wait=5.0)
    for _ in range(10):
        files = [("images", (f"{number}.png", encoded(), "image/png")) for number in range(count)]
        assert client.post("/v1/predict", files=files).status_code == 200
    assert sizes == [count] * 10


def test_class_names_that_are_no_unicode_are_told_as_they_are_printed(classifier: Classifier) -> None:
    named = replace(classifier, class_names=("caf\udce9", "green", "red"))
    with TestClient(create_app(named), raise_server_exceptions=False) as client:
        answer = ask(client, encoded())
        assert answer.status_code == 200
        told = {each["name"] for each in answer.json()["pictures"][0]["labels"]}
        assert told == {r"caf\udce9", "green", "red"}
        assert client.get("/v1/model").json()["class_names"] == [r"caf\udce9", "green", "red"]


def test_a_full_queue_refuses_and_says_when_to_come_again(serving: Open) -> None:
    gate = Gate()
    client = serving(run=gate, queue=2, max_pictures=2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, client, encoded())
        assert gate.begun.wait(30)
        files = [("pictures", (name, encoded(), "image/png")) for name in "ab"]
        refused = client.post("/v1/predict", files=files)
        assert "at most 2" in reason(refused, 503)
        assert int(refused.headers["Retry-After"]) >= 1
        second = pool.submit(ask, client, encoded())  # there was room for one: none of the two was taken
        while "alexnet_pictures_inside 2.0" not in client.get("/metrics").text:
            pass
        gate.open.set()
        assert first.result().status_code == second.result().status_code == 200


def test_a_request_that_takes_too_long_is_given_up_and_the_next_is_answered(serving: Open) -> None:
    gate = Gate()
    client = serving(run=gate, request_seconds=0.2)
    refused = ask(client, encoded())
    assert "0.2 s" in reason(refused, 504)
    assert int(refused.headers["Retry-After"]) >= 1
    gate.open.set()
    assert ask(client, encoded()).status_code == 200


def test_an_engine_that_fails_is_one_answer_s_matter(serving: Open) -> None:
    failures = iter([RuntimeError("/home/someone/model.onnx: secret"), None])

    def fails_once(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if batch.any() and (error := next(failures)):
            raise error
        return np.zeros((len(batch), 3), np.float32)

    client = serving(run=fails_once)
    response = ask(client, encoded())
    assert reason(response, 500)
    assert not re.search(r"secret|Traceback|RuntimeError|/home", response.text)
    assert ask(client, encoded()).status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic secret key"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"X-API-Key": "secret ke"},
    ],
)
def test_without_the_key_only_the_health_is_told(serving: Open, headers: dict[str, Any]) -> None:
    client = serving(api_key="secret key")
    for path in ("/v1/model", "/metrics"):
        assert "API key" in reason(client.get(path, headers=headers), 401)
    refused = client.post("/v1/predict", content=encoded(), headers=JPEG | headers)
    assert "API key" in reason(refused, 401)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/healthz", "/readyz", "/"):
        assert client.get(path, headers=headers).status_code == 200


def test_the_document_says_how_the_key_is_sent(serving: Open) -> None:
    for key in (None, "secret key"):
        document = serving(api_key=key).get("/openapi.json").json()
        schemes = document["components"].get("securitySchemes", {})
        told = {
            (path, name)
            for path, methods in document["paths"].items()
            for method in methods.values()
            for each in method.get("security", [])
            for name in each
        }
        guarded = {(path, name) for path in ("/v1/predict", "/v1/model", "/metrics") for name in schemes}
        assert told == guarded
        assert sorted(each.get("name", each.get("scheme")) for each in schemes.values()) == (
            ["X-API-Key", "bearer"] if key else []
        )


def test_a_key_is_the_bytes_that_curl_sends_for_it(serving: Open) -> None:
    client = serving(api_key="schl\u00fcssel")
    sent = {"X-API-Key": "schl\u00fcssel".encode()}
    assert client.get("/v1/model", headers=sent).status_code == 200  # type: ignore[arg-type]


@pytest.mark.parametrize("headers", [{"Authorization": "bearer secret key"}, {"X-API-Key": "secret key"}])
def test_with_the_key_everything_is_answered(serving: Open, headers: dict[str, str]) -> None:
    client = serving(api_key="secret key")
    assert client.get("/v1/model", headers=headers).status_code == 200
    assert client.post("/v1/predict", content=encoded(), headers=JPEG | headers).status_code == 200


def test_the_model_is_described(serving: Open, classifier: Classifier) -> None:
    told = serving(max_pixels=1000).get("/v1/model").json()
    assert told["network"] == classifier.network.name
    assert told["class_names"] == list(classifier.class_names)
    assert told["view"] == {"height": 24, "width": 24, "resize": 24 * 256 // 227}
    assert told["limits"]["max_pixels"] == 1000


def test_requests_are_counted_by_route_and_status(serving: Open) -> None:
    client = serving()
    ask(client, encoded())
    ask(client, b"nothing")
    for path in ("/nowhere", "/nowhere/else", "/healthz"):
        client.get(path)
    told = client.get("/metrics").text
    for path, status, count in (
        ("/v1/predict", 200, 1),
        ("/v1/predict", 422, 1),
        ("other", 404, 2),
        ("/healthz", 200, 1),
    ):
        assert f'alexnet_requests_total{{path="{path}",status="{status}"}} {count}.0\n' in told
    assert "alexnet_unreadable_pictures_total 1.0\n" in told
    assert "nowhere" not in told


def test_no_answer_tells_a_version_or_a_path(serving: Open, weights_file: Path) -> None:
    client = serving()
    for response in (
        client.get("/"),
        client.get("/openapi.json"),
        client.get("/v1/model"),
        client.get("/nowhere"),
        client.put("/v1/predict"),
        ask(client, b"nothing"),
    ):
        told = f"{response.headers} {response.text}"
        assert alexnet.__version__ not in told
        assert str(weights_file.parent) not in told
        assert not re.search(r"Traceback|site-packages|uvicorn|python", told, re.IGNORECASE)


def test_the_page_tells_every_route_and_loads_nothing_from_elsewhere(serving: Open) -> None:
    client = serving()
    response = client.get("/")
    assert response.headers["Content-Type"].startswith("text/html")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in response.text
    assert not re.search(r"""(src|href|url|import)\s*[=(]?\s*["']?(https?:)?//""", response.text)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("limits", [{"queue": 0}, {"request_seconds": -1.0}, {"batch_wait": float("inf")}])
def test_a_limit_out_of_range_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ServerError, match=next(iter(limits)).replace("_", "-")):
        Limits(**limits)


def test_the_queue_must_hold_one_request_s_pictures() -> None:
    with pytest.raises(ServerError, match="queue: 8; must hold one request's pictures, max-pictures 16"):
        Limits(queue=8)


def test_the_bodies_memory_must_hold_one_body() -> None:
    with pytest.raises(ServerError, match="body-memory"):
        Limits(max_bytes=1000, body_memory=999)

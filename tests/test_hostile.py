"""Every picture of Pillow's own tests and of PngSuite, whole and cut, through decode, predict and serve.

As a program, `test_hostile.py ROUTE FOLDER` sends them all through one of these in a process of its own, and
ends with what came of it: the tests start it, so that a crash, a hang and memory are seen from outside.
"""

from __future__ import annotations

import ast
import faulthandler
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
import numpy as np
import pytest

from alexnet.errors import PictureError
from alexnet.images.decode import decode
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import predict

Start = tuple[list[str], dict[str, str]]

FOLDER = Path(os.environ.get("ALEXNET_HOSTILE_PICTURES", ".venv/hostile"))
CUTS = 20  # lengths, besides the whole, to which each picture is cut
MOST_SECONDS = 5
MOST_MEBIBYTES = 1024
SPARING = "ALEXNET_HOSTILE_ALL" not in os.environ
"""Whether predict and serve, which decode as decode does, get a third of the cuts; all take minutes more."""
TOGETHER = 16, 16 * 2**20  # pictures and bytes of a request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        len(list(FOLDER.glob("*.tar.gz"))) < 2,
        reason=f"{FOLDER}: no archives of Pillow and pypng; run: make hostile-pictures",
    ),
]


def pictures(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes: what lies in Pillow's tests, PngSuite as pypng has it, and a few bombs."""
    (pillow,), (pypng,) = folder.glob("pillow-*.tar.gz"), folder.glob("pypng-*.tar.gz")
    with tarfile.open(pillow) as archive:
        for member in archive:
            if "/Tests/images/" in member.name and member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                yield member.name.partition("/Tests/images/")[2], content.read()
    yield from png_suite(pypng)
    yield from bombs()


def png_suite(pypng: Path) -> Iterator[tuple[str, bytes]]:
    """pypng's source has them as a dict of hexadecimal strings, which is read, not run."""
    with tarfile.open(pypng) as archive:
        (name,) = (each for each in archive.getnames() if each.endswith("/code/pngsuite.py"))
        content = archive.extractfile(name)
        assert content is not None
        source = ast.parse(content.read())
    for node in ast.walk(source):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(value, ast.Call) and isinstance(key, ast.Constant):
                    yield f"{key.value!s}.png", bytes.fromhex(ast.literal_eval(value.args[0]).decode())


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that would be large pictures, texts or strips."""
    yield "strip.png", png(100_000, 8)
    yield "tower.png", png(8, 100_000)
    yield "large.png", png(8_000, 8_000, bits=1)
    yield "too_large.png", png(60_000, 60_000, bits=1)
    yield "cut_off.png", png(9_000, 9_000)[:2000]
    yield "text.png", png(8, 8, text=zlib.compress(bytes(100_000_000)))
    yield (
        "claims.bmp",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, *[0] * 6),
    )
    yield "claims.ppm", b"P6 4000000000 4000000000 255 "
    yield "claims.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b","


def png(width: int, height: int, *, bits: int = 8, text: bytes | None = None) -> bytes:
    """A black one, and a compressed text with it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packing, row = zlib.compressobj(1), bytes(1 + (width * bits + 7) // 8)
    pixels = b"".join([packing.compress(row) for _ in range(height)]) + packing.flush()
    told = chunk(b"zTXt", b"Comment\0\0" + text) if text is not None else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + told + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def cut(content: bytes) -> list[bytes]:
    """The whole, and what is left of it at so many points."""
    return [content, *(content[: len(content) * part // CUTS] for part in range(CUTS))]


def everything(folder: Path, *, sparing: bool = False) -> Iterator[tuple[str, bytes]]:
    """Where `sparing`, of the cuts a third, of the next picture the next third; the empty one always."""
    for place, (name, content) in enumerate(pictures(folder)):
        for number, piece in enumerate(cut(content)):
            if number < 2 or not sparing or number % 3 == place % 3:
                yield f"{number:02}-{name.replace('/', '~')}", piece


# --- as a program -----------------------------------------------------------------------------------------


def through_decode(folder: Path) -> Iterator[tuple[str, str | None]]:
    for name, content in everything(folder):
        try:
            picture = decode(content)
        except PictureError as error:
            yield name, str(error)
        else:
            assert picture.dtype == np.uint8
            assert picture.ndim == 3
            assert picture.shape[2] == 3
            yield name, None


def through_predict(folder: Path, weights: Path, scratch: Path) -> Iterator[tuple[str, str | None]]:
    def written() -> Iterator[Path]:
        for number, (name, content) in enumerate(everything(folder, sparing=SPARING)):
            path = scratch / f"{number}-{name}"
            path.write_bytes(content)
            yield path

    for answer in predict(open_classifier(weights, engine="onnxruntime"), written(), top=1):
        Path(answer.path).unlink()
        assert bool(answer.labels) != bool(answer.error)
        yield Path(answer.path).name.partition("-")[2], answer.error


def run(route: str, *arguments: str) -> None:
    """Print what came of it; a picture that takes too long ends the process with a traceback."""
    routes = {"decode": through_decode, "predict": through_predict}
    answers = routes[route](*map(Path, arguments))  # type: ignore[operator]
    told: dict[str, str | None] = {}
    slowest, begun = 0.0, perf_counter()
    faulthandler.dump_traceback_later(4 * MOST_SECONDS, exit=True)  # the first ones start the engine
    for name, reason in answers:
        assert name not in told
        told[name] = reason
        slowest, begun = max(slowest, perf_counter() - begun), perf_counter()
        faulthandler.dump_traceback_later(4 * MOST_SECONDS, exit=True)
    json.dump({"told": told, "slowest": slowest, "memory": peak_memory(os.getpid())}, sys.stdout)


def peak_memory(process: int) -> float:
    """MiB. Not getrusage's: that begins with what the process was started from had."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024


if __name__ == "__main__":
    run(*sys.argv[1:])


# --- the tests --------------------------------------------------------------------------------------------


def sent_through(python: Start, *arguments: str | Path) -> dict[str, Any]:
    command, environment = python
    done = subprocess.run(
        [*command, __file__, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_sound(told: dict[str, str | None], memory: float, *, sparing: bool = False) -> None:
    """Every one has an answer or a reason of one line; those that are good pictures have an answer."""
    names = [name for name, _ in everything(FOLDER, sparing=sparing)]
    assert sorted(told) == sorted(names)
    assert len(names) > 1000 * (CUTS // 3 if sparing else CUTS + 1)
    reasons = [reason for reason in told.values() if reason is not None]
    assert all(reason and "\n" not in reason and "Traceback" not in reason for reason in reasons)
    (pypng,) = FOLDER.glob("pypng-*.tar.gz")
    assert [name for name, _ in png_suite(pypng) if told[f"00-{name}"] is not None] == []
    for good in (
        "hopper.png",
        "hopper.jpg",
        "hopper.gif",
        "hopper.bmp",
        "hopper.ppm",
        "hopper.webp",
        "hopper.tif",
    ):
        assert told[f"00-{good}"] is None
        assert told[f"01-{good}"] is not None  # of no bytes
    assert memory < MOST_MEBIBYTES


def test_decode(python: Start) -> None:
    result = sent_through(python, "decode", FOLDER)
    assert_sound(result["told"], result["memory"])
    assert result["slowest"] < MOST_SECONDS


def test_predict(python: Start, weights_file: Path, tmp_path: Path) -> None:
    result = sent_through(python, "predict", FOLDER, weights_file, tmp_path)
    assert_sound(result["told"], result["memory"], sparing=SPARING)
    assert list(tmp_path.iterdir()) == []


def test_serve(python: Start, weights_file: Path) -> None:
    command, environment = python
    arguments = ["serve", str(weights_file), "--engine", "onnxruntime", "--port", "0"]
    told: dict[str, str | None] = {}
    with subprocess.Popen(
        [*command, "-m", "alexnet", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        try:
            with httpx2.Client(timeout=4 * MOST_SECONDS) as client:
                for group in grouped(everything(FOLDER, sparing=SPARING)):
                    files = [("pictures", (name, content, "image/png")) for name, content in group]
                    response = client.post(f"{url}/v1/predict", files=files)
                    assert response.status_code in (200, 413, 422), response.text
                    answers = response.json()["pictures"]
                    assert [each["name"] for each in answers] == [name for name, _ in group]
                    told |= {each["name"]: each["error"] for each in answers}
                    assert all(bool(each["labels"]) != bool(each["error"]) for each in answers)
                assert client.get(f"{url}/readyz").status_code == 200
            memory = peak_memory(process.pid)
        finally:
            process.terminate()
            process.stderr.read()  # libtiff's own words
        assert process.wait(30) == 0
    assert_sound(told, memory, sparing=SPARING)


def grouped(named: Iterator[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    for each in named:
        together = sum(len(content) for _, content in group) + len(each[1])
        if group and (len(group) == TOGETHER[0] or together > TOGETHER[1]):
            yield group
            group = []
        group.append(each)
    yield group

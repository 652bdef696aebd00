"""The fastest engine is chosen among those that agree, measured once, and remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet import OutputError, TrainingError
from alexnet.inference import choice, engines
from alexnet.inference.choice import Choice, Way, fastest, key_of, recall, remember
from alexnet.inference.engines import FEW, open_classifier
from alexnet.learning.classifier import Logits, Run

BATCH = np.zeros((4, 2, 2, 3), np.uint8)
RIGHT = np.array([[1.0, -4.0], [2.0, 0.5], [0.0, 1.0], [3.0, 3.5]], np.float32)
TORCH, RUNTIME = Way(engine="torch", precision="fp32"), Way(engine="onnxruntime", precision="fp32")
ROUNDED = Way(engine="openvino", precision="bf16")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], Run]]:
    """Makes ways that take so many seconds of a clock that only they move, and are so far from right."""
    now = 0.0
    monkeypatch.setattr(choice, "perf_counter", lambda: now)

    def way(seconds: float, apart: float = 0.0) -> Callable[[], Run]:
        def run(batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Logits:
            nonlocal now
            now += seconds
            logits = RIGHT.copy()
            logits[1, 1] += apart * 4  # the largest is 4
            return logits

        return lambda: run

    return way


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, empty."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_fastest_of_those_that_agree_is_chosen(clock: Callable[..., Callable[[], Run]]) -> None:
    found = fastest({TORCH: clock(2.0), RUNTIME: clock(0.5, 0.0009), ROUNDED: clock(1.0, 0.009)}, BATCH)
    assert found.way == RUNTIME
    assert found.rates == {TORCH: 2.0, RUNTIME: 8.0, ROUNDED: 4.0}
    assert found.left_out == {}
    assert str(found) == (
        "onnxruntime in fp32: 8 pictures/s, openvino in bf16: 4 pictures/s, torch in fp32: 2 pictures/s"
    )


def test_where_the_first_answers_with_no_number_it_is_chosen() -> None:
    def run(batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Logits:
        return np.full((len(batch), 2), np.nan, np.float32)

    found = fastest({TORCH: lambda: run, RUNTIME: lambda: run}, BATCH)
    assert (found.way, set(found.left_out)) == (TORCH, {RUNTIME})


def test_who_is_too_far_off_or_does_not_open_is_left_out_however_fast(
    clock: Callable[..., Callable[[], Run]],
) -> None:
    def broken() -> Run:
        raise RuntimeError("no\n such instruction")

    exact = Way(engine="openvino", precision="fp32")
    found = fastest(
        {TORCH: clock(2.0), RUNTIME: broken, exact: clock(0.1, 0.002), ROUNDED: clock(0.1, 0.02)}, BATCH
    )
    assert found.way == TORCH
    assert set(found.rates) == {TORCH}
    assert found.left_out == {
        RUNTIME: "no such instruction",
        exact: "its logits differ by 0.002 of the largest; at most 0.001 may be",
        ROUNDED: "its logits differ by 0.02 of the largest; at most 0.01 may be",
    }


def test_what_is_wrong_with_the_first_is_told() -> None:
    def broken() -> Run:
        raise RuntimeError("no weights")

    with pytest.raises(RuntimeError, match="no weights"):
        fastest({TORCH: broken, RUNTIME: broken}, BATCH)


def test_a_choice_is_remembered_beside_others(own: Path) -> None:
    made = Choice(
        way=RUNTIME, run=lambda batch: RIGHT, rates={TORCH: 2.0, RUNTIME: 8.04}, left_out={ROUNDED: "slow"}
    )
    remember("one", made)
    remember("two", Choice(way=TORCH, run=lambda batch: RIGHT, rates={TORCH: 2.0}, left_out={}))
    assert (recall("one"), recall("two"), recall("three")) == (RUNTIME, TORCH, None)
    told = json.loads((own / "engines.json").read_text())
    assert told["one"]["pictures_per_second"] == {"torch in fp32": 2.0, "onnxruntime in fp32": 8.0}
    assert told["one"]["left_out"] == {"openvino in bf16": "slow"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"one": 3}', '{"one": {"engine": 1, "precision": "fp32"}}', "\udcff"]
)
def test_a_file_that_cannot_be_read_is_measured_anew(own: Path, content: str) -> None:
    own.mkdir()
    (own / "engines.json").write_bytes(content.encode(errors="surrogateescape"))
    assert recall("one") is None
    remember("one", Choice(way=TORCH, run=lambda batch: RIGHT, rates={TORCH: 2.0}, left_out={}))
    assert recall("one") == TORCH


def test_a_cache_that_cannot_be_written_is_no_fault(own: Path) -> None:
    own.write_text("a file in its place")
    assert not remember("one", Choice(way=TORCH, run=lambda batch: RIGHT, rates={TORCH: 2.0}, left_out={}))
    assert recall("one") is None
    assert own.read_text() == "a file in its place"


def test_what_cannot_be_kept_is_not_said_to_be(own: Path, weights_file: Path) -> None:
    own.write_text("a file in its place")
    told: list[str] = []
    open_classifier(weights_file, on_note=told.append)
    assert told[-1].endswith("the cache folder cannot be written, so it is not remembered")


@pytest.mark.parametrize(
    ("engine", "precision"), [("foo", "fp32"), ("openvino", "foo"), ("onnxruntime", "bf16")]
)
def test_a_way_that_is_not_to_be_had_any_more_is_forgotten(
    own: Path, weights_file: Path, engine: str, precision: str
) -> None:
    told: list[str] = []
    open_classifier(weights_file, on_note=told.append)
    assert told[-1].endswith("; remembered")
    kept = json.loads((own / "engines.json").read_text())
    for entry in kept.values():
        entry |= {"engine": engine, "precision": precision}
    (own / "engines.json").write_text(json.dumps(kept))
    assert open_classifier(weights_file, pictures=10).engine.startswith("torch")  # too few to measure
    told.clear()
    open_classifier(weights_file, on_note=told.append)
    assert told[-1].endswith("; remembered")


def test_another_network_processor_or_version_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of({"network": "a"}, ["torch"]), key_of({"network": "b"}, ["torch"])}
    assert key_of({"network": "a"}, ["torch"]) in keys
    keys.add(key_of({"network": "a"}, ["torch", "numpy"]))
    monkeypatch.setattr(choice, "_version", lambda package: "0.0.1")
    keys.add(key_of({"network": "a"}, ["torch"]))
    monkeypatch.setattr(choice, "_processor", lambda: "another")
    keys.add(key_of({"network": "a"}, ["torch"]))
    assert len(keys) == 5


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[Way]]:
    """What was measured; ONNX Runtime is always found the fastest."""
    told: list[list[Way]] = []

    def found(
        ways: dict[Way, Callable[[], Run]], batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    ) -> Choice:
        made = fastest(ways, batch, rounds=1)
        assert made.left_out == {}  # every engine that is installed agrees
        told.append(list(ways))
        best = next(way for way in ways if way.engine == "onnxruntime")
        return Choice(way=best, run=ways[best](), rates=made.rates, left_out={})

    monkeypatch.setattr(choice, "fastest", found)
    return told


@pytest.mark.usefixtures("own")
def test_weights_are_measured_once(weights_file: Path, measured: list[list[Way]]) -> None:
    notes: list[str] = []
    few = open_classifier(weights_file, pictures=FEW - 1)
    assert measured == []
    assert few.engine.startswith("torch")
    first = open_classifier(weights_file, on_note=notes.append)
    assert [way.engine for way in measured[0] if way.precision == "fp32"] == list(engines.ENGINES)
    assert len(notes) == 2
    again = open_classifier(weights_file, on_note=notes.append)
    known = open_classifier(weights_file, pictures=1)
    assert len(measured) == 1
    assert len(notes) == 2
    assert {each.engine for each in (first, again, known)} == {"onnxruntime in fp32"}
    batch = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    right = open_classifier(weights_file, engine="torch", precision="fp32")(batch)
    for each in (first, again, known):
        np.testing.assert_allclose(each(batch), right, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("own")
def test_who_asks_for_something_gets_it_unmeasured(weights_file: Path, measured: list[list[Way]]) -> None:
    for asked in ({"device": "cpu"}, {"precision": "fp32"}, {"engine": "torch"}, {"engine": "openvino"}):
        assert open_classifier(weights_file, **asked).engine.startswith(asked.get("engine", "torch"))  # type: ignore[arg-type]
    assert measured == []


@pytest.mark.usefixtures("own")
def test_a_device_is_torch_s_alone(weights_file: Path, tmp_path: Path) -> None:
    for path, engine in ((tmp_path / "x.onnx", "auto"), (weights_file, "openvino")):
        with pytest.raises(TrainingError, match=r"device: cuda; .* runs on the processor"):
            open_classifier(path, engine=engine, device="cuda")


def test_an_exported_file_is_measured_without_torch_s_answers(
    weights_file: Path, tmp_path: Path, measured: list[list[Way]]
) -> None:
    from alexnet.inference.export import export

    path = tmp_path / "small.onnx"
    export(weights_file, path)
    assert open_classifier(path, precision="fp32").engine == "openvino"
    assert measured == []
    assert open_classifier(path).engine == "onnxruntime"
    assert open_classifier(path).engine == "onnxruntime"
    assert measured == [[Way(engine=name, precision="auto") for name in ("onnxruntime", "openvino")]]


@pytest.mark.usefixtures("own")
def test_a_few_pictures_are_answered_by_the_engine_that_starts_first(
    weights_file: Path, tmp_path: Path, measured: list[list[Way]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alexnet.inference.export import export

    for name in ("small.onnx", "small.xml"):
        export(weights_file, tmp_path / name)
    assert open_classifier(tmp_path / "small.onnx", pictures=FEW - 1).engine == "onnxruntime"
    assert open_classifier(tmp_path / "small.onnx", pictures=0).engine == "openvino"  # there may be many
    assert open_classifier(tmp_path / "small.onnx", pictures=1, precision="bf16").engine == "openvino"
    assert open_classifier(tmp_path / "small.xml", pictures=1).engine == "openvino"
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "onnxruntime" else True)
    assert open_classifier(tmp_path / "small.onnx", pictures=1).engine == "openvino"
    assert measured == []


@pytest.mark.usefixtures("own")
def test_where_only_torch_is_installed_nothing_is_measured(
    weights_file: Path, measured: list[list[Way]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: True if name == "torch" else None)
    assert open_classifier(weights_file).engine.startswith("torch")
    assert measured == []


def test_a_cache_that_may_not_be_entered_is_none(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied", str(own))

    for name in ("exists", "read_text", "mkdir"):  # as Python 3.11 has it; root may enter any folder
        monkeypatch.setattr(Path, name, refused)
    assert not choice.anything_kept()
    assert recall("key") is None
    remember("key", Choice(way=TORCH, run=lambda batch: RIGHT, rates={TORCH: 1.0}, left_out={}))


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise OutputError("cache folder: this user has no home folder")

    monkeypatch.setattr(choice, "cache_folder", none)
    assert not choice.anything_kept()
    assert recall("key") is None
    remember("key", Choice(way=TORCH, run=lambda batch: RIGHT, rates={TORCH: 1.0}, left_out={}))

"""Exports: what is kept answers as torch does in every engine; what does not is not kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from alexnet import ExportError, Network, OutputError, WeightsError
from alexnet.images import views
from alexnet.images.datasets import open_split
from alexnet.images.decode import decode
from alexnet.images.splits import LazyPictures, Split
from alexnet.inference import export as module
from alexnet.inference.engines import open_classifier
from alexnet.inference.export import compare, export
from alexnet.inference.graph import build
from alexnet.learning.weights import load_weights, save_weights

NAMES = ("blue", "green", "red")


@pytest.fixture
def pictures(coloured: Path) -> Split:
    return open_split(coloured, NAMES)


def logits(path: Path, engine: str, batch: np.ndarray) -> np.ndarray:
    return open_classifier(path, engine=engine, device="cpu", precision="fp32")(batch)


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "engine"), [("m.onnx", "onnxruntime"), ("m.onnx", "openvino"), ("m.xml", "openvino")]
)
def test_what_is_exported_gives_torch_s_logits_and_needs_nothing_else(
    weights_file: Path, tmp_path: Path, batch: np.ndarray, name: str, engine: str
) -> None:
    exported = export(weights_file, tmp_path / name)
    assert engine in [each.engine for each in exported.agreements]
    expected = logits(weights_file, "torch", batch)
    np.testing.assert_allclose(logits(tmp_path / name, engine, batch), expected, atol=1e-5)
    for one in batch:  # any number of pictures
        assert logits(tmp_path / name, engine, one[None]).shape == (1, 3)
    ours, theirs = (open_classifier(path, engine="auto") for path in (tmp_path / name, weights_file))
    assert (ours.network, ours.class_names, ours.view) == (theirs.network, theirs.class_names, theirs.view)
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == (["m.onnx"] if name == "m.onnx" else ["m.bin", "m.xml"])
    assert exported.size == sum(each.stat().st_size for each in files)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_weights_are_run_by_any_engine_without_a_file_between(
    weights_file: Path, batch: np.ndarray, engine: str
) -> None:
    expected = logits(weights_file, "torch", batch)
    np.testing.assert_allclose(logits(weights_file, engine, batch), expected, atol=1e-5)


def test_eight_bits_answer_nearly_as_torch_does(
    weights_file: Path, tmp_path: Path, pictures: Split, batch: np.ndarray
) -> None:
    exported = export(weights_file, tmp_path / "m.onnx", calibration=pictures, check=pictures, most_lost=0.05)
    assert exported.eight_bits
    for each in exported.agreements:
        assert each.pictures == 24
        assert each.accuracy is not None
        assert 1e-4 < each.relative < 0.1
    expected = logits(weights_file, "torch", batch)
    for engine in ("onnxruntime", "openvino"):
        found = logits(tmp_path / "m.onnx", engine, batch)
        assert 0 < abs(found - expected).max() < 0.2 * abs(expected).max()
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert "DequantizeLinear" in kinds


def test_an_exported_file_is_run_by_hand_written_code_in_plain_onnxruntime(
    weights_file: Path, tmp_path: Path, coloured: Path
) -> None:
    """The code that stands in docs/deploying.md."""
    export(weights_file, tmp_path / "model.onnx")
    text = Path("docs/deploying.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0].replace("photo.jpg", str(coloured / "red" / "00.png"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    view = open_classifier(weights_file, device="cpu").view
    picture = views.center(decode(coloured / "red" / "00.png"), view)
    values = logits(weights_file, "torch", np.array(picture[None]))[0]
    chances = np.exp(values) / np.exp(values).sum()
    name, chance = done.stdout.split()
    assert name == NAMES[int(chances.argmax())]
    assert float(chance) == pytest.approx(float(chances.max()), abs=0.02)  # resized by other means


# --- what is not kept -------------------------------------------------------------------------------------


def kept(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def doctored(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """The export builds its graph of other numbers than the file's."""

    def other(network: Network, tensors: Any, **settings: Any) -> onnx.ModelProto:
        changed = dict(tensors)
        change(changed)
        return build(network, changed, **settings)

    monkeypatch.setattr(module, "build", other)


@pytest.mark.parametrize(("by", "refused"), [(1e-6, False), (0.01, True)])
def test_float_that_disagrees_is_not_kept(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float, refused: bool
) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["fc3.weight"] = tensors["fc3.weight"] * np.float32(1 + by)
        tensors["fc3.bias"] = tensors["fc3.bias"] * np.float32(1 + by)

    doctored(monkeypatch, change)
    if not refused:
        assert export(weights_file, tmp_path / "m.onnx").agreements[0].relative < 1e-5
        return
    with pytest.raises(ExportError, match=r"differ from torch's by 0\.01 .*nothing was kept"):
        export(weights_file, tmp_path / "m.onnx")
    assert kept(tmp_path) == []


def test_eight_bits_that_lose_too_much_are_not_kept_and_the_file_before_stays(
    weights_file: Path, tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"the one before")

    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["fc3.weight"] = -tensors["fc3.weight"]

    doctored(monkeypatch, change)
    check = replace_labels(weights_file, pictures)
    with pytest.raises(ExportError, match=r"in 8 bits onnxruntime loses .*nothing was kept"):
        export(weights_file, tmp_path / "m.onnx", calibration=pictures, check=check)
    assert kept(tmp_path) == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"the one before"


def seen(weights: Path, split: Split) -> np.ndarray:
    """The pictures as the network takes them."""
    view = open_classifier(weights, device="cpu").view
    return np.stack([views.center(split.pictures[index], view) for index in range(len(split))])


def replace_labels(weights: Path, split: Split) -> Split:
    """With what torch answers as the truth, so that it has all of them right."""
    return replace(split, labels=logits(weights, "torch", seen(weights, split)).argmax(axis=1))


def test_a_layer_that_costs_too_much_in_eight_bits_stays_in_float(
    weights_file: Path, tmp_path: Path, pictures: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fc2's largest weights are for a unit that is always off: in steps of their 127th the others are 0."""
    weights = load_weights(weights_file)
    with torch.no_grad():
        weights.model.get_parameter("fc1.weight")[0] = 0.0
        weights.model.get_parameter("fc1.bias")[0] = -1.0
        weights.model.get_parameter("fc2.weight")[:, 0] = 1000.0
        save_weights(tmp_path / "w.safetensors", weights)
        answers = torch.from_numpy(logits(tmp_path / "w.safetensors", "torch", seen(weights_file, pictures)))
        weights.model.get_parameter("fc3.bias").sub_(answers.median(dim=0).values)  # all classes are answered
    save_weights(tmp_path / "w.safetensors", weights)
    check = replace_labels(tmp_path / "w.safetensors", pictures)
    assert len(set(check.labels.tolist())) == 3
    path = tmp_path / "m.onnx"
    exported = export(tmp_path / "w.safetensors", path, calibration=pictures, check=check, most_lost=0.3)
    assert exported.in_float == ("fc2",)
    kept = path.read_bytes()
    lossy = replace(exported.agreements[0], accuracy=0.5, accuracy_of_torch=0.75, pictures=24)
    monkeypatch.setattr(module, "compare", lambda *_: lossy)
    told = "loses 25.00% of 24 pictures; at most 0.00% may be lost; nothing was kept"
    with pytest.raises(ExportError, match=told):
        export(tmp_path / "w.safetensors", path, calibration=pictures, check=check, most_lost=0.0)
    assert path.read_bytes() == kept


def test_a_full_disk_leaves_nothing_behind(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"m\.xml: cannot be written: No space left"):
        export(weights_file, tmp_path / "m.xml")
    assert kept(tmp_path) == []


def test_other_endings_other_files_and_missing_folders_are_refused(
    weights_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"m\.tflite: .*must end in \.onnx or \.xml"):
        export(weights_file, tmp_path / "m.tflite")
    (tmp_path / "w.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"w\.safetensors: "):
        export(tmp_path / "w.safetensors", tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"m\.XML: .*must end in \.onnx or \.xml"):
        export(weights_file, tmp_path / "m.XML")
    begun: list[str] = []
    with pytest.raises(OutputError, match=r"none/m\.onnx: cannot be written: No such folder"):
        export(weights_file, tmp_path / "none" / "m.onnx", on_progress=begun.append)
    (tmp_path / "d.onnx").mkdir()
    with pytest.raises(OutputError, match=r"d\.onnx: cannot be written: Is a folder"):
        export(weights_file, tmp_path / "d.onnx", on_progress=begun.append)
    with pytest.raises(OutputError, match=r"/proc/m\.onnx: cannot be written: "):
        export(weights_file, "/proc/m.onnx", on_progress=begun.append)
    assert begun == []  # it is told before the work


def test_what_is_compared_is_the_difference_the_answers_and_the_truth() -> None:
    reference = np.array([[1.0, 2.0, -4.0], [3.0, 0.0, 0.0]], np.float32)
    found = np.array([[2.5, 2.0, -4.0], [3.0, 0.1, 0.0]], np.float32)
    agreement = compare("onnxruntime", found, reference, np.array([1, 0]))
    assert (agreement.difference, agreement.relative) == (1.5, 0.375)
    assert (agreement.same_answers, agreement.accuracy, agreement.accuracy_of_torch) == (0.5, 0.5, 1.0)
    assert agreement.lost == 0.5
    assert compare("onnxruntime", found, reference, None).lost == 0.5


def test_an_onnx_file_that_is_not_ours_or_damaged_is_refused(weights_file: Path, tmp_path: Path) -> None:
    export(weights_file, tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for engine in ("onnxruntime", "openvino"):
        (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match=r"cut\.onnx: "):
            open_classifier(tmp_path / "cut.onnx", engine=engine)
        foreign = onnx.load(tmp_path / "m.onnx")
        del foreign.metadata_props[:]
        onnx.save(foreign, tmp_path / "foreign.onnx")
        with pytest.raises(WeightsError, match=r"foreign\.onnx: carries no network"):
            open_classifier(tmp_path / "foreign.onnx", engine=engine)
        with pytest.raises(WeightsError, match=r"none\.onnx: cannot be read: No such file"):
            open_classifier(tmp_path / "none.onnx", engine=engine)


def test_the_figures_are_json(weights_file: Path, tmp_path: Path) -> None:
    found = json.loads(json.dumps(export(weights_file, tmp_path / "m.onnx").to_dict()))
    assert found["size"] == (tmp_path / "m.onnx").stat().st_size
    assert (found["eight_bits"], found["in_float"]) == (False, [])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_signals_are_handled_after_classifiers_have_gone(weights_file: Path, engine: str) -> None:
    """A process of its own, as what could go wrong ends it."""
    code = f"""
import gc, os, signal
import numpy as np
from alexnet.inference.engines import open_classifier
first, second = (open_classifier({str(weights_file)!r}, engine={engine!r}) for _ in range(2))
for classifier in (first, second):
    classifier(np.zeros((2, 24, 24, 3), np.uint8))
del classifier, first
gc.collect()
del second
gc.collect()
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
os.kill(os.getpid(), signal.SIGTERM)
print(caught)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr


def test_pictures_that_are_odd_or_left_out_are_told(
    weights_file: Path, pictures: Split, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    odd = Split(
        pictures=LazyPictures([broken, *map(Path, pictures.names)], decode),
        labels=np.concatenate([[0], pictures.labels]),
        names=[str(broken), *pictures.names],
        warnings=("divided anew",),
    )
    told: list[str] = []
    export(weights_file, tmp_path / "m.onnx", check=odd, calibration=odd, on_progress=told.append)
    assert told.count("divided anew") == 1
    (left_out, again) = [each for each in told if "left out" in each]
    assert left_out == again
    assert left_out.startswith(f"1 of {len(odd)} cannot be read and are left out: {broken}: ")

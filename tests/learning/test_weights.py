"""Weights files: written, read back, and all that must be refused, each made by other means than ours."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alexnet import NETWORKS, Dense, Flatten, Network, OutputError, WeightsError, edit, read_network
from alexnet.images.views import View
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, load_weights, save_weights, torch_classifier
from alexnet.learning.weights_file import FORMAT, read_weights_file, tensor_shapes

NAMES = ("blue", "green", "red")


def described_in(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        described: dict[str, Any] = json.loads(file.metadata()["alexnet"])
    return described


def logits(weights: Weights, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return torch_classifier(weights, device=torch.device("cpu"), precision=torch.float32)(batch)


@pytest.fixture
def batch() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)


def test_a_model_comes_back_bit_for_bit(small: Network, tmp_path: Path, batch: np.ndarray[Any, Any]) -> None:
    model = AlexNet(small, mean=[1.5, 2.5, 3.5], scale=[60.0, 61.0, 62.0])
    weights = Weights(model=model, class_names=NAMES, view=View.of(24, 24), metrics={"epoch": 3})
    save_weights(tmp_path / "w.safetensors", weights)
    back = load_weights(tmp_path / "w.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], tensor), name
    np.testing.assert_array_equal(logits(back, batch), logits(weights, batch))
    assert (back.model.network, back.class_names, back.view) == (small, NAMES, View.of(24, 24))
    assert back.metrics == {"epoch": 3}
    assert not back.model.training


def test_a_file_that_was_read_and_written_again_is_the_same(weights_file: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "again.safetensors", load_weights(weights_file))
    assert load_file(tmp_path / "again.safetensors").keys() == load_file(weights_file).keys()
    assert described_in(tmp_path / "again.safetensors") == described_in(weights_file)
    assert (tmp_path / "again.safetensors").stat().st_size == weights_file.stat().st_size


def test_a_file_says_all_that_is_needed_to_use_it(weights_file: Path, small: Network) -> None:
    described = described_in(weights_file)
    assert described["format"] == FORMAT
    assert described["class_names"] == list(NAMES)
    # 24 pixels of 256/227 of them, as in the paper: 27.07
    assert described["view"] == {"height": 24, "width": 24, "resize": 27}
    assert described["metrics"] == {"validation_top1": 0.5}
    assert described["network"]["input"] == [24, 24, 3]
    assert read_network(weights_file) == small


def test_class_names_of_any_script_come_back(small: Network, tmp_path: Path) -> None:
    names = ("Füchse & Dachse", "犬", 'a "quoted"\nname')
    weights = Weights(model=AlexNet(small), class_names=names, view=View.of(24, 24), metrics={})
    save_weights(tmp_path / "w.safetensors", weights)
    assert load_weights(tmp_path / "w.safetensors").class_names == names


def test_a_file_that_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    """Its first bytes are the length of what follows: 0x0480 is 1,152."""
    network = Network(name="t", input=(2, 2, 3), layers=(Flatten(name="flat"), Dense(name="fc", units=2)))
    path, model = tmp_path / "w.safetensors", AlexNet(network)
    for length in range(1, 1_000, 8):  # it is filled up to eights
        names = ("a" * length, "b")
        save_weights(path, Weights(model=model, class_names=names, view=View.of(2, 2), metrics={}))
        if path.read_bytes().startswith(b"\x80\x04"):
            break
    assert path.read_bytes().startswith(b"\x80\x04")
    assert load_weights(path).class_names == names


def test_a_trained_and_laid_out_kernel_is_written_in_torch_s_usual_order(weights_file: Path) -> None:
    """Any reader of safetensors gets conv1 as (filters, depth, height, width)."""
    kernel = load_file(weights_file)["conv1.weight"]
    assert kernel.shape == (8, 3, 5, 5)
    assert torch.equal(kernel, load_weights(weights_file).model.get_parameter("conv1.weight"))


def test_a_file_is_read_without_torch_to_the_same_numbers(weights_file: Path) -> None:
    description, tensors = read_weights_file(weights_file)
    weights = load_weights(weights_file)
    assert description == weights.description
    for name, tensor in weights.model.state_dict().items():
        np.testing.assert_array_equal(tensors[name], tensor.numpy())
    code = "import sys, alexnet.learning.weights_file; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shapes_that_a_file_must_have_are_those_of_the_model(name: str) -> None:
    with torch.device("meta"):
        tensors = AlexNet(NETWORKS[name]).state_dict()
    assert tensor_shapes(NETWORKS[name]) == {name: tuple(each.shape) for name, each in tensors.items()}


# --- what must be refused ---------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """The error's message, which is one line and begins with the file."""
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]


@pytest.fixture
def changed(weights_file: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of the weights file, written by safetensors itself, with something changed in it."""

    def changed(change: Change) -> Path:
        tensors, described = load_file(weights_file), described_in(weights_file)
        change(tensors, described)
        path = tmp_path / "changed.safetensors"
        save_file(tensors, path, metadata={"alexnet": json.dumps(described)})
        return path

    return changed


def test_a_copy_with_nothing_changed_is_read(changed: Callable[[Change], Path]) -> None:
    assert load_weights(changed(lambda tensors, described: None)).class_names == NAMES


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.safetensors")
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"not weights, just text that goes on for more than eight bytes",
        b"\xff" * 64,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 10_000_000) + b"{",
        struct.pack("<Q", 6) + b"[1, 2]",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 100,
    ],
    ids=["empty", "one byte", "text", "ff", "no tensors", "header beyond the end", "a list", "png"],
)
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refused(path)


def test_a_file_that_is_cut_short_anywhere_is_refused(weights_file: Path, tmp_path: Path) -> None:
    whole = weights_file.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    path = tmp_path / "cut.safetensors"
    for length in {
        0,
        1,
        7,
        8,
        9,
        header // 2,
        header - 1,
        header,
        header + 1,
        len(whole) // 2,
        len(whole) - 1,
    }:
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"x")
    refused(path)


class Boom:
    """Unpickling one of these would leave a trace."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_is_refused_and_never_opened(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"boom": Boom(str(tmp_path / "ran"))}, path, _use_new_zipfile_serialization=zipped)
    assert "pickle" in refused(path)
    assert not (tmp_path / "ran").exists()


def test_the_guard_of_pickles_can_fail(tmp_path: Path) -> None:
    torch.save({"boom": Boom(str(tmp_path / "ran"))}, tmp_path / "model.pt")
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, {"alexnet": "{"}, {"alexnet": ""}],
    ids=["none", "pt", "cut", "empty"],
)
def test_a_safetensors_file_of_another_program_is_refused(
    metadata: dict[str, str] | None, weights_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file(load_file(weights_file), path, metadata=metadata)
    assert "carries no network" in refused(path)


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "3", '"text"', "{}", '{"format": 1}', "NaN", "[" * 100_000],
    ids=["list", "null", "number", "text", "empty", "format only", "nan", "deep"],
)
def test_a_description_that_is_none_is_refused(text: str, weights_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    save_file(load_file(weights_file), path, metadata={"alexnet": text})
    refused(path)


def test_another_number_of_classes_is_refused(changed: Callable[[Change], Path]) -> None:
    message = refused(changed(lambda tensors, described: described["class_names"].append("yellow")))
    assert "4 class names for 3 classes" in message


def test_a_head_of_another_size_is_refused(changed: Callable[[Change], Path]) -> None:
    def change(tensors: dict[str, torch.Tensor], described: dict[str, Any]) -> None:
        tensors["fc3.weight"], tensors["fc3.bias"] = torch.zeros(10, 16), torch.zeros(10)

    message = refused(changed(change))
    assert "[10, 16]" in message
    assert "[3, 16]" in message


def renamed(tensors: dict[str, torch.Tensor], described: dict[str, Any], name: str) -> None:
    """The first layer, in the network and its tensors."""
    described["network"]["layers"][0]["name"] = name
    for part in ("weight", "bias"):
        tensors[f"{name}.{part}"] = tensors.pop(f"conv1.{part}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors, described: tensors.pop("conv2.bias"), "'conv2.bias' is missing"),
        (lambda tensors, described: tensors.update(extra=torch.zeros(1)), "'extra' is not the network's"),
        (lambda tensors, described: tensors.update({"conv1.bias": torch.zeros(9)}), r"'conv1.bias': [9]"),
        (
            lambda tensors, described: tensors.update({"conv1.bias": torch.zeros(8, dtype=torch.float16)}),
            "F16",
        ),
        (
            lambda tensors, described: tensors["conv2.weight"][0].fill_(torch.nan),
            "'conv2.weight': has values",
        ),
        (lambda tensors, described: tensors["fc3.bias"][-1:].fill_(-torch.inf), "that are not finite"),
        (lambda tensors, described: described.update(format=FORMAT + 1), "update alexnet"),
        (lambda tensors, described: described.update(format="one"), "damaged"),
        (lambda tensors, described: described.pop("view"), "damaged"),
        (lambda tensors, described: described.update(view=[24]), ""),
        (lambda tensors, described: described["view"].update(height=0), "height"),
        (lambda tensors, described: described["view"].update(height=23), "view of 23x24"),
        (lambda tensors, described: described.update(network=None), ""),
        (lambda tensors, described: described["network"]["layers"].pop(0), ""),
        (lambda tensors, described: described["network"]["layers"][0].update(kernel=99), "does not fit"),
        (lambda tensors, described: described["network"]["layers"][0].update(kind="attention"), "attention"),
        (lambda tensors, described: renamed(tensors, described, "train"), "torch's own"),
        (lambda tensors, described: described["network"]["layers"][6].update(units=10**30), ""),
        (lambda tensors, described: described.update(metrics=7), "damaged"),
        (lambda tensors, described: described.update(class_names=None), "damaged"),
    ],
    ids=[
        *("missing", "foreign", "shape", "dtype", "not a number", "infinite", "newer", "format text"),
        *("no view", "view list"),
        *("view 0", "other view", "no network", "layer gone", "misfit", "unknown kind", "torch's name"),
        *("units beyond any machine", "metrics", "no class names"),
    ],
)
def test_a_file_that_disagrees_with_itself_is_refused(
    change: Change, words: str, changed: Callable[[Change], Path]
) -> None:
    assert words in refused(changed(change))


# --- a disk that is full ----------------------------------------------------------------------------------


def full(_handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_an_existing_file_whole_and_nothing_beside_it(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_file.read_bytes())
    weights = load_weights(path)
    with torch.no_grad():
        weights.model.get_parameter("fc3.bias").add_(1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"w\.safetensors: cannot be written: No space left"):
        save_weights(path, weights)
    assert path.read_bytes() == weights_file.read_bytes()
    assert [child.name for child in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_guard_of_a_full_disk_can_fail(weights_file: Path, tmp_path: Path) -> None:
    """Without a full disk the same change does reach the file."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_file.read_bytes())
    weights = load_weights(path)
    with torch.no_grad():
        weights.model.get_parameter("fc3.bias").add_(1)
    save_weights(path, weights)
    assert path.read_bytes() != weights_file.read_bytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_are_rounded_once_answer_as_those_rounded_at_every_call(name: str) -> None:
    network = NETWORKS[name]
    hidden = [layer.name for layer in network.layers if isinstance(layer, Dense)][:-1]
    network = edit(network, "classes=7", *(f"{each}.units=24" for each in hidden))
    torch.manual_seed(0)
    model = AlexNet(network, mean=[100.0, 110.0, 120.0], scale=[50.0, 60.0, 70.0]).eval()
    batch = np.random.default_rng(0).integers(0, 256, (2, *network.input), dtype=np.uint8)
    with torch.inference_mode():
        expected = FusedForward(model, precision=torch.bfloat16).eval()(torch.from_numpy(batch))
    weights = Weights(
        model=model,
        class_names=tuple("abcdefg"),
        view=View.of(*network.input[:2]),
        metrics={},
    )
    classifier = torch_classifier(weights, device=torch.device("cpu"), precision=torch.bfloat16)
    np.testing.assert_array_equal(classifier(batch), expected.float().numpy())
    assert {each.dtype for each in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_an_exported_file_is_told_as_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"<?xml version='1.0'?>" * 9)
    with pytest.raises(WeightsError, match="an exported file; must be weights"):
        load_weights(path)

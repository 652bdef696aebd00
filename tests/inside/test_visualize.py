"""`alexnet visualize` as it is used: what lies in the folder, what the page says, how it refuses."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from alexnet import NETWORKS, from_toml
from alexnet.cli import app
from alexnet.images.views import View, read_centre
from alexnet.inside.attribution import grad_cam
from alexnet.inside.visualize import visualize
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, load_weights, save_weights

WITHOUT_VOLUMES = """
name = "lines"
input = [8, 8, 3]

[[layers]]
kind = "flatten"
name = "flat"

[[layers]]
kind = "dense"
name = "fc"
units = 2
"""


def alexnet(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="alexnet")


def refused(*arguments: str | Path) -> str:
    result = alexnet(*arguments)
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines)) == (2, 1), result.output
    return lines[0]


@pytest.fixture(scope="module")
def seen(weights_file: Path, coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """What is seen of a red picture, with patches from all; not to be written to."""
    folder = tmp_path_factory.mktemp("seen") / "out"
    picture = coloured / "red" / "00.png"
    arguments = ("--data", coloured, "--label", "green", "--filters", "4", "--device", "cpu")
    return folder, alexnet("visualize", weights_file, picture, "-o", folder, *arguments)


LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2", "flatten", "fc1", "relu3", "fc2", "relu4", "fc3"]


def test_the_folder_holds_a_picture_of_everything_and_the_page(seen: tuple[Path, Result]) -> None:
    folder, result = seen
    assert result.exit_code == 0, result.output
    expected = {
        *("picture", "grad-cam", "occlusion", "integrated-gradients", "kernels-conv1", "patches-conv2"),
        *(f"maps-{layer}" for layer in ("normalize", *LAYERS)),
    }
    assert {path.stem for path in folder.glob("*.png")} == expected
    assert {path.name for path in folder.iterdir()} == {"inside.html", *(f"{name}.png" for name in expected)}
    printed = result.stdout.split()
    assert all(str(path) in printed for path in folder.iterdir())
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_the_page_needs_nothing_else_and_says_what_it_shows(
    seen: tuple[Path, Result], weights_file: Path, coloured: Path
) -> None:
    text = (seen[0] / "inside.html").read_text(encoding="utf-8")
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) == 6 + 1 + len(LAYERS)
    assert all('src="data:image/' in each and 'alt="' in each for each in images)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "<script" not in text
    words = unescape(re.sub(r"<[^>]+>", " ", text))
    weights = load_weights(weights_file)
    crop = read_centre(coloured / "red" / "00.png", view=weights.view)
    with torch.no_grad():
        logits = weights.model.eval()(torch.from_numpy(crop.copy())[None])[0]
    for name, logit, share in zip(weights.class_names, logits, logits.softmax(0), strict=True):
        assert re.search(rf"{name}\s+{share:.1%}\s+{logit:.2f}\b", words)
    assert re.search(r"asked about\s+green", words)
    largest = grad_cam(weights.model, crop, label=1, layer="relu2").max()
    assert f"relu2, 4x4 values, up to {largest:.3g}" in words
    assert "24 pictures" in words
    assert "4 of 12 filters, windows of 17 pixels" in words


def test_what_is_printed_as_json_says_the_same(weights_file: Path, coloured: Path, tmp_path: Path) -> None:
    picture = coloured / "blue" / "01.png"
    result = alexnet("visualize", weights_file, picture, "-o", tmp_path / "out", "--format", "json")
    told = json.loads(result.stdout)
    assert told["image"] == str(picture)
    assert told["layer"] == "relu2"
    assert told["explained"] == told["labels"][0]["name"]
    assert sorted(told["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert told["files"][0] == "inside.html"
    assert sum(each["probability"] for each in told["labels"]) == pytest.approx(1, abs=1e-5)


def test_bad_input_is_one_line_and_nothing_is_written(
    weights_file: Path, coloured: Path, tmp_path: Path
) -> None:
    picture, out = coloured / "red" / "00.png", tmp_path / "out"
    broken, empty, file = tmp_path / "broken.png", tmp_path / "empty", tmp_path / "file"
    broken.write_bytes(b"none")
    empty.mkdir()
    file.touch()
    ask = ("visualize", weights_file, picture, "-o", out)
    assert "label 'gren': not a class of these weights; did you mean 'green'?" in refused(
        *ask, "--label", "gren"
    )
    assert "Layer 'fc1'" in refused(*ask, "--layer", "fc1")
    assert "'relu9'" in refused(*ask, "--layer", "relu9")
    assert "filters: 0; must be at least 1" in refused(*ask, "--filters", "0")
    assert "no pictures in this folder" in refused(*ask, "--data", empty)
    assert "broken.png" in refused("visualize", weights_file, broken, "-o", out)
    assert "gone.png" in refused("visualize", weights_file, tmp_path / "gone.png", "-o", out)
    assert "a file; must be a folder" in refused("visualize", weights_file, picture, "-o", file)
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"broken.png", "empty", "file"}


def test_a_folder_is_of_one_look_and_of_nothing_else(
    weights_file: Path, coloured: Path, tmp_path: Path
) -> None:
    picture, out, own = coloured / "red" / "00.png", tmp_path / "out", tmp_path / "own"
    ask = ("visualize", weights_file, picture, "-o")
    assert alexnet(*ask, out, "--data", coloured).exit_code == 0
    (out / "notes.txt").write_text("mine")
    assert "patches-conv2.png" in {path.name for path in out.iterdir()}
    result = alexnet(*ask, out, "--format", "json")
    assert {path.name for path in out.iterdir()} == {*json.loads(result.stdout)["files"], "notes.txt"}
    assert "patches-conv2.png" not in {path.name for path in out.iterdir()}
    own.mkdir()
    (own / "picture.png").write_bytes(b"mine")
    assert f"{own}: not empty, and no inside.html in it; must be a folder of its own" in refused(*ask, own)
    assert [path.read_bytes() for path in own.iterdir()] == [b"mine"]


def test_what_is_found_unreadable_late_leaves_the_folder_as_it_was(
    weights_file: Path, coloured: Path, tmp_path: Path
) -> None:
    picture, out, pictures = coloured / "red" / "00.png", tmp_path / "out", tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "broken.png").write_bytes(b"none")
    out.mkdir()
    (out / "inside.html").write_text("before")
    told = alexnet("visualize", weights_file, picture, "-o", out, "--data", pictures)
    assert told.exit_code == 2
    assert "none of 1 pictures can be read" in told.stderr.splitlines()[-1]
    assert [path.name for path in out.iterdir()] == ["inside.html"]
    assert (out / "inside.html").read_text() == "before"


def test_a_network_without_volumes_is_shown_without_what_it_lacks(coloured: Path, tmp_path: Path) -> None:
    model = AlexNet(from_toml(WITHOUT_VOLUMES))
    weights = Weights(model=model, class_names=("a", "b"), view=View.of(8, 8), metrics={})
    told: list[str] = []
    photo = coloured / "red" / "00.png"
    made = visualize(weights, photo, output=tmp_path / "out", data=coloured, on_note=told.append)
    assert made.layer is None
    assert any("what excites filters is left out" in each for each in told)
    assert set(made.files) == {
        *("inside.html", "picture.png", "occlusion.png", "integrated-gradients.png"),
        *("maps-normalize.png", "maps-flat.png", "maps-fc.png"),
    }


@pytest.mark.slow
def test_the_network_of_two_towers_is_looked_into(
    coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NETWORKS["paper"].with_classes(3)
    weights = Weights(model=AlexNet(network), class_names=("a", "b", "c"), view=View.of(227, 227), metrics={})
    file = tmp_path / "weights.safetensors"
    save_weights(file, weights)
    # The windows of occlusion are the bulk of the time, and are tried elsewhere.
    monkeypatch.setattr("alexnet.inside.visualize._WINDOWS", 2)
    monkeypatch.setattr("alexnet.inside.visualize._STEPS", 2)
    made = visualize(load_weights(file), coloured / "red" / "00.png", output=tmp_path / "out")
    with Image.open(tmp_path / "out" / "kernels-conv1.png") as image:
        assert np.asarray(image).std() > 10
    assert {f"maps-{layer.name}.png" for layer in network.layers} <= set(made.files)

"""A network of every layer kind with its weights, two pictures of it, and a browser where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from alexnet import NOTES, from_toml
from alexnet.explorer.explore import open_gallery
from alexnet.explorer.gallery import Gallery
from alexnet.explorer.site import write_site
from alexnet.images.views import View
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, save_weights, untrained_weights

EVERY_KIND = """
name = "every kind"
input = [28, 28, 3]

[[layers]]
kind = "conv"
name = "conv1"
filters = 8
kernel = 5
stride = 2
padding = 2

[[layers]]
kind = "relu"
name = "relu1"

[[layers]]
kind = "lrn"
name = "norm1"
alpha = 0.5
mean = false

[[layers]]
kind = "maxpool"
name = "pool1"
kernel = 3
stride = 2
padding = 1

[[layers]]
kind = "conv"
name = "conv2"
filters = 6
kernel = 3
groups = 2
padding = 1
extra_padding = 1

[[layers]]
kind = "adaptiveavgpool"
name = "pool2"
size = 4

[[layers]]
kind = "flatten"
name = "flat"

[[layers]]
kind = "dropout"
name = "drop"

[[layers]]
kind = "dense"
name = "fc1"
units = 10

[[layers]]
kind = "relu"
name = "relu2"

[[layers]]
kind = "dense"
name = "fc2"
units = 3
"""


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network with a layer of every kind; not to be written to."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AlexNet(from_toml(EVERY_KIND))
        with torch.no_grad():
            for name, values in model.named_parameters():
                if name.endswith("bias"):
                    values.normal_()
    weights = Weights(model=model, class_names=("cat", "dog", "owl"), view=View.of(28, 28), metrics={})
    path = tmp_path_factory.mktemp("every") / "every.safetensors"
    save_weights(path, weights)
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pictures of random pixels, larger than the view; not to be written to."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    paths = [folder / "one.png", folder / "two.png"]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="session")
def notes_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the notes' network for ten classes; not to be written to."""
    path = tmp_path_factory.mktemp("notes") / "notes.safetensors"
    save_weights(path, untrained_weights(NOTES.with_classes(10)))
    return path


@pytest.fixture
def gallery(every_kind: Path, photographs: list[Path]) -> Gallery:
    return open_gallery([every_kind], photographs)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as Debian has it; tests that need it are skipped where it is not installed.

    It closes with its module: while it is open, an event loop runs, and asyncio.run cannot.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed; Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        # As root, chromium starts without its sandbox only; the pages are this project's own.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *camera])
        yield opened
        opened.close()


LONG = "a_name_that_goes_on_and_on_" * 6

WIDE = f"""
name = "wide"
input = [20, 40, 3]

[[layers]]
kind = "conv"
name = "{LONG}"
filters = 100
kernel = 3

[[layers]]
kind = "flatten"
name = "flat"

[[layers]]
kind = "dense"
name = "fc1"
units = 2
"""


@pytest.fixture
def wide_site(photographs: list[Path], tmp_path: Path) -> str:
    """The address, as files, of a network of a wide picture with many maps and with names that are long."""
    with torch.random.fork_rng():
        weights = untrained_weights(from_toml(WIDE))
    named = replace(weights, class_names=("x" * 200, "y" * 200), view=View.of(20, 40))
    save_weights(tmp_path / "wide.safetensors", named)
    return write_site(open_gallery([tmp_path / "wide.safetensors"], photographs[:1]), tmp_path / "site")[
        0
    ].as_uri()

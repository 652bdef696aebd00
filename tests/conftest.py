"""What several test files need: a small network, folders of coloured pictures, a weights file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

import alexnet
from alexnet import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
)
from alexnet.images.cache import cache_folder
from alexnet.images.views import View
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, save_weights

# A shell starts what is to run behind it so that it does not hear Ctrl-C; what is tested here does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COLOURS = {"blue": (40, 50, 210), "green": (40, 200, 60), "red": (220, 40, 30)}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep decoded pictures out of the user's cache; of what is there, only Fashion-MNIST is to be seen."""
    folder, fetched = tmp_path_factory.mktemp("cache"), cache_folder() / "fashion-mnist"
    if fetched.exists():
        (folder / "fashion-mnist").symlink_to(fetched, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALEXNET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def small() -> Network:
    """24x24 pixels, two convolutions, three fully connected layers, three classes: milliseconds a step."""
    return Network(
        name="small",
        source="tests/conftest.py",
        input=(24, 24, 3),
        layers=(
            Conv(name="conv1", filters=8, kernel=5, stride=2),
            ReLU(name="relu1"),
            MaxPool(name="pool1", kernel=3, stride=2),
            Conv(name="conv2", filters=12, kernel=3, padding=1),
            ReLU(name="relu2"),
            Flatten(name="flatten"),
            Dense(name="fc1", units=24),
            ReLU(name="relu3"),
            Dense(name="fc2", units=16),
            ReLU(name="relu4"),
            Dense(name="fc3", units=3),
        ),
    )


@pytest.fixture(scope="session")
def pooled(small: Network) -> Network:
    """The small network with a second pooling, before it is flattened: sides 24, 10, 4, 4, 2."""
    layers = list(small.layers)
    layers.insert(5, MaxPool(name="pool2", kernel=2, stride=2))
    return replace(small, layers=tuple(layers))


@pytest.fixture(scope="session")
def paint() -> Callable[..., Path]:
    """Make a folder of class folders: noisy blue, green and red PNGs of 30 x 40 pixels."""

    def paint(folder: Path, *, count: int = 8, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
        random = np.random.default_rng(0)
        for name in classes:
            (folder / name).mkdir(parents=True)
            for index in range(count):
                noise = random.integers(-30, 31, (30, 40, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{index:02}.png")
        return folder

    return paint


@pytest.fixture(scope="session")
def coloured(paint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of each of three classes, in class folders; not to be written to."""
    return paint(tmp_path_factory.mktemp("pictures") / "coloured")


@pytest.fixture(scope="session")
def weights_file(small: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the small network for the coloured pictures; not to be written to."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlexNet(small, mean=[100.0, 110.0, 120.0], scale=[60.0, 61.0, 62.0])
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    weights = Weights(
        model=model, class_names=tuple(COLOURS), view=View.of(24, 24), metrics={"validation_top1": 0.5}
    )
    save_weights(path, weights)
    return path


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    whole = st.integers(1, 6)
    layers: list[Layer] = []
    rounding = st.sampled_from(("down", "up"))
    for i in range(draw(st.integers(0, 5))):
        kernel = draw(st.integers(1, 7))
        match draw(st.sampled_from(("conv", "pool", "relu", "adaptive", "lrn", "dropout"))):
            case "conv":
                groups = draw(st.sampled_from((1, 1, 2)))
                numbers = {
                    "filters": draw(whole) * groups,
                    "groups": groups,
                    "kernel": kernel,
                    "stride": draw(whole),
                    "padding": draw(st.integers(0, 4)),
                    "extra_padding": draw(st.integers(0, 3)),
                }
                layers.append(Conv(name=f"c{i}", rounding=draw(rounding), **numbers))
            case "pool":
                numbers = {
                    "kernel": kernel,
                    "stride": draw(whole),
                    "padding": draw(st.integers(0, kernel // 2)),
                }
                layers.append(MaxPool(name=f"p{i}", rounding=draw(rounding), **numbers))
            case "adaptive":
                layers.append(AdaptiveAvgPool(name=f"a{i}", size=draw(whole)))
            case "lrn":
                layers.append(LocalResponseNorm(name=f"n{i}", size=draw(whole)))
            case "dropout":
                layers.append(Dropout(name=f"d{i}"))
            case _:
                layers.append(ReLU(name=f"r{i}"))
    layers += [Flatten(name="flat"), *(Dense(name=f"fc{i}", units=draw(whole)) for i in range(2))]
    sides = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    return Network(name="random", input=sides, layers=tuple(layers))


@pytest.fixture(scope="session")
def random_networks() -> st.SearchStrategy[Network]:
    """Networks of every layer kind, many of which do not fit."""
    return _networks()


@pytest.fixture(scope="session")
def python() -> tuple[list[str], dict[str, str]]:
    """How to start a Python that finds this alexnet: the command's beginning and its environment."""
    source = str(Path(alexnet.__file__).parents[1])
    return [sys.executable, "-W", "error"], {**os.environ, "PYTHONPATH": source, "COLUMNS": "100"}

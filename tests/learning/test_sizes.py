"""Training on small pictures first: sizes by hand, the last pooling by loops, a run seen from its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alexnet import NETWORKS, NOTES, Conv, Dense, Flatten, Network, TrainingError, edit
from alexnet.images.datasets import open_dataset
from alexnet.learning import loop
from alexnet.learning.fused import FusedForward
from alexnet.learning.loop import History
from alexnet.learning.model import AlexNet
from alexnet.learning.progress import Limit
from alexnet.learning.recipe import DEFAULT, Recipe
from alexnet.learning.sizes import GROWN, last_pool, picture_sizes, size_at, work_done
from alexnet.learning.state import load_state
from alexnet.learning.step import training_step
from alexnet.learning.train import train

RECIPE = Recipe(batch_size=6, learning_rate=0.02, averaging=0.9, cutmix=0.5, build_up=2.0, smallest_side=0.5)
EPOCHS, STEPS = 5, 4  # of 24 pictures


# --- which sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "smallest", "sides"),
    [
        # 4 x 2 x 2 x 2 pixels lie between neighbours of the last map.
        ("notes", 0.5, [163, 195, 227]),
        ("notes", 163 / 227, [163, 195, 227]),
        ("notes", 0.72, [195, 227]),
        ("notes", 1.0, [227]),
        (
            "notes",
            0.001,
            [163, 195, 227],
        ),  # at 131 conv3 gives 3x3, conv4 1x1, and conv5's window does not fit
        ("paper", 0.5, [131, 163, 195, 227]),
        ("torchvision", 0.6, [160, 192, 224]),
        ("vgg16", 0.5, [128, 160, 192, 224]),  # five poolings by 2
        ("small", 0.5, [16, 24, 32]),  # three poolings by 2
    ],
)
def test_sizes_are_as_far_apart_as_values_of_the_last_map(
    name: str, smallest: float, sides: list[int]
) -> None:
    assert picture_sizes(NETWORKS[name], smallest=smallest) == tuple((side, side) for side in sides)


def test_an_oblong_picture_loses_as_much_of_both_sides() -> None:
    network = edit(NETWORKS["paper"], "input=227x291")
    assert picture_sizes(network, smallest=0.7) == ((163, 227), (195, 259), (227, 291))


def test_a_network_that_does_not_end_in_a_pooling_has_one_size(small: Network) -> None:
    assert last_pool(small) is None  # conv2 is flattened
    assert picture_sizes(small, smallest=0.1) == ((24, 24),)
    only = Network(name="d", input=(8, 8, 3), layers=(Flatten(name="f"), Dense(name="fc", units=2)))
    assert picture_sizes(only, smallest=0.1) == ((8, 8),)
    convolutions = Network(name="c", input=(8, 8, 3), layers=(Conv(name="c", filters=2, kernel=8),))
    assert picture_sizes(convolutions, smallest=0.1) == ((8, 8),)


def test_they_grow_in_equal_parts_and_the_last_fifth_has_the_network_s_own() -> None:
    sizes = picture_sizes(NOTES, smallest=0.7)
    sides = [size_at(sizes, share)[0] for share in np.arange(0.005, 1, 0.01)]  # in the middles of hundredths
    assert sides == 40 * [163] + 40 * [195] + 20 * [227]
    assert size_at(sizes, 1.0) == (227, 227)
    assert {size_at(((24, 24),), share) for share in (0.0, 0.5, 1.0)} == {(24, 24)}


@pytest.mark.parametrize("smallest", [0.5, 0.8, 1.0])
def test_the_work_done_is_the_sum_of_the_steps_pixels(smallest: float) -> None:
    sizes = picture_sizes(NETWORKS["paper"], smallest=smallest)
    steps = 1000
    pixels = np.cumsum([size_at(sizes, (step + 0.5) / steps)[0] ** 2 for step in range(steps)])
    for done in (1, 250, 400, 799, 800, 1000):
        assert work_done(sizes, done / steps) == pytest.approx(pixels[done - 1] / pixels[-1], abs=1e-3)
    assert work_done(sizes, 0.0) == 0.0


def test_the_time_that_is_left_counts_the_larger_pictures_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit(epochs=10, seconds=None, steps_an_epoch=10, started=0.0, validation_seconds=5.0)
    monkeypatch.setattr("alexnet.learning.progress.perf_counter", lambda: 20.0)
    assert limit.left(0) == float("inf")
    assert limit.left(40) == pytest.approx(20 * 0.6 / 0.4 + 5)
    # 80 steps at a quarter of the others' pixels are as much as 20 of those: half of the first is a quarter.
    growing = partial(work_done, ((50, 50), (100, 100)))
    assert limit.left(40, work_done=growing) == pytest.approx(3 * 20 + 5)
    assert limit.left(100, work_done=growing) == pytest.approx(5)
    limit.seconds = 45.0  # 40 of them to train, and 20 are gone
    assert limit.left(40, work_done=growing) == pytest.approx(20 + 5)


# --- the last pooling -------------------------------------------------------------------------------------


def spread(maps: Tensor, height: int, width: int) -> Tensor:
    """The largest of each of height x width windows, from their starts rounded down to ends rounded up."""
    tall, wide = maps.shape[2:]
    result = torch.empty(*maps.shape[:2], height, width, dtype=maps.dtype)
    for row in range(height):
        for column in range(width):
            rows = slice(row * tall // height, -(-(row + 1) * tall // height))
            columns = slice(column * wide // width, -(-(column + 1) * wide // width))
            result[:, :, row, column] = maps[:, :, rows, columns].amax(dim=(2, 3))
    return result


def pictures(height: int, width: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("name", ["notes", "paper", "source2012", "torchvision", "small"])
def test_on_smaller_pictures_the_last_pooling_gives_as_many_values(name: str) -> None:
    network = edit(NETWORKS[name], "classes=5")
    pool = last_pool(network)
    assert pool is not None
    torch.manual_seed(0)
    model = AlexNet(network).eval()
    forward = FusedForward(model, precision=torch.float32).eval()  # nothing is dropped
    last = network.layers[pool.place]
    for height, width in picture_sizes(network, smallest=0.5)[:-1]:
        flow = pictures(height, width)
        expected = flow
        for module_name, module in model.named_children():
            replaced = module_name == last.name and isinstance(module, nn.MaxPool2d)
            expected = spread(expected, *pool.leaving) if replaced else module(expected)
        torch.testing.assert_close(forward(flow), expected, rtol=1e-3, atol=1e-4)


def test_gradients_go_through_it(pooled: Network) -> None:
    model = AlexNet(pooled)
    FusedForward(model, precision=torch.float32)(pictures(16, 16)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# --- a run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(paint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pictures")
    paint(where / "train", count=8)
    paint(where / "val", count=2)
    return where


@pytest.fixture
def run(
    pooled: Network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., History]:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))

    def run(name: str, **settings: Any) -> History:
        usual: dict[str, Any] = {"recipe": RECIPE, "epochs": EPOCHS, "precision": "fp32", "workers": 1}
        chosen = usual | settings
        network = chosen.pop("network", pooled)
        return train(network, open_dataset(folder), output=tmp_path / name, resume=True, **chosen)

    return run


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what steps are given, as they are taken."""
    shapes: list[tuple[int, ...]] = []

    def step(forward: Any, optimizer: Any, batch: Any, **settings: Any) -> Any:
        shapes.append(tuple(batch.pictures.shape))
        return training_step(forward, optimizer, batch, **settings)

    monkeypatch.setattr(loop, "training_step", step)
    return shapes


def test_a_run_begins_with_small_pictures_and_ends_with_the_network_s_own(
    run: Callable[..., History], seen: list[tuple[int, ...]]
) -> None:
    run("growing")
    small = round(GROWN * EPOCHS * STEPS)  # 16: before step 16 of 20 less than GROWN of the run is done
    assert seen == [(6, 16, 16, 3)] * small + [(6, 24, 24, 3)] * (EPOCHS * STEPS - small)


def test_without_a_smallest_side_or_a_last_pooling_they_are_of_one_size(
    run: Callable[..., History], seen: list[tuple[int, ...]], small: Network
) -> None:
    run("own", recipe=replace(RECIPE, smallest_side=1.0), epochs=1)
    run("unpooled", network=small, epochs=1)
    assert {shape[1:3] for shape in seen} == {(24, 24)}


class Killed(BaseException):
    """What nothing in the run catches."""


def test_a_run_killed_while_its_pictures_grow_ends_as_if_it_had_not_been(
    run: Callable[..., History], seen: list[tuple[int, ...]], tmp_path: Path
) -> None:
    whole = run("whole")
    undisturbed, seen[:] = list(seen), []
    for stop in (3, 7, 15, 16, 22):  # steps, those that are taken again counted twice

        def kill(_: object, stop: int = stop) -> None:
            if len(seen) >= stop:
                raise Killed

        with pytest.raises(Killed):
            run("killed", on_progress=kill, checkpoint_seconds=0.0)
        del seen[stop:]
    state = load_state(tmp_path / "killed", on_notice=pytest.fail)
    assert state is not None
    assert (len(state.epochs), state.step, state.small_epochs) == (4, 1, 4)
    ended = run("killed")
    assert seen[-2:] == undisturbed[-2:]
    ours, theirs = (each.output / "last.safetensors" for each in (ended, whole))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_run_whose_end_is_not_known_cannot_grow() -> None:
    with pytest.raises(TrainingError, match=r"^recipe: smallest_side=0.7 with schedule=plateau; must be 1"):
        replace(DEFAULT, schedule="plateau", smallest_side=0.7)

"""How fast training from a folder of pictures is here, beside the plain way of doing it, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from alexnet.architecture.network import Network
from alexnet.errors import DataError, TrainingError
from alexnet.images.packed import pack, whole
from alexnet.images.splits import Dataset
from alexnet.images.views import View
from alexnet.learning.benchmark import Timing, plain_loop, time_by_turns
from alexnet.learning.devices import choose_device, choose_precision, prepare
from alexnet.learning.feed import Feed
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import DEFAULT, Recipe
from alexnet.learning.source import Source, packed_source, statistics
from alexnet.learning.step import Loss, TrainingBatch, make_optimizer, training_step


def benchmark_folder(
    network: Network,
    data: Dataset,
    *,
    batch_size: int = 128,
    steps: int = 6,
    rounds: int = 3,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Timing, ...]:
    """Time `steps` steps from picture files, by turns: the plain way, `train` in its first epoch and later.

    The plain way decodes with Pillow in `workers` processes of torch's DataLoader, and trains in eager
    float32. `train` decodes into a temporary folder in its first epoch and reads from there in later ones.
    Raises TrainingError and DataError for numbers that are too small and for too few pictures.
    """
    if min(batch_size, steps, rounds) < 1:
        raise TrainingError(
            f"benchmark: batch size {batch_size}, steps {steps}, rounds {rounds}; each must be at least 1"
        )
    if data.tight or len(data.train) < batch_size * steps:
        raise DataError(
            f"{data.name}: {len(data.train)} training pictures; must be picture files, at least "
            f"{batch_size * steps} of them; take another folder, or fewer --steps"
        )
    on = choose_device(device)
    prepare(on)
    network = network.with_classes(len(data.class_names))
    view = View.of(*network.input[:2])
    recipe = replace(DEFAULT, batch_size=batch_size, build_up=0.0, smallest_side=1.0)  # as at a run's end
    chosen = choose_precision(precision, on)
    with tempfile.TemporaryDirectory(prefix="alexnet-benchmark-") as folder:
        ways = {
            "plain loop, Pillow, float32": _plain(network, data, view, batch_size, workers, on),
            "alexnet train, first epoch": _ours(
                network, data, view, recipe, chosen, workers, on, Path(folder), again=False
            ),
            "alexnet train, later epochs": _ours(
                network, data, view, recipe, chosen, workers, on, Path(folder), again=True
            ),
        }
        turns = {name: [partial(run, 1)] + [partial(run, steps)] * rounds for name, run in ways.items()}
        return time_by_turns(
            turns, warm_up=1, pictures=batch_size * steps, device=on, on_progress=on_progress
        )


class _Photos(TorchDataset[tuple[Tensor, int]]):
    """What a tutorial writes: decode, resize, random crop, mirror, normalise, one picture at a time."""

    def __init__(self, data: Dataset, view: View) -> None:
        self.paths, self.labels, self.view = list(data.train.names), data.train.labels.tolist(), view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        view = self.view
        image = resized_by_pillow(self.paths[index], view)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        top = int(torch.randint(image.height - view.height + 1, ()))
        left = int(torch.randint(image.width - view.width + 1, ()))
        pixels = pixels[:, top : top + view.height, left : left + view.width]
        if torch.rand(()) < 0.5:
            pixels = pixels.flip(2)
        return (pixels / 255 - 0.45) / 0.25, self.labels[index]


def resized_by_pillow(path: str | Path, view: View) -> Image.Image:
    """What a tutorial writes: decode all of it, then resize all of it, its shorter side to the view's."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = view.resize / min(image.size)
    size = (max(view.resize, round(image.width * scale)), max(view.resize, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR)


def _plain(
    network: Network, data: Dataset, view: View, batch_size: int, workers: int, on: torch.device
) -> Callable[[int], None]:
    photos = _Photos(data, view)
    step = plain_loop(AlexNet(network).to(on))
    order = np.random.default_rng(0).permutation(len(photos)).tolist()

    def run(steps: int) -> None:
        chosen = torch.utils.data.Subset(photos, order[: steps * batch_size])
        for pictures, labels in DataLoader(chosen, batch_size=batch_size, num_workers=workers):
            step(pictures.to(on), labels.to(on))

    return run


def _ours(
    network: Network,
    data: Dataset,
    view: View,
    recipe: Recipe,
    precision: torch.dtype,
    workers: int,
    on: torch.device,
    folder: Path,
    *,
    again: bool,
) -> Callable[[int], None]:
    numbers = count()

    def source() -> Source:
        # A folder that was not packed into yet makes a first epoch.
        where = folder / ("later" if again else f"first-{next(numbers)}")
        return packed_source(
            data, view, pack(data.train, form=whole(view.resize), folder=where, on_notice=lambda _: None)
        )

    kept = source()
    figures = statistics(kept, workers=workers)
    model = AlexNet(network, mean=figures.mean, scale=figures.scale).to(on)
    optimizer = make_optimizer(model, recipe)
    forward = FusedForward(model, precision=precision)
    loss = Loss(label_smoothing=recipe.label_smoothing)

    def batches(steps: int) -> Iterator[TrainingBatch]:
        feed = Feed(
            source=kept if again else source(),
            statistics=figures,
            view=view,
            recipe=recipe,
            seed=0,
            device=on,
            workers=workers,
        )
        with closing(feed.epoch(1)) as epoch:
            yield from islice(epoch, steps)

    def run(steps: int) -> None:
        for batch in batches(steps):
            training_step(forward, optimizer, batch, loss=loss, clip_norm=recipe.clip_norm)[0].item()

    if again:
        for _ in batches(-(-len(data.train) // recipe.batch_size)):
            pass  # an epoch without training: all is packed then
    return run

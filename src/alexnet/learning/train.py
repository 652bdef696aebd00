"""train(network, data) -> History: the loop, plainly. What a step does, when a run ends, what it leaves.

The folder that it leaves is runs.py's; how a picture is loaded is images/'s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.architecture.network import Network, to_mapping
from alexnet.architecture.summary import summarize
from alexnet.errors import NetworkError, TrainingError
from alexnet.images import views
from alexnet.images.batches import load_batches
from alexnet.images.decode import Picture
from alexnet.images.splits import Dataset
from alexnet.images.views import View
from alexnet.learning import runs
from alexnet.learning.allocator import keep_freed_memory
from alexnet.learning.augment import random_crops, random_mirror
from alexnet.learning.devices import choose_device, choose_precision
from alexnet.learning.evaluate import Report, evaluate
from alexnet.learning.interrupts import Interrupts, count_interrupts
from alexnet.learning.model import AlexNet
from alexnet.learning.progress import Limit, Phase, Progress, Tally
from alexnet.learning.recipe import DEFAULT, Recipe, schedule
from alexnet.learning.step import channel_statistics, make_optimizer, set_rate, training_step
from alexnet.learning.weights import Weights, save_weights, torch_classifier
from alexnet.writing import link_whole

DEFAULT_EPOCHS = 20
_STEPS_A_LINE = 10  # of steps.csv


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What a run came to."""

    output: Path  # its folder
    network: Network  # with the data's classes
    view: View  # how a picture becomes its input
    epochs: tuple[runs.Epoch, ...]
    steps: tuple[runs.Steps, ...]  # the same in finer steps, training only
    best: Report | None  # of best.safetensors on the validation pictures; None if that was interrupted
    pictures: int  # trained on, repeats counted
    seconds: float
    interrupted: bool  # ended by Ctrl-C


def train(
    network: Network,
    data: Dataset,
    *,
    output: str | Path | None = None,
    recipe: Recipe = DEFAULT,
    epochs: int | None = None,
    time_limit: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    seed: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> History:
    """Train `network`, with as many classes as `data` has, and leave a run folder.

    It ends after `epochs` or `time_limit` seconds, whichever is first, and the learning rate's schedule
    follows that; without either, after DEFAULT_EPOCHS. The limit includes validation. Ctrl-C ends the run
    early: its weights are saved as they are. On a processor, the process keeps freed memory from then on
    (`keep_freed_memory`). Raises TrainingError for settings out of range and for a loss
    that is not finite, and what reading pictures and writing files raises.
    """
    started = perf_counter()
    if epochs is None and time_limit is None:
        epochs = DEFAULT_EPOCHS
    if epochs is not None and epochs < 1:
        raise TrainingError(f"epochs: {epochs}; must be at least 1")
    if time_limit is not None and not time_limit > 0:
        raise TrainingError(f"time limit: {time_limit} s; must be above 0")
    if not 0 <= seed < 1 << 32:
        raise TrainingError(f"seed: {seed}; must be from 0 to {(1 << 32) - 1}")
    if network.input[2] != 3:
        raise NetworkError(f"network '{network.name}': input depth {network.input[2]}; must be 3, for RGB")
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    if chosen_device.type == "cpu":
        keep_freed_memory()
    network = network.with_classes(len(data.class_names))
    view = View.of(*network.input[:2], tight=data.tight)
    mean, scale = channel_statistics(data.train, view, workers=workers)
    model = _new_model(network, mean, scale, seed=seed, device=chosen_device)
    existed = output is not None and Path(output).exists()
    folder = runs.new_run_folder(output, name=data.name)
    run = _Run(
        model=model,
        data=data,
        view=view,
        folder=folder,
        recipe=recipe if data.mirror else replace(recipe, mirror=False),
        limit=Limit(
            epochs=epochs,
            seconds=time_limit,
            steps_an_epoch=-(-len(data.train) // recipe.batch_size),
            started=started,
        ),
        device=chosen_device,
        precision=chosen_precision,
        workers=workers,
        seed=seed,
        on_progress=on_progress,
    )
    try:
        with count_interrupts() as run.interrupts:
            return run.to_the_end()
    finally:
        # Nothing was worth keeping: an unreadable picture, a full disk.
        if not existed and not any(folder.iterdir()):
            folder.rmdir()


def _new_model(
    network: Network, mean: list[float], scale: list[float], *, seed: int, device: torch.device
) -> AlexNet:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AlexNet(network, mean=mean, scale=scale).to(device)
    except (RuntimeError, MemoryError, OverflowError):
        parameters = summarize(network).parameters
        raise TrainingError(
            f"network '{network.name}': {parameters:,} parameters do not fit in the memory of {device}; "
            "must be fewer; make its layers smaller"
        ) from None


@dataclass(kw_only=True)
class _Run:
    """A run under way."""

    model: AlexNet
    data: Dataset
    view: View
    folder: Path
    recipe: Recipe
    limit: Limit
    device: torch.device
    precision: torch.dtype
    workers: int
    seed: int
    on_progress: Callable[[Progress], None]
    epochs: list[runs.Epoch] = field(default_factory=list)
    lines: list[runs.Steps] = field(default_factory=list)
    best: Report | None = None
    steps: int = 0
    pictures: int = 0
    interrupted: bool = False
    interrupts: Interrupts = field(default_factory=Interrupts)

    def to_the_end(self) -> History:
        optimizer = make_optimizer(self.model, self.recipe)
        while self.limit.share(self.steps) < 1 and not self.interrupted:
            tally = self._epoch(optimizer)
            if tally.pictures:
                self._close_epoch(tally, optimizer)
        if not self.epochs:
            cause = "interrupted" if self.interrupted else "the time limit was reached"
            raise TrainingError(
                f"training: {cause} before its first step; nothing was saved; give it more time"
            )
        return History(
            output=self.folder,
            network=self.model.network,
            view=self.view,
            epochs=tuple(self.epochs),
            steps=tuple(self.lines),
            best=self.best,
            pictures=self.pictures,
            seconds=self.limit.elapsed(),
            interrupted=self.interrupted,
        )

    def _epoch(self, optimizer: torch.optim.Optimizer) -> Tally:
        self.model.train()
        tally, few = Tally.on(self.device), Tally.on(self.device)
        try:
            with closing(self._batches()) as batches:
                for batch, labels in batches:
                    share = self.limit.share(self.steps)
                    if share >= 1:
                        break
                    # The rate of the step's middle: neither the first step nor the last is wasted on zero.
                    middle = self.limit.share(self.steps + 0.5)
                    rate = self.recipe.learning_rate * schedule(middle, warmup=self.recipe.warmup)
                    set_rate(optimizer, rate)
                    loss, right = training_step(
                        self.model,
                        optimizer,
                        batch,
                        labels,
                        precision=self.precision,
                        clip_norm=self.recipe.clip_norm,
                    )
                    tally.add(loss, right, len(labels))
                    few.add(loss, right, len(labels))
                    self.steps += 1
                    line_is_full = self.steps % _STEPS_A_LINE == 0
                    if line_is_full:
                        self._add_line(few, self.pictures + tally.pictures, rate)
                        few = Tally.on(self.device)
                        self._estimate_validation(tally)
                    # Reading a figure from a GPU waits for it: not at every step.
                    if line_is_full or self.device.type == "cpu":
                        self._tell("training", tally)
                    if self.interrupts.count:
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.interrupted = True
        if few.pictures:
            self._add_line(few, self.pictures + tally.pictures, optimizer.param_groups[0]["lr"])
        self.pictures += tally.pictures
        return tally

    def _batches(self) -> Generator[tuple[Tensor, Tensor], None, None]:
        """One epoch's batches in a new random order, augmented, on the device."""
        epoch = len(self.epochs) + 1
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.data.train)).tolist()
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        view, crop = self.view, self.recipe.random_crop

        def shape(picture: Picture) -> Picture:
            return views.canvas(picture, view) if crop else views.center(picture, view)

        loaded = load_batches(
            self.data.train.pictures,
            order,
            shape=shape,
            batch_size=self.recipe.batch_size,
            workers=self.workers,
        )
        with closing(loaded):
            for pictures, chosen in loaded:
                batch = torch.from_numpy(pictures).to(self.device, non_blocking=True)
                batch = random_crops(batch, view.height, view.width, generator=generator)
                if self.recipe.mirror:
                    batch = random_mirror(batch, generator=generator)
                yield batch, torch.from_numpy(self.data.train.labels[chosen]).to(self.device)

    def _add_line(self, few: Tally, pictures: int, rate: float) -> None:
        loss = few.mean_loss()
        self._check(loss)
        self.lines.append(
            runs.Steps(
                pictures=pictures,
                seconds=self.limit.elapsed(),
                learning_rate=rate,
                train_loss=loss,
                train_accuracy=few.accuracy(),
            )
        )

    def _check(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"training: the loss is {loss} at step {self.steps}; must be finite; "
                f"lower the learning rate (now {self.recipe.learning_rate:g})"
            )

    def _estimate_validation(self, tally: Tally) -> None:
        if not self.epochs:
            # Not validated yet: a forward pass is taken as a third of a training step.
            self.limit.validation_seconds = len(self.data.validation) / tally.rate() / 3

    def _tell(self, phase: Phase, tally: Tally) -> None:
        share = self.limit.share(self.steps)
        self.on_progress(
            Progress(
                phase=phase,
                share=share,
                epoch=len(self.epochs) + 1,
                pictures_per_second=tally.rate(),
                loss=tally.mean_loss(),
                accuracy=tally.accuracy(),
                validation_accuracy=self.epochs[-1].validation_accuracy if self.epochs else None,
                seconds=self.limit.elapsed(),
                seconds_left=self.limit.left(share),
            )
        )

    def _close_epoch(self, tally: Tally, optimizer: torch.optim.Optimizer) -> None:
        """Validate, and save what is last and what is best; Ctrl-C meanwhile leaves out the validation."""
        self._check(tally.mean_loss())
        trained = tally.rate()
        started = perf_counter()
        report = None
        try:
            self._tell("interrupted" if self.interrupted else "validation", tally)
            report = self._validate()
            self.limit.validation_seconds = perf_counter() - started
        except KeyboardInterrupt:
            self.interrupted = True
        self.interrupted = self.interrupted or self.interrupts.count > 0
        if report is not None:
            self._check(report.loss)
        self.epochs.append(
            runs.Epoch(
                epoch=len(self.epochs) + 1,
                pictures=self.pictures,
                seconds=self.limit.elapsed(),
                pictures_per_second=trained,
                learning_rate=optimizer.param_groups[0]["lr"],
                train_loss=tally.mean_loss(),
                train_accuracy=tally.accuracy(),
                validation_loss=report.loss if report else None,
                validation_accuracy=report.top(1) if report else None,
            )
        )
        improved = report is not None and (self.best is None or report.top(1) >= self.best.top(1))
        if improved:
            self.best = report
        self._save(best=improved or not (self.folder / runs.BEST).exists())

    def _validate(self) -> Report:
        weights = Weights(model=self.model, class_names=self.data.class_names, view=self.view, metrics={})
        classifier = torch_classifier(weights, device=self.device, precision=self.precision)
        return evaluate(
            classifier, self.data.validation, workers=self.workers, on_progress=self._stop_if_insisted
        )

    def _stop_if_insisted(self, _: int) -> None:
        if self.interrupts.count > 1:
            raise KeyboardInterrupt

    def _save(self, *, best: bool) -> None:
        last = self.epochs[-1]
        weights = Weights(
            model=self.model,
            class_names=self.data.class_names,
            view=self.view,
            metrics={
                "epoch": last.epoch,
                "pictures": last.pictures,
                "validation_top1": last.validation_accuracy,
            },
        )
        save_weights(self.folder / runs.LAST, weights)
        if best:
            link_whole(self.folder / runs.BEST, self.folder / runs.LAST)
        runs.write_lines(self.folder / runs.METRICS, self.epochs)
        runs.write_lines(self.folder / runs.STEPS, self.lines)
        runs.write_description(self.folder, self._description())

    def _description(self) -> dict[str, Any]:
        return {
            "network": to_mapping(self.model.network),
            "data": runs.describe_data(self.data),
            "recipe": asdict(self.recipe),
            "epochs": self.limit.epochs,
            "time_limit": self.limit.seconds,
            "seed": self.seed,
            "device": str(self.device),
            "precision": str(self.precision).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "workers": self.workers,
            "versions": runs.versions(),
            "pictures_trained": self.pictures,
            "seconds": round(self.limit.elapsed(), 3),
            "interrupted": self.interrupted,
            "best_validation_top1": self.best.top(1) if self.best else None,
        }

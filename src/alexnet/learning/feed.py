"""The training batches of an epoch: in random order, augmented, on the device.

Everything random in a batch follows from the seed, the epoch and the batch's number in it, so that a run that
goes on from any step, or is shared by several processes, sees what one that was never stopped would.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.errors import DataError
from alexnet.images.batches import load_these
from alexnet.images.shards import Drawn
from alexnet.images.views import View
from alexnet.learning import augment
from alexnet.learning.fused import Colour
from alexnet.learning.processes import ALONE, Processes
from alexnet.learning.recipe import Recipe
from alexnet.learning.resident import Resident, room_on
from alexnet.learning.sizes import Size
from alexnet.learning.source import Indices, Source, Statistics
from alexnet.learning.step import TrainingBatch

_DRAWS = 10  # numbers a picture: area, shape, two of place, mirror, contrast, brightness, three of colour


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Training pictures, and how a run takes them."""

    source: Source
    statistics: Statistics
    view: View
    recipe: Recipe
    seed: int
    device: torch.device
    workers: int
    processes: Processes = ALONE
    most_unreadable: float = 0.05  # share of the pictures; with more of them, DataError
    _unreadable: dict[int, str] = field(default_factory=dict)
    _resident: Resident = field(default_factory=Resident)

    @property
    def steps(self) -> int:
        """Steps an epoch; the last may have fewer pictures."""
        return -(-len(self.source) // self.recipe.batch_size)

    @property
    def drawn(self) -> Drawn:
        """How far this process has taken a stream; nothing where any picture can be had at any time."""
        return Drawn()

    def note_step(self) -> None:
        """A batch of a stream has been trained on."""

    def go_on_after(self, drawn: Drawn) -> None:
        """Take a stream up again there."""

    def close(self) -> None:
        """Let go of what outlives an epoch: a stream's threads."""

    def counts(self, classes: int) -> npt.NDArray[np.int64] | None:
        """How many pictures each class has, (classes,); None where that is not known."""
        return np.bincount(self.source.labels, minlength=classes)

    def skipped(self, names: Sequence[str]) -> dict[str, str]:
        """The pictures that cannot be read, by their `names`, and why."""
        return {names[index]: reason for index, reason in self.source.unreadable()}

    def epoch(
        self, number: int, *, first: int = 0, picture_size: Callable[[int], Size] | None = None
    ) -> Generator[TrainingBatch, None, None]:
        """This process's part of the batches of epoch `number`, from 1, beginning with batch `first`.

        `picture_size` says of what size the pictures of a batch are, when its turn comes; else they are of
        the view's. Raises DataError where more pictures cannot be read than may.
        """
        size, order = self.recipe.batch_size, self._order(number)
        steps = range(first, self.steps)
        totals = [min(size, len(order) - step * size) for step in steps]
        places = [np.arange(total)[self.processes.part(total)] for total in totals]
        wanted = [order[step * size + place] for step, place in zip(steps, places, strict=True)]
        with closing(self._pictures(wanted)) as loaded:
            for step, total, place, asked, (pictures, chosen) in zip(
                steps, totals, places, wanted, loaded, strict=True
            ):
                self._check_readable()
                if not len(chosen) and self.processes.count == 1:
                    continue  # where there are others, they wait for this process's part, even an empty one
                yield self._augmented(
                    pictures,
                    self.source.aspects(chosen),
                    self.source.labels[chosen],
                    number,
                    step,
                    place[np.isin(asked, chosen)],
                    total,
                    picture_size,
                )

    def _pictures(self, wanted: Sequence[Indices]) -> Generator[tuple[Tensor, Indices], None, None]:
        """Each of the batches that are wanted, on the device, less what cannot be read."""
        self._resident.settle(
            self.source,
            self.device,
            workers=self.workers,
            room=room_on(self.device),
            on_unreadable=self._leave_out,
        )
        if self._resident.is_there:
            yield from map(self._resident.take, wanted)
            return
        nothing = np.empty((0, self.source.side, self.source.side, 3), np.uint8), np.empty(0, np.int64)
        loaded = load_these(
            self.source.pictures,
            [batch.tolist() for batch in wanted],
            shape=lambda square: square,
            workers=self.workers,
            on_unreadable=self._leave_out,
        )
        with closing(loaded):
            for batch in loaded:
                pictures, chosen = batch or nothing
                yield torch.from_numpy(pictures).to(self.device, non_blocking=True), chosen

    def _leave_out(self, index: int, message: str) -> None:
        self._unreadable[index] = message

    def check_readable_by_all(self) -> None:
        """Raise DataError, in every process, where all found more that cannot be read than may be."""
        found = self.processes.gather(self._unreadable)
        self._check(dict(chain.from_iterable(each.items() for each in found)))

    def _check_readable(self) -> None:
        self._check(self._unreadable)

    def _check(self, unreadable: Mapping[int, str]) -> None:
        bad, pictures = len(unreadable), len(self.source)
        if bad <= self.most_unreadable * pictures and bad < pictures:
            return
        first = next(iter(unreadable.values()))
        rule = f"at most {self.most_unreadable:.0%} may be" if bad < pictures else "one must be"
        raise DataError(
            f"{first}; {bad} of {pictures} training pictures cannot be read; {rule}; mend or remove them, or "
            "allow more with --most-unreadable"
        )

    def _augmented(
        self,
        pictures: Tensor,
        aspects: npt.NDArray[np.float32],
        labels: Indices,
        epoch: int,
        step: int,
        places: Indices,
        total: int,
        picture_size: Callable[[int], Size] | None,
    ) -> TrainingBatch:
        recipe, device = self.recipe.after(epoch - 1 + step / self.steps), self.device
        height, width = (
            picture_size(step) if picture_size is not None else (self.view.height, self.view.width)
        )
        numbers, dropping = np.random.SeedSequence((self.seed, epoch, step)).generate_state(2)
        generator = torch.Generator().manual_seed(int(numbers))
        torch.manual_seed(int(dropping))  # dropout's numbers come from torch's own generators
        draws = torch.rand(total, _DRAWS, generator=generator)[torch.from_numpy(places)]
        common = torch.rand(4, generator=generator)
        boxes = self._boxes(recipe, draws, torch.from_numpy(aspects))
        mirrored = draws[:, 4] < 0.5 if recipe.mirror else None
        batch = augment.cut(pictures, boxes, height, width, mirrored)
        return TrainingBatch(
            step=step,
            pictures=batch,
            labels=torch.from_numpy(labels).to(device, non_blocking=True),
            total=total,
            places=torch.from_numpy(places).to(device, non_blocking=True),
            dropout=recipe.dropout,
            colour=self._colour(recipe, draws[:, 5:]),
            mixture=augment.cutmix(batch, common[1:]) if common[0] < recipe.cutmix else None,
        )

    def _boxes(self, recipe: Recipe, draws: Tensor, aspects: Tensor) -> augment.Boxes:
        height, width = self.view.height, self.view.width
        if recipe.crop == "resized":
            # In a picture of the view's shape, boxes of the view's shape are square shares.
            aspects = aspects * (height / width)
            shares = augment.resized_shares(draws, aspects, least=recipe.least_area)
            return augment.place_boxes(self.source.side, shares, draws[:, 2:4])
        shares = augment.view_shares(aspects, share=self.source.share)
        shares = shares * torch.tensor([height, width]) / max(height, width)
        middle = torch.full_like(draws[:, 2:4], 0.5)
        if recipe.crop == "centre":
            return augment.place_boxes(self.source.side, shares, middle)
        # Anywhere in the view's canvas, the square in the middle of the picture.
        canvas = augment.view_shares(aspects, share=1.0)
        within = middle + recipe.shift * (draws[:, 2:4] - middle)
        places = (middle * (1 - canvas) + within * (canvas - shares)) / (1 - shares).clamp(min=1e-6)
        return augment.place_boxes(self.source.side, shares, places)

    def _colour(self, recipe: Recipe, draws: Tensor) -> Colour | None:
        if not recipe.jitter and not recipe.colour_noise:
            return None
        colour = augment.colours(
            draws,
            jitter=recipe.jitter,
            components=torch.tensor(self.statistics.components, dtype=torch.float32),
            noise=recipe.colour_noise,
            middle=torch.tensor(self.statistics.mean),
        )
        return Colour(
            gain=colour.gain.to(self.device, non_blocking=True),
            shift=colour.shift.to(self.device, non_blocking=True),
        )

    def _order(self, number: int) -> Indices:
        random = np.random.default_rng((self.seed, number))
        if self.recipe.balance != "sampling":
            return random.permutation(len(self.source))
        counts = np.bincount(self.source.labels)
        chances = 1 / counts[self.source.labels]
        return random.choice(len(self.source), len(self.source), p=chances / chances.sum())

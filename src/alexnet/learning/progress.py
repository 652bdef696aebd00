"""How far a run is and how it does: its limit, its running figures, what it tells about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

Phase = Literal["training", "validation", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands."""

    phase: Phase
    share: float  # of the run that is done, 0 to 1
    epoch: int  # from 1
    pictures_per_second: float  # in this epoch so far
    loss: float  # mean over this epoch so far
    accuracy: float  # the same, on training pictures
    validation_accuracy: float | None  # of the last whole epoch
    seconds: float  # since the start
    seconds_left: float  # estimated, validation included


@dataclass(kw_only=True)
class Limit:
    """When a run ends, and how far it is: by steps, by the clock, or by both."""

    epochs: int | None
    seconds: float | None
    steps_an_epoch: int
    started: float
    validation_seconds: float = 0.0  # kept free at the end of the time limit

    def elapsed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.started

    def share(self, steps: float) -> float:
        """How much of the run is done after so many steps, 0 to 1."""
        by_clock = self.elapsed() / self._training_seconds()
        return min(max(self._share_of_steps(steps), by_clock), 1.0)

    def left(self, steps: float, *, work_done: Callable[[float], float] = lambda share: share) -> float:
        """Estimated seconds to the end after so many steps, the last validation included.

        `work_done` says how much of the work a share of a run's steps is, where they take more and more.
        """
        done = work_done(min(self._share_of_steps(steps), 1.0))
        by_steps = self.elapsed() * (1 / done - 1) if done > 0 else inf
        by_clock = max(self._training_seconds() - self.elapsed(), 0.0)
        return min(by_steps, by_clock) + self.validation_seconds

    def _share_of_steps(self, steps: float) -> float:
        return steps / (self.epochs * self.steps_an_epoch) if self.epochs is not None else 0.0

    def _training_seconds(self) -> float:
        if self.seconds is None:
            return inf
        # At least half of the limit trains, even where validation alone would take longer.
        return max(self.seconds - self.validation_seconds, self.seconds / 2)


@dataclass(kw_only=True)
class Tally:
    """Loss and accuracy of an epoch so far, summed where the model is."""

    loss: Tensor
    right: Tensor
    pictures: int = 0
    started: float = field(default_factory=perf_counter)

    def add(self, loss: Tensor, right: Tensor, pictures: int) -> None:
        """Count a step: its loss, summed, and how many were right, as tensors that are not read yet."""
        self.loss += loss
        self.right += right
        self.pictures += pictures

    @classmethod
    def on(cls, device: torch.device) -> Tally:
        """An empty one whose sums are on `device`."""
        return cls(loss=_zero(device), right=_zero(device))

    def to(self, device: torch.device) -> Tally:
        """The same, with its sums on `device`."""
        kind = _zero(device).dtype
        return replace(self, loss=self.loss.to(device, kind), right=self.right.to(device, kind))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, to the last bit; waits for the device."""
        return {
            "loss": self.loss.item(),
            "right": self.right.item(),
            "pictures": self.pictures,
            "seconds": perf_counter() - self.started,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tally:
        """What `to_dict` gave."""
        return cls(
            loss=torch.tensor(values["loss"], dtype=torch.float64),
            right=torch.tensor(values["right"], dtype=torch.float64),
            pictures=values["pictures"],
            started=perf_counter() - values["seconds"],
        )

    def mean_loss(self) -> float:
        """In nats; waits for the device."""
        return self.loss.item() / self.pictures

    def accuracy(self) -> float:
        """0 to 1; waits for the device."""
        return self.right.item() / self.pictures

    def rate(self) -> float:
        """Pictures a second since it was made."""
        return self.pictures / max(perf_counter() - self.started, 1e-9)


def _zero(device: torch.device) -> Tensor:
    # Apple's GPUs have no float64.
    return torch.zeros((), device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)

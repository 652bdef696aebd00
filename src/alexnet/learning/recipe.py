"""Recipe: how a network is trained. What is trained, on what, and for how long is said elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from alexnet.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with momentum under a schedule that anneals to zero.

    Raises TrainingError for a value out of range.
    """

    batch_size: int = 128  # pictures a step
    learning_rate: float = 0.04  # the schedule's peak, for the mean loss over a batch
    momentum: float = 0.9
    weight_decay: float = 5e-4  # as in Krizhevsky et al. 2012, section 5; not for biases
    warmup: float = 0.05  # share of the run in which the rate rises from zero
    clip_norm: float = 1.0  # gradients are scaled down to at most this norm: large rates do not diverge
    mirror: bool = True  # mirror half of the pictures, where a mirrored picture keeps its class
    random_crop: bool = True  # crop anywhere in the canvas, where the view leaves a margin

    def __post_init__(self) -> None:
        rules = (
            (
                "batch_size",
                type(self.batch_size) is int and self.batch_size >= 1,
                "a whole number of at least 1",
            ),
            ("learning_rate", 0 < self.learning_rate < float("inf"), "above 0"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "at least 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise TrainingError(f"recipe: {name}={getattr(self, name)}; must be {rule}")


DEFAULT = Recipe()


def schedule(progress: float, *, warmup: float) -> float:
    """The factor of the learning rate at `progress` (0 to 1) of a run: up in a line, down in half a cosine.

    >>> schedule(0.05, warmup=0.1), schedule(0.1, warmup=0.1), schedule(1.0, warmup=0.1)
    (0.5, 1.0, 0.0)
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + cos(pi * (min(progress, 1.0) - warmup) / (1 - warmup)))

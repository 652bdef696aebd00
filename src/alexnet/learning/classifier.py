"""What every engine gives: a function from uint8 pictures to logits that knows its classes and its view.

And what its logits say: probabilities, ranked labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.architecture.network import Network
from alexnet.images.views import View

Logits = npt.NDArray[np.float32]
Run = Callable[[npt.NDArray[np.uint8]], Logits]
"""uint8 (N, H, W, 3) -> float32 (N, classes)."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A batch of pictures in, logits out; the engine behind it does not matter.

    Calling it takes uint8 (N, H, W, 3) and gives float32 (N, classes).
    """

    run: Run
    network: Network
    class_names: tuple[str, ...]  # in the order of the logits
    view: View  # how a picture becomes its input
    engine: str = "a function"  # what runs it, in words

    def __call__(self, batch: npt.NDArray[np.uint8]) -> Logits:
        """Logits for a batch of pictures."""
        return self.run(batch)


def softmax(logits: Logits) -> Logits:
    """Probabilities (N, classes), each row adding up to 1; safe for large logits."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Logits = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


@dataclass(frozen=True, kw_only=True)
class Label:
    """One answer."""

    name: str  # of the class
    probability: float  # 0 to 1


def ranked(probabilities: npt.NDArray[np.float32], class_names: Sequence[str], top: int) -> tuple[Label, ...]:
    """The `top` likeliest of the classes, by their probabilities (classes,)."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Label(name=class_names[label], probability=float(probabilities[label])) for label in order)

"""One step of training: the loss, its gradients, the optimiser that follows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from alexnet.architecture.layers import Conv, Dense
from alexnet.learning.augment import Mixture
from alexnet.learning.descent import Descent, Group
from alexnet.learning.fused import Colour
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatch:
    """What a step trains on: this process's part of a batch, on the device."""

    step: int  # in the epoch, from 0
    pictures: Tensor  # uint8 (N, H, W, 3)
    labels: Tensor  # int64 (N,)
    total: int  # pictures that the batch has over all processes, those that cannot be read included
    places: Tensor  # int64 (N,), which of them these are
    dropout: float = 0.0  # of hidden fully connected units, in networks without Dropout layers of their own
    colour: Colour | None = None
    mixture: Mixture | None = None


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Mean cross-entropy over a batch, in nats."""

    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    class_weights: Tensor | None = None  # (classes,); their mean over the training pictures is 1

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Tensor:
        """The sum over this part, over the number of pictures in the whole batch."""
        loss = self._sum(logits, batch.labels)
        if (mixture := batch.mixture) is not None:
            others = self._sum(logits, batch.labels[mixture.partner])
            loss = mixture.own * loss + (1 - mixture.own) * others
        return loss / batch.total

    def _sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing, reduction="none")
        if self.class_weights is not None:
            # Not torch's `weight`: that weighs what is spread over the other classes by theirs.
            losses = losses * self.class_weights[labels]
        return losses.sum()


def training_step(
    forward: Callable[..., Tensor],
    optimizer: Descent,
    batch: TrainingBatch,
    *,
    loss: Loss,
    clip_norm: float,
    processes: int = 1,
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent with `forward`, a FusedForward or one that averages over processes.

    Gives the loss of this part, summed over its pictures, and how many it has right. Gradients whose norm,
    over all parameters, is above `clip_norm` are scaled down to it. Both figures are left on the device:
    reading them waits for it.
    """
    logits = forward(
        batch.pictures, batch.colour, dropout=batch.dropout, places=batch.places, total=batch.total
    )
    value = loss(logits, batch)
    optimizer.forget_gradients()
    # The mean over processes of their gradients is to be that of the whole batch.
    (value * processes).backward()  # type: ignore[no-untyped-call]
    if isfinite(clip_norm):
        clip_grad_norm_(optimizer.parameters(), clip_norm)
    optimizer.step()
    right = (logits.detach().argmax(dim=1) == batch.labels).sum()
    return value.detach() * batch.total, right


def make_optimizer(model: AlexNet, recipe: Recipe) -> Descent:
    """Gradient descent with momentum; biases are not decayed, and learn at their layer's own rate."""
    weights, biases = [], defaultdict[float, list[nn.Parameter]](list)
    for layer in model.network.layers:
        if isinstance(layer, Conv | Dense):
            module = model.get_submodule(layer.name)
            if module.get_parameter("weight").requires_grad:  # frozen ones stay as they are
                weights.append(module.get_parameter("weight"))
                biases[layer.bias_rate].append(module.get_parameter("bias"))
    groups = [Group(parameters=weights, weight_decay=recipe.weight_decay, factor=1.0)]
    groups += [Group(parameters=each, weight_decay=0.0, factor=factor) for factor, each in biases.items()]
    return Descent(groups, rate=recipe.learning_rate, momentum=recipe.momentum)


def class_weights(counts: npt.NDArray[np.int64]) -> Tensor:
    """What each class's pictures weigh so that all classes together weigh alike, (classes,).

    `counts` are the training pictures of each; the mean weight of a picture is 1.
    """
    there = counts > 0
    weights = np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))


def chance(counts: npt.NDArray[np.int64], *, label_smoothing: float, even: bool) -> float:
    """The loss, in nats, of answering every picture with how frequent the classes are: `even`, alike.

    >>> round(chance(np.array([50, 50]), label_smoothing=0.0, even=False), 4)
    0.6931
    """
    shares = np.full(len(counts), 1 / len(counts)) if even else counts / counts.sum()
    return _entropy(shares, label_smoothing=label_smoothing)


def least_loss(classes: int, *, label_smoothing: float) -> float:
    """The loss, in nats, of answering every picture with its smoothed target: none is smaller.

    >>> round(least_loss(2, label_smoothing=0.1), 4)  # -(0.95 ln 0.95 + 0.05 ln 0.05)
    0.1985
    """
    return _entropy(np.eye(classes)[0], label_smoothing=label_smoothing)


def _entropy(shares: npt.NDArray[np.float64], *, label_smoothing: float) -> float:
    smoothed = (1 - label_smoothing) * shares + label_smoothing / len(shares)
    return float(-(smoothed * np.log(np.maximum(smoothed, 1e-30))).sum())

"""One step of training, and what it needs before the first: optimiser, statistics of the pictures."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from alexnet.architecture.layers import Conv, Dense
from alexnet.images import views
from alexnet.images.batches import load_batches
from alexnet.images.splits import Split
from alexnet.images.views import View
from alexnet.learning.devices import autocast
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import Recipe

_STATISTICS = 500  # training pictures from which the channels' mean and scale are taken


def training_step(
    model: AlexNet,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    labels: Tensor,
    *,
    precision: torch.dtype,
    clip_norm: float,
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent on uint8 (N, H, W, 3) and labels (N,): mean loss, number right.

    Gradients whose norm, over all parameters, is above `clip_norm` are scaled down to it.
    Both figures are left on the device: reading them waits for it.
    """
    with autocast(batch.device, precision):
        logits: Tensor = model(batch)
        loss = cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()


def make_optimizer(model: AlexNet, recipe: Recipe) -> torch.optim.SGD:
    """SGD with momentum; biases are not decayed, and learn at their layer's own rate.

    `set_rate` sets the rate of a step.
    """
    weights, biases = [], defaultdict[float, list[nn.Parameter]](list)
    for layer in model.network.layers:
        if isinstance(layer, Conv | Dense):
            module = model.get_submodule(layer.name)
            weights.append(module.get_parameter("weight"))
            biases[layer.bias_rate].append(module.get_parameter("bias"))
    groups = [{"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0}]
    groups += [{"params": each, "weight_decay": 0.0, "factor": factor} for factor, each in biases.items()]
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        fused=weights[0].device.type in ("cpu", "cuda"),  # all parameters in one pass
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step: of weights `rate`, of biases their factor of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def channel_statistics(split: Split, view: View, *, workers: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, 0 to 255, over pictures spread evenly through `split`."""
    indices = np.unique(np.linspace(0, len(split) - 1, _STATISTICS).astype(int)).tolist()
    sums, squares, values = np.zeros(3), np.zeros(3), 0
    batches = load_batches(
        split.pictures,
        indices,
        shape=lambda picture: views.center(picture, view),
        batch_size=32,
        workers=workers,
    )
    for batch, _ in batches:
        flat = batch.reshape(-1, 3).astype(np.float64)
        sums += flat.sum(axis=0)
        squares += (flat**2).sum(axis=0)
        values += len(flat)
    mean = sums / values
    deviation = np.sqrt(np.maximum(squares / values - mean**2, 0))
    # Pictures of one colour have no deviation; one grey level keeps the division harmless.
    return mean.tolist(), np.maximum(deviation, 1.0).tolist()

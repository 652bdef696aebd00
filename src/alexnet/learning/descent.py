"""Gradient descent with momentum: the arithmetic of torch.optim.SGD, without what its class loads.

The first call of any torch.optim.Optimizer imports torch's compiler: seconds of every start of a training
run, for nothing that is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd


@dataclass(kw_only=True)
class Group:
    """Parameters that are decayed alike and learn at one rate."""

    parameters: list[nn.Parameter]
    weight_decay: float
    factor: float  # of the learning rate
    momenta: list[Tensor | None] = field(default_factory=list)  # None before the first step


class Descent:
    """v = momentum v + gradient + decay w; w = w - rate v, as torch.optim.SGD has it.

    `rate` is that of the next step, and may be set. Every parameter must have a gradient in every step.
    """

    def __init__(self, groups: Sequence[Group], *, rate: float, momentum: float) -> None:
        self.groups = tuple(groups)
        self.rate = rate
        self.momentum = momentum
        for group in self.groups:
            group.momenta = [None for _ in group.parameters] if momentum else []
        # All parameters in one pass, where torch has that.
        self._fused = all(each.device.type in ("cpu", "cuda") for each in self.parameters())

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained, in a fixed order."""
        return (each for group in self.groups for each in group.parameters)

    def momenta(self) -> Iterator[Tensor | None]:
        """What the next step goes on with, in the parameters' order; nothing without momentum."""
        return (each for group in self.groups for each in group.momenta)

    def take_up(self, momenta: Sequence[Tensor | None]) -> None:
        """Go on with these; each in its parameter's layout in memory."""
        given = iter(momenta)
        for group in self.groups:
            group.momenta = [next(given) for _ in group.momenta]

    def forget_gradients(self) -> None:
        """Before the next are computed."""
        for each in self.parameters():
            each.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradients."""
        for group in self.groups:
            gradients = [each.grad for each in group.parameters if each.grad is not None]
            assert len(gradients) == len(group.parameters)
            sgd(
                list(group.parameters),
                gradients,
                group.momenta,
                fused=self._fused,
                weight_decay=group.weight_decay,
                momentum=self.momentum,
                lr=self.rate * group.factor,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

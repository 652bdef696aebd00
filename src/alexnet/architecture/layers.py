"""The layer kinds: frozen descriptions that know their own fields and limits, and no arithmetic.

Windows are square, and the same number of zero pixels is added on all four sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar

from alexnet.errors import NetworkError


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution: `filters` kernels of `kernel` x `kernel` x input depth, each with one bias.

    >>> Conv(name="conv1", filters=96, kernel=11, stride=4).padding
    0
    """

    kind: ClassVar[str] = "conv"
    name: str
    filters: int  # kernels, which is the depth of the output
    kernel: int  # side of the square window, in pixels
    stride: int = 1  # pixels from one window to the next
    padding: int = field(default=0, metadata={"minimum": 0})  # zero pixels added on every side

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """The largest value of each window, channel by channel; padding never wins."""

    kind: ClassVar[str] = "maxpool"
    name: str
    kernel: int  # side of the square window, in pixels
    stride: int  # pixels from one window to the next
    padding: int = field(default=0, metadata={"minimum": 0})  # pixels added on every side

    def __post_init__(self) -> None:
        _check(self)
        if self.padding > self.kernel // 2:
            raise NetworkError(
                f"Layer '{self.name}': padding={self.padding}; must be at most half of its kernel "
                f"({self.kernel // 2}), or a window could hold nothing but padding; "
                f"set {self.name}.padding={self.kernel // 2}"
            )


@dataclass(frozen=True, kw_only=True)
class ReLU:
    """Zero for what is negative, else the value itself."""

    kind: ClassVar[str] = "relu"
    name: str

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class Flatten:
    """A height x width x depth volume as one vector."""

    kind: ClassVar[str] = "flatten"
    name: str

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A fully connected layer: every input to every unit, one bias a unit."""

    kind: ClassVar[str] = "dense"
    name: str
    units: int  # neurons; in the last layer, classes

    def __post_init__(self) -> None:
        _check(self)


Layer = Conv | MaxPool | ReLU | Flatten | Dense

KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in (Conv, MaxPool, ReLU, Flatten, Dense)}


def _check(layer: Layer) -> None:
    """Raise NetworkError unless the name can name a module and every number is a whole one in range."""
    name = layer.name
    if not (isinstance(name, str) and name.isidentifier()):
        raise NetworkError(
            f"Layer {name!r}: its name; must be letters, digits and underscores, not beginning with a digit"
        )
    for each in fields(layer):
        if each.name == "name":
            continue
        value, minimum = getattr(layer, each.name), each.metadata.get("minimum", 1)
        if type(value) is not int or value < minimum:
            raise NetworkError(
                f"Layer '{name}': {each.name}={value!r}; must be a whole number of at least {minimum}"
            )

"""The layer kinds: frozen descriptions that know their own fields and limits, and no arithmetic.

Windows are square. Padding is of zeros; pixels outside the picture read as zero.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from alexnet.errors import NetworkError

MOST = 10**9
"""The largest whole number in a description: beyond any network, and what follows can be written out."""

# What a field's value must be, beside it. Without one: a whole number of at least 1, and of at most MOST.
_FROM_ZERO: dict[str, Any] = {"minimum": 0}
_RATE: dict[str, Any] = {"real": True, "minimum": 0.0, "below": 1.0}
_REAL: dict[str, Any] = {"real": True, "minimum": 0.0}
_ANY_REAL: dict[str, Any] = {"real": True, "minimum": float("-inf")}
_ROUNDING: dict[str, Any] = {"choices": ("down", "up")}
_YES_OR_NO: dict[str, Any] = {"choices": (True, False)}


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution: `filters` kernels of `kernel` x `kernel` x input depth, each with one bias.

    With `groups`, the input depth and the filters fall into as many equal parts, and a filter sees its own
    part only: the two towers of 2012.

    >>> Conv(name="conv1", filters=96, kernel=11, stride=4).padding
    0
    """

    kind: ClassVar[str] = "conv"
    name: str
    filters: int  # kernels, which is the depth of the output
    kernel: int  # side of the square window, in pixels
    stride: int = 1  # pixels from one window to the next
    padding: int = field(default=0, metadata=_FROM_ZERO)  # zero pixels added on every side
    extra_padding: int = field(default=0, metadata=_FROM_ZERO)  # more of them, at the bottom and right only
    groups: int = 1
    rounding: str = field(default="down", metadata=_ROUNDING)  # of sizes that do not divide
    weight_deviation: float | None = field(
        default=None, metadata=_REAL
    )  # of initial weights; None: our choice
    bias: float | None = field(default=None, metadata=_ANY_REAL)  # at the start; None: zero
    bias_rate: float = field(default=1.0, metadata=_REAL)  # the biases' learning rate to the weights'

    def __post_init__(self) -> None:
        _check(self)
        if self.filters % self.groups:
            raise NetworkError(
                f"Layer '{self.name}': filters={self.filters} in groups={self.groups}; must divide evenly; "
                f"set {self.name}.groups to a divisor of {self.filters}, or its filters to a multiple of "
                f"{self.groups}"
            )


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """The largest value of each window, channel by channel; padding never wins."""

    kind: ClassVar[str] = "maxpool"
    name: str
    kernel: int  # side of the square window, in pixels
    stride: int  # pixels from one window to the next
    padding: int = field(default=0, metadata=_FROM_ZERO)  # pixels added on every side
    rounding: str = field(default="down", metadata=_ROUNDING)  # of sizes that do not divide

    def __post_init__(self) -> None:
        _check(self)
        if self.padding > self.kernel // 2:
            raise NetworkError(
                f"Layer '{self.name}': padding={self.padding}; must be at most half of its kernel "
                f"({self.kernel // 2}), or a window could hold nothing but padding; "
                f"set {self.name}.padding={self.kernel // 2}"
            )


@dataclass(frozen=True, kw_only=True)
class AdaptiveAvgPool:
    """The mean of each of `size` x `size` windows, spread over the input so that all of it is seen."""

    kind: ClassVar[str] = "adaptiveavgpool"
    name: str
    size: int  # height and width of the output, in windows

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class LocalResponseNorm:
    """Each value divided by (k + alpha x what `size` neighbouring channels hold) ** beta.

    With `mean`, that is the mean of their squares, as the code released in 2012, Caffe and torch have it;
    without, their sum, as Krizhevsky et al. 2012 print it in section 3.3. The same alpha is 5 times as
    strong there.
    """

    kind: ClassVar[str] = "lrn"
    name: str
    size: int = 5  # channels, centred on the value's own
    alpha: float = field(default=1e-4, metadata=_REAL)
    beta: float = field(default=0.75, metadata=_REAL)
    k: float = field(default=2.0, metadata=_REAL)
    mean: bool = field(default=True, metadata=_YES_OR_NO)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class ReLU:
    """Zero for what is negative, else the value itself."""

    kind: ClassVar[str] = "relu"
    name: str

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """While training, zero for a share of the values, chosen anew each time, and the others scaled up."""

    kind: ClassVar[str] = "dropout"
    name: str
    rate: float = field(default=0.5, metadata=_RATE)  # the share that is dropped

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
    weight_deviation: float | None = field(
        default=None, metadata=_REAL
    )  # of initial weights; None: our choice
    bias: float | None = field(default=None, metadata=_ANY_REAL)  # at the start; None: zero
    bias_rate: float = field(default=1.0, metadata=_REAL)  # the biases' learning rate to the weights'

    def __post_init__(self) -> None:
        _check(self)


Layer = Conv | MaxPool | AdaptiveAvgPool | LocalResponseNorm | ReLU | Dropout | Flatten | Dense

KINDS: dict[str, type[Layer]] = {
    kind.kind: kind
    for kind in (Conv, MaxPool, AdaptiveAvgPool, LocalResponseNorm, ReLU, Dropout, Flatten, Dense)
}


def parse_field(layer: Layer, name: str, text: str) -> Any:
    """The value that `text` gives the field; NetworkError where it cannot be one."""
    rule = _rule(next(each for each in fields(layer) if each.name == name))
    for choice in rule.get("choices", ()):
        if text.lower() == str(choice).lower():
            return choice
    if "choices" not in rule:
        for number in (int, float) if rule.get("real") else (int,):
            try:
                return number(text)
            except ValueError:
                continue
    raise NetworkError(f"Layer '{layer.name}': {name}={text!r}; must be {_demand(rule)}")


def _check(layer: Layer) -> None:
    """Raise NetworkError unless the name can name a module and every value is what its field asks for."""
    name = layer.name
    if not (isinstance(name, str) and name.isidentifier()):
        raise NetworkError(
            f"Layer {name!r}: its name; must be letters, digits and underscores, not beginning with a digit"
        )
    for each in fields(layer):
        value = getattr(layer, each.name)
        if each.name != "name" and not (value is None and each.default is None):
            rule = _rule(each)
            if type(value) is int and value > MOST and not rule.get("real"):
                raise NetworkError(f"Layer '{name}': {each.name}={shown(value)}; must be at most {MOST:,}")
            if not _allowed(value, rule):
                raise NetworkError(f"Layer '{name}': {each.name}={shown(value)}; must be {_demand(rule)}")


def shown(value: object) -> str:
    """A wrong value in a message, which a number of a thousand digits would fill.

    >>> shown(0), shown(10**60)
    ('0', 'a number of 200 bits')
    """
    if type(value) is int and abs(value) > MOST**2:
        return f"a number of {value.bit_length()} bits"
    return repr(value)


def _rule(each: Field[Any]) -> dict[str, Any]:
    return {"minimum": 1, **each.metadata}


def _allowed(value: object, rule: dict[str, Any]) -> bool:
    if "choices" in rule:
        return any(value is choice or (value == choice and type(value) is str) for choice in rule["choices"])
    if type(value) is not int and not (rule.get("real") and type(value) is float):
        return False
    return bool(rule["minimum"] <= value < rule.get("below", float("inf")))


def _demand(rule: dict[str, Any]) -> str:
    if "choices" in rule:
        return " or ".join(str(choice).lower() for choice in rule["choices"])
    kind = "a number" if rule.get("real") else "a whole number"
    if rule["minimum"] == float("-inf"):
        return kind
    return f"{kind} of at least {rule['minimum']:g}" + (
        f" and below {rule['below']:g}" if "below" in rule else ""
    )

"""Which of one layer's claims is wrong: the smallest change of what is stated that makes the rest hold.

A layer's hyperparameters and its input give its figures (arithmetic.py). Where they and the claims disagree,
either a figure was misprinted or a hyperparameter was. Each is tried; the explanation that leaves the fewest
claims wrong is taken, a figure before a hyperparameter where both leave as many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

from alexnet.architecture.arithmetic import (
    BYTES_PER_VALUE,
    LayerSummary,
    Misfit,
    layer_summary,
    whole_picture,
)
from alexnet.architecture.claims import Claim, Kind
from alexnet.architecture.layers import Conv, Dense, Layer, MaxPool
from alexnet.architecture.network import Shape
from alexnet.architecture.quantities import Amount, agreement, shape_readings
from alexnet.architecture.zoo import NETWORKS
from alexnet.errors import NetworkError

# Values that are tried in place of a stated or a missing one, the likeliest first.
_VALUES = {
    "stride": (2, 1, 4, 3, 5, 6, 8),
    "padding": (0, 1, 2, 3, 5, 4),
    "kernel": (3, 5, 11, 7, 1, 2, 4, 6, 9, 8, 10, 12, 13),
    "groups": (2, 1, 4),
    "rounding": ("up",),
    "filters": (96, 256, 384, 64, 192, 48, 128, 512, 3, 1),
}
OPEN = ("padding", "rounding", "groups", "stride")  # what may be left out, in the order in which it is tried
_INPUTS = (227, 224, 225, 226, 228, 256, 32, 28)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a layer is taken to be: its hyperparameters and what reaches it."""

    kind: Kind
    entering: Shape  # (height, width, depth) or (length,)
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    extra_padding: int = 0  # more, at the bottom and right only; of convolutions
    filters: int = 1  # of a dense layer its units
    groups: int = 1
    rounding: str = "down"
    same: bool = False  # padded so that the size is divided by the stride


def figures(setting: Setting) -> LayerSummary | None:
    """Every figure of the layer that `setting` describes; None where there is no such layer."""
    if setting.same and setting.kind != "dense":
        return _padded_alike(setting)
    entering = setting.entering
    layer: Layer
    try:
        match setting.kind:
            case "conv":
                layer = Conv(
                    name="conv",
                    filters=setting.filters,
                    kernel=setting.kernel,
                    stride=setting.stride,
                    padding=setting.padding,
                    extra_padding=setting.extra_padding,
                    groups=setting.groups,
                    rounding=setting.rounding,
                )
            case "maxpool":
                layer = MaxPool(
                    name="pool",
                    kernel=setting.kernel,
                    stride=setting.stride,
                    padding=setting.padding,
                    rounding=setting.rounding,
                )
            case "dense":
                layer = Dense(name="dense", units=setting.filters)
                entering = (prod(entering),)
            case _:
                return None
    except NetworkError:
        return None
    row = layer_summary(layer, entering, whole_picture((*entering, 1)))
    return None if isinstance(row, Misfit) else row


def _padded_alike(setting: Setting) -> LayerSummary | None:
    """The figures with TensorFlow's "same": as many windows as the stride goes into the side, rounded up."""
    sides, stride = setting.entering[:2], setting.stride
    if stride < 1:
        return None
    windows = tuple(-(-side // stride) for side in sides)
    pairs = zip(windows, sides, strict=True)
    lacking = max(0, *((count - 1) * stride + setting.kernel - side for count, side in pairs))
    plain = replace(setting, same=False, rounding="down")
    if setting.kind == "conv":  # a side that lacks less is not filled by a stride more
        return figures(replace(plain, padding=lacking // 2, extra_padding=lacking % 2))
    # A pool's padding never wins, so where it lies does not matter to the size.
    fits = range(min(lacking, setting.kernel // 2) + 1)
    tries = (replace(plain, padding=each, rounding=way) for each in fits for way in ("up", "down"))
    return next((row for each in tries if (row := figures(each)) and row.output[:2] == windows), None)


def shape_is(printed: Shape, true: Shape) -> bool:
    """Whether a printed shape can mean the true one; two numbers leave the depth open, one all but the side.

    >>> shape_is((96, 55, 55), (55, 55, 96)), shape_is((27,), (27, 27, 96)), shape_is((6, 6, 256), (9216,))
    (True, True, True)
    """
    if len(printed) == 2 and printed[1] == prod(true):
        return True  # a vector behind the size of a batch
    if len(true) == 1:
        if printed == (1, 1):
            return True  # height and width of a vector, which say nothing of its length
        return prod(printed) == true[0] or (len(printed) == 4 and prod(printed[1:]) == true[0])
    if len(printed) == 1:
        return printed[0] == prod(true) or printed[0] == true[0] == true[1]
    return any(
        reading == true or ((*reading[:2], true[2]) == true and reading[2] == 0)
        for reading in shape_readings(printed)
    )


def holds(claim: Claim, row: LayerSummary, *, batch: int) -> str | None:
    """How the claim agrees with the row: "" for exactly, else in a few words; None where it does not."""
    value = claim.value
    if isinstance(value, tuple):
        return "" if shape_is(value, row.input if claim.field == "input" else row.output) else None
    if not isinstance(value, Amount):
        return "" if value == getattr(row, {"units": "filters"}.get(claim.field, claim.field), None) else None
    for true, words in readings(claim.field, row, batch=batch):
        match agreement(value, true):
            case "exact":
                return words
            case "rounded":
                return f"rounded; {words}" if words else "rounded"
    return None


def readings(field: str, row: LayerSummary, *, batch: int) -> Iterator[tuple[int | Fraction, str]]:
    """What a figure of that name can mean without anyone being wrong, and in words which it is."""
    match field:
        case "parameters":
            yield row.parameters, "with biases" if row.biases else ""
            yield row.weights, "weights only"
        case "neurons":
            yield row.neurons, ""
            if not row.weights:
                yield row.activation_bytes // BYTES_PER_VALUE, "as many values as it passes on"
        case "weights" | "biases":
            yield getattr(row, field), ""
        case "macs":
            yield row.macs * batch, ""
        case "flops":
            yield 2 * row.macs * batch, "two for a multiply-add"
            yield row.macs * batch, "one for a multiply-add"
        case "bytes":
            yield row.parameter_bytes, "of float32"
            yield BYTES_PER_VALUE * row.weights, "of float32, weights only"
        case "activation_bytes":
            yield row.activation_bytes * batch, "of float32"
        case "memory":
            yield row.parameter_bytes, "of its weights and biases, in float32"
            yield row.activation_bytes * batch, "of its output, in float32"
            yield row.activation_bytes // BYTES_PER_VALUE * batch, "values of its output, not bytes"


def by_another_count(claim: Claim, row: LayerSummary, *, batch: int) -> str | None:
    """How others count it with whom the claim agrees, in words; None where nobody does.

    torchinfo counts a multiply-add for each bias.
    """
    with_biases = (row.macs + row.neurons) * batch
    if claim.field == "macs" and isinstance(claim.value, Amount) and agreement(claim.value, with_biases):
        return f"with one for each bias: {with_biases:,}"
    return None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong with a layer's claims, at the least."""

    row: LayerSummary  # with which the other claims hold
    blamed: Mapping[str, str]  # field -> what it would be, as text
    routes: tuple[str, ...]  # other single changes that mend as much, "stride 2"


def diagnose(
    setting: Setting,
    claims: Mapping[str, Claim],
    evidence: Mapping[str, Claim],
    *,
    batch: int,
) -> Diagnosis | None:
    """Find what is wrong; None where no layer fits at all.

    `claims` are the layer's hyperparameters as stated, `evidence` the figures that follow from them and from
    its input, the next layer's input among them.
    """
    stated = [name for name in ("stride", "padding", "kernel", "filters", "groups") if name in claims]
    if "units" in claims:
        stated.append("filters")
    base = figures(setting)
    wrong = mismatched(evidence, base, batch=batch)
    options: list[tuple[int, str, Setting, LayerSummary, list[str]]] = []
    for name in stated:
        for changed in _changes(setting, name, evidence):
            row = figures(changed)
            if row is not None:
                left = mismatched(evidence, row, batch=batch)
                options.append((1 + len(left), name, changed, row, left))
    best = min((option[0] for option in options), default=None)
    if base is not None and (best is None or len(wrong) <= best):
        mends = tuple(
            _told(setting, changed)
            for cost, _, changed, _, left in options
            if cost <= max(1, len(wrong)) and not left
        )
        return Diagnosis(row=base, blamed=dict.fromkeys(wrong, ""), routes=tuple(dict.fromkeys(mends))[:4])
    if best is None:
        return None
    equals = [option for option in options if option[0] == best]
    # Of changes that explain as much: the first that makes a layer which some network of the zoo has.
    chosen = next((option for option in equals if usual(option[2])), equals[0])
    _, name, changed, row, left = chosen
    others = [_told(setting, option[2]) for option in equals if option is not chosen and not option[4]]
    blamed = {_stated_as(setting, name): _told(setting, changed), **dict.fromkeys(left, "")}
    return Diagnosis(row=row, blamed=blamed, routes=tuple(dict.fromkeys(others))[:4])


def _stated_as(setting: Setting, name: str) -> str:
    return "units" if setting.kind == "dense" and name == "filters" else name


@cache
def _usual_windows() -> frozenset[tuple[str, int, int, int]]:
    layers = (layer for network in NETWORKS.values() for layer in network.layers)
    return frozenset(
        (layer.kind, layer.kernel, layer.stride, layer.padding)
        for layer in layers
        if isinstance(layer, Conv | MaxPool)
    )


def usual(setting: Setting) -> bool:
    """Whether a network of the zoo has a layer with this window, stride and padding."""
    return (setting.kind, setting.kernel, setting.stride, setting.padding) in _usual_windows()


def mismatched(evidence: Mapping[str, Claim], row: LayerSummary | None, *, batch: int) -> list[str]:
    """The names of the claims that do not hold for the row; all of them where there is none."""
    return [name for name, claim in evidence.items() if row is None or holds(claim, row, batch=batch) is None]


def _changes(setting: Setting, name: str, evidence: Mapping[str, Claim]) -> Iterator[Setting]:
    """The setting with other values of one field, of filters those first that the figures speak of."""
    values: Iterable[int | str] = _VALUES[name]
    if name == "filters":
        values = dict.fromkeys(depth for depth in (*_depths(evidence), *_VALUES[name]) if depth)
    for value in values:
        if value != getattr(setting, name):
            changed: dict[str, Any] = {name: value}
            yield replace(setting, **changed)


def _depths(evidence: Mapping[str, Claim]) -> Iterator[int]:
    """Depths that the figures speak of: of shapes, and counts of biases."""
    for claim in evidence.values():
        if isinstance(claim.value, tuple):
            yield from (reading[-1] for reading in shape_readings(claim.value))
        elif isinstance(claim.value, Amount) and claim.field == "biases" and claim.value.value < 10**6:
            yield int(claim.value.value)


def free_routes(
    setting: Setting, unstated: tuple[str, ...], evidence: Mapping[str, Claim], *, batch: int, inputs: bool
) -> list[tuple[str, Setting, LayerSummary]]:
    """What, of things that are not stated, would make every figure hold, each alone, the likeliest first."""
    found = []
    tries = [each for name in OPEN if name in unstated for each in _changes(setting, name, evidence)]
    if inputs and len(setting.entering) == 3 and setting.entering[0] == setting.entering[1]:
        tries += [replace(setting, entering=(side, side, setting.entering[2])) for side in _INPUTS]
    for changed in tries:
        row = figures(changed)
        if row is not None and changed != setting and not mismatched(evidence, row, batch=batch):
            found.append((_told(setting, changed), changed, row))
    return found


def _told(before: Setting, after: Setting) -> str:
    """The one thing that differs, in words: stride 2, rounding up, input 227."""
    if before.entering != after.entering:
        return f"input {after.entering[0]}"
    for name in ("stride", "padding", "kernel", "groups"):
        if getattr(before, name) != getattr(after, name):
            return f"{name} {getattr(after, name)}"
    if before.filters != after.filters:
        return f"{'units' if after.kind == 'dense' else 'filters'} {after.filters}"
    return f"rounding {after.rounding}"

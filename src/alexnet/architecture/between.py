"""What may stand between two layers of a table: shapes as printed, beside those that are known to arrive."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from alexnet.architecture.claims import Claim, ClaimedLayer
from alexnet.architecture.diagnosis import Setting, figures, shape_is
from alexnet.architecture.network import Shape
from alexnet.architecture.places import Pools
from alexnet.architecture.quantities import shape_readings


def read_shape(printed: Shape, arriving: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """What a printed shape means, where something is known to arrive: with its depth filled in."""
    for shape in arriving:
        if shape_is(printed, shape):
            return (shape,)
    likely = shape_readings(printed)[0]
    if len(likely) == 3 and likely[2] == 0:
        return tuple((*likely[:2], shape[2]) for shape in arriving if len(shape) == 3)[:1]
    return (likely,)


def depths_of(layer: ClaimedLayer) -> tuple[int, ...]:
    """How many filters or units a layer may have by its printed output, the likeliest first."""
    printed = layer.shape("output")
    if printed is None:
        return ()
    if layer.kind == "dense" and len(printed) == 2:
        # Behind the size of a batch, or half of them on each of two GPUs.
        return (printed[1], prod(printed)) if 2 in printed else (printed[1],)
    return tuple(dict.fromkeys(reading[-1] for reading in shape_readings(printed) if reading[-1]))


def continues(claim: Claim, shape: Shape) -> bool:
    """Whether a claimed input is what arrives, as it is or laid flat."""
    printed = claim.value
    return isinstance(printed, tuple) and (shape_is(printed, shape) or shape_is(printed, (prod(shape),)))


def next_input(layer: ClaimedLayer, following: ClaimedLayer | None, pools: Pools) -> Claim | None:
    """The next layer's input as evidence of this one's output, where the two are claimed to follow."""
    if following is None or "input" not in following.claims:
        return None
    claim = following.claims["input"]
    printed, own = claim.value, layer.shape("output")
    if own is not None and printed != own and isinstance(printed, tuple):
        for one in shape_readings(own):
            for other in shape_readings(printed):
                if len(one) == len(other) == 3 and pooled_between(one, other, pools):
                    return None  # a pooling layer between them is not listed
    return replace(claim, field="output")


def pooled_between(before: Shape, after: Shape, pools: Pools) -> str:
    """The pooling layer, in words, that takes one shape to the other; empty where none of `pools` does."""
    for kernel, rounding in pools:
        made = pooled(before, kernel, rounding)
        if made is not None and after in (made, (prod(made),)):
            return f"{kernel}x{kernel}, stride 2" + (", rounding up" if rounding == "up" else "")
    return ""


def pooled(before: Shape, kernel: int, rounding: str) -> Shape | None:
    """What a pooling layer of stride 2 makes of a shape; None where there is no such layer."""
    if len(before) != 3:
        return None
    row = figures(Setting(kind="maxpool", entering=before, kernel=kernel, stride=2, rounding=rounding))
    return row.output if row is not None else None

"""Judging what is claimed of layers that are not computed: they pass on what reaches them, without weights.

Batch normalisation alone carries some: a factor and an offset for each channel (Ioffe and Szegedy 2015,
section 3.1), with which frameworks list the running mean and variance, or do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from alexnet.architecture.arithmetic import BYTES_PER_VALUE
from alexnet.architecture.claims import Claim, ClaimedLayer, weightless
from alexnet.architecture.findings import Finding, judged
from alexnet.architecture.network import Shape
from alexnet.architecture.quantities import Amount, agreement
from alexnet.architecture.wording import either

_OF_WHAT_PASSES = ("neurons", "activation_bytes", "bytes", "memory")


def judge_passing(claim: Claim, layer: ClaimedLayer, leaving: tuple[Shape, ...], *, batch: int) -> Finding:
    """A claim that is no shape, of a layer that is not computed; `leaving` is what may come out of it."""
    if claim.field == "filters":
        return judge_depth(claim, leaving)
    if not isinstance(claim.value, Amount):
        return judged(claim, "unsupported", "of a layer of this kind it is not computed")
    if claim.value.value and claim.field in _OF_WHAT_PASSES and not any(map(prod, leaving)):
        return judged(claim, "unsupported", "what reaches it is not said")
    figures = list(_figures(claim.field, layer, leaving, batch))
    for true, words in figures:
        if (how := agreement(claim.value, true)) is not None:
            return judged(claim, "ok" if how == "exact" else "rounded", words)
    if not figures or (layer.kind == "other" and not weightless(layer.name)):
        return judged(claim, "unsupported", "what a layer of this kind has of it is not computed")
    true, words = figures[-1]
    return judged(claim, "error", words, correction=f"{true:,}")


def judge_depth(claim: Claim, shapes: tuple[Shape, ...]) -> Finding:
    """Filters that are claimed of a layer that has none: the depth of what passes through it."""
    depths = [shape[-1] for shape in shapes if shape[-1]]
    if not depths:
        return judged(claim, "unsupported", "the depth of what reaches it is not said")
    if claim.value in depths:
        return judged(claim, "ok", "the depth of what passes through it")
    return judged(claim, "error", f"what passes through it is {either(shapes)}", correction=f"{depths[-1]:,}")


def _figures(
    field: str, layer: ClaimedLayer, leaving: tuple[Shape, ...], batch: int
) -> Iterator[tuple[int, str]]:
    """What a figure of that name can be, each with the reason, the likeliest last."""
    depths = [shape[-1] for shape in leaving if shape[-1]]
    if field in ("parameters", "weights", "biases", "bytes") and layer.kind == "batchnorm":
        held = {"weights": (1,), "biases": (1,)}.get(field, (4, 2))
        size = BYTES_PER_VALUE if field == "bytes" else 1
        for each in held:
            words = {1: "one", 2: "a factor and an offset", 4: "factor, offset, running mean and variance"}[
                each
            ]
            unit = f" of {size} bytes" if size > 1 else ""
            yield from (
                (each * size * depth, f"{words} for each of {depth} channels{unit}: {each * size * depth:,}")
                for depth in depths
            )
    elif field in ("parameters", "weights", "biases"):
        yield 0, "0: it carries no weights"
    elif field == "neurons":
        yield 0, "0: it carries no weights"
        yield from (
            (prod(shape), f"as many as it passes on: {prod(shape):,}") for shape in leaving if prod(shape)
        )
    elif field in ("activation_bytes", "bytes", "memory"):
        if field != "activation_bytes":
            yield 0, "0: it carries no weights"
        for shape in leaving:
            values = prod(shape) * batch
            if values and field == "memory":
                yield values, f"{values:,} values, not bytes"
            if values:
                yield BYTES_PER_VALUE * values, f"{values:,} values of {BYTES_PER_VALUE} bytes"
    else:
        yield 0, "0: it multiplies by no weights"

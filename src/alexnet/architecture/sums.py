"""Totals and relations: whether a sum follows from its own parts, and an equation from its own numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, islice, product
from math import ceil, floor

from alexnet.architecture.arithmetic import LayerSummary
from alexnet.architecture.claims import (
    BATCHES,
    PASSING,
    Claim,
    ClaimedLayer,
    ClaimedTotal,
    Claims,
    kind_of,
    weightless,
)
from alexnet.architecture.diagnosis import by_another_count, readings
from alexnet.architecture.expressions import evaluate, without_latex
from alexnet.architecture.findings import Finding, Status, judged
from alexnet.architecture.layers import Conv, Dense, MaxPool
from alexnet.architecture.places import summary_of
from alexnet.architecture.quantities import Amount, agreement, as_binary, parse_amount
from alexnet.architecture.zoo import NETWORKS

Rows = Sequence[tuple[ClaimedLayer, LayerSummary | None]]

_WIDTHS = (64, 96, 128, 192, 256, 384, 512)
_CLASSES = (10, 100, 1000)
_WEIGHTED = ("conv", "dense")

_UNIT = re.compile(r"\s*[kKMG]i?B$")


def judge_totals(claims: Claims, rows: Rows, *, named: str | None, described: str | None) -> list[Finding]:
    """A finding for each claim about several layers together.

    `described` is the network with which every figure of the layers agrees: what they leave open is its.
    """
    batch = claims.batch or 1
    return [
        _judge(claim, total, rows, batch, named, described)
        for total in claims.totals
        for claim in total.claims.values()
    ]


def _judge(
    claim: Claim, total: ClaimedTotal, rows: Rows, batch: int, named: str | None, described: str | None
) -> Finding:
    chosen = [(layer, row) for layer, row in rows if _belongs(layer, total)]
    if claim.field == "layers":
        return _judge_count(claim, total, chosen, named)
    amount = claim.value
    assert isinstance(amount, Amount)  # claims.py reads counts as amounts
    computed = list(_computed(claim.field, chosen, batch))
    printed = _printed_parts(claim.field, chosen)
    for true, words in computed:
        if (how := agreement(amount, true)) is not None:
            return judged(
                claim, "ok" if how == "exact" else "rounded", f"the layers add up to {true:,}{words}"
            )
    extra = _printed_of_others(claim.field, chosen)
    for true, words in computed if extra else ():
        if (how := agreement(amount, true + extra)) is not None:
            reason = f"the layers add up to {true:,}{words}, and {extra:,} that the table has of other layers"
            return judged(claim, "ok" if how == "exact" else "rounded", reason)
    if printed is not None and (how := agreement(amount, printed)) is not None:
        reason = f"the printed figures add up to {_number(printed)}"
        return judged(claim, "ok" if how == "exact" else "rounded", reason)
    if not computed and printed is None:
        return _against_zoo(claim, amount, total, named, batch)
    binary = as_binary(amount)
    if binary is not None:
        for true, words in computed:
            if agreement(binary, true) is not None:
                return judged(claim, "variant", f"in MiB, not MB: the layers add up to {true:,}{words}")
    together = _together(chosen)
    if together is not None and (told := by_another_count(claim, together, batch=batch)) is not None:
        return judged(claim, "variant", f"the layers add up to {computed[0][0]:,}, {told}")
    whole = len([layer for layer, _ in rows if layer.kind in _WEIGHTED])
    if described is not None and printed is None and whole == summary_of(described).weighted_layers:
        for true in _of(described, claim.field, total, batch):
            if agreement(amount, true) is not None:
                return judged(claim, "variant", f"{true:,} in {described}, with which every layer agrees")
    sums = [Fraction(true + extra) for true, _ in computed] or [printed or Fraction(0)]
    # With biases or without, as the printed figures of the parts are.
    parts = sums[0] if printed is None else min(sums, key=lambda true: abs(true - printed))
    reason = f"the parts add up to {_number(parts)}"
    if printed is not None and printed != parts:
        reason += f", as they are printed to {_number(printed)}"
    others = [
        name
        for name in NETWORKS
        if any(agreement(amount, true) for true in _of(name, claim.field, total, batch))
    ]
    if others:
        reason += f"; it is the total of {others[0]}"
    return judged(
        claim,
        "error",
        reason,
        correction=_number(parts),
        routes=tuple(islice(_routes(amount, claim), 3)),
    )


def _belongs(layer: ClaimedLayer, total: ClaimedTotal) -> bool:
    if isinstance(total.of, tuple):
        return layer.name in total.of
    return total.of in ("all", layer.kind)


def _computed(field: str, chosen: Rows, batch: int) -> Iterator[tuple[int, str]]:
    """The true totals, where the layers' figures can all be told, each with the convention it follows."""
    if (together := _together(chosen)) is not None:
        for true, words in readings(field, together, batch=batch):
            yield int(true), f", {words}" if words else ""


def _together(chosen: Rows) -> LayerSummary | None:
    """The layers as one; None where the figures of some cannot be told."""
    counted = [row for layer, row in chosen if layer.kind not in PASSING]
    rows = [row for row in counted if row is not None]
    if not rows or len(rows) < len(counted):
        return None
    return LayerSummary(
        name="total",
        kind="total",
        input=(),
        output=(),
        weights=sum(row.weights for row in rows),
        biases=sum(row.biases for row in rows),
        macs=sum(row.macs for row in rows),
        neurons=sum(row.neurons for row in rows),
        parameter_bytes=sum(row.parameter_bytes for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )


def _printed_of_others(field: str, chosen: Rows) -> int:
    """What is claimed of layers that are not computed, such as batch normalisation, together."""
    values = [
        layer.claims[field].value
        for layer, _ in chosen
        if field in layer.claims
        and (layer.kind == "batchnorm" or (layer.kind in PASSING and not weightless(layer.name)))
    ]
    return sum(int(value.value) for value in values if isinstance(value, Amount))


def _printed_parts(field: str, chosen: Rows) -> Fraction | None:
    """What the printed figures of the parts add up to, where every layer that has one prints it exactly."""
    amounts = [layer.claims[field].value for layer, _ in chosen if field in layer.claims]
    silent = [layer for layer, _ in chosen if field not in layer.claims and layer.kind in _WEIGHTED]
    if not amounts or silent:
        return None
    return sum((amount.value for amount in amounts if isinstance(amount, Amount)), Fraction(0))


def _judge_count(claim: Claim, total: ClaimedTotal, chosen: Rows, named: str | None) -> Finding:
    amount = claim.value
    assert isinstance(amount, Amount)
    kinds = [layer.kind for layer, _ in chosen]
    if not kinds and named is not None:
        counted = (
            layer.kind for layer in NETWORKS[named].layers if isinstance(layer, Conv | MaxPool | Dense)
        )
        kinds = [kind_of(kind) for kind in counted if total.of in ("all", kind)]
    weighted = sum(kind in _WEIGHTED for kind in kinds)
    pools = kinds.count("maxpool")
    if not kinds:
        return judged(claim, "unsupported", "no layers are listed")
    if amount.value == (weighted or pools):
        return judged(
            claim, "ok", f"{weighted or pools} layers" + (" that carry weights" if weighted else "")
        )
    if amount.value == weighted + pools:
        return judged(
            claim, "variant", f"pooling counted: {weighted} that carry weights and {pools} of pooling"
        )
    reason = f"{weighted} layers carry weights, {weighted + pools} with pooling"
    return judged(claim, "error", reason, correction=str(weighted))


def _of(name: str, field: str, total: ClaimedTotal, batch: int) -> list[int]:
    return [true for true, _ in _computed(field, _rows_of(name, total), batch)]


def _rows_of(name: str, total: ClaimedTotal) -> Rows:
    """The layers of a network of the zoo that a total is of; none where it has not all of them."""
    summary = summary_of(name)
    if isinstance(total.of, tuple):
        names = set(total.of)
        rows = [row for row in summary.layers if row.name in names]
        if len(rows) != len(names):
            return []
    else:
        rows = [row for row in summary.layers if total.of in ("all", row.kind)]
    return [(ClaimedLayer(name=row.name, kind="conv", claims={}), row) for row in rows]


def _against_zoo(claim: Claim, amount: Amount, total: ClaimedTotal, named: str | None, batch: int) -> Finding:
    """A total of layers that are not listed, or not well enough: against the networks of the zoo."""
    trues: list[int] = []
    if named is not None:
        trues = _of(named, claim.field, total, batch)
        for true in trues:
            if (how := agreement(amount, true)) is not None:
                return judged(claim, "ok" if how == "exact" else "rounded", f"{true:,} in {named}")
    binary = as_binary(amount)
    if binary is not None and any(agreement(binary, true) for true in trues):
        return judged(claim, "variant", f"in MiB, not MB: {trues[0]:,} in {named}")
    together = _together(_rows_of(named, total)) if named is not None else None
    if together is not None and (told := by_another_count(claim, together, batch=batch)) is not None:
        return judged(claim, "variant", f"{trues[0]:,} in {named}, {told}")
    for name in NETWORKS:
        for true in _of(name, claim.field, total, batch):
            if agreement(amount, true) is not None:
                status: Status = "variant" if named is not None else "unsupported"
                reason = f"{true:,} in {name}" + ("" if named else "; which network it is of is not said")
                return judged(claim, status, reason)
    if named is not None and trues:
        for batch_size in BATCHES:
            if claim.field in ("macs", "flops") and agreement(amount, trues[0] * batch_size) is not None:
                reason = (
                    f"{trues[0]:,} in {named}; that is {batch_size} times as much, a batch of {batch_size}"
                )
                return judged(claim, "error", reason, correction=f"{trues[0]:,}")
        return judged(claim, "error", f"{trues[0]:,} in {named}", correction=f"{trues[0]:,}")
    return judged(claim, "unsupported", "the layers are not listed, or not with all that it takes")


def _routes(amount: Amount, claim: Claim) -> Iterator[str]:
    """One or two changes of an AlexNet's widths and classes under which its parameters are the total."""
    if claim.field not in ("parameters", "weights") or claim.where != "total":
        return
    for name in ("ungrouped", "paper", "torchvision", "notes"):
        parts = _Parts.of(name)
        printed = (*parts.widths, parts.units[-1])
        places = (*(f"filters in {each}" for each in parts.names), "classes")
        tried = (*(_WIDTHS for _ in parts.widths), _CLASSES)
        slots = range(len(printed))
        for changed in (*((slot,) for slot in slots), *combinations(slots, 2)):
            for values in product(*(tried[slot] for slot in changed)):
                if any(value == printed[slot] for slot, value in zip(changed, values, strict=True)):
                    continue  # no change at all
                after = list(printed)
                for slot, value in zip(changed, values, strict=True):
                    after[slot] = value
                if amount.value in parts.totals(after[:-1], after[-1]):
                    told = (f"{value} {places[slot]}" for slot, value in zip(changed, values, strict=True))
                    yield f"{name} with {' and '.join(told)}"


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the parameters of a network with convolutions and then dense layers are made of."""

    names: tuple[str, ...]  # of the convolutions
    windows: tuple[tuple[int, int], ...]  # kernel and groups of each
    widths: tuple[int, ...]  # filters of each
    area: int  # positions of the last map
    units: tuple[int, ...]  # of the dense layers

    @classmethod
    def of(cls, name: str) -> _Parts:
        network = NETWORKS[name]
        convolutions = [layer for layer in network.layers if isinstance(layer, Conv)]
        flatten = next(row for row in summary_of(name).layers if row.kind == "flatten")
        return cls(
            names=tuple(layer.name for layer in convolutions),
            windows=tuple((layer.kernel, layer.groups) for layer in convolutions),
            widths=tuple(layer.filters for layer in convolutions),
            area=flatten.input[0] * flatten.input[1],
            units=tuple(layer.units for layer in network.layers if isinstance(layer, Dense)),
        )

    def totals(self, widths: Sequence[int], classes: int) -> tuple[int, int]:
        """Weights, and weights with biases."""
        weights, biases, depth = 0, 0, 3
        for (kernel, groups), width in zip(self.windows, widths, strict=True):
            weights += kernel * kernel * (depth // groups) * width
            biases += width
            depth = width
        entering = self.area * depth
        for units in (*self.units[:-1], classes):
            weights += entering * units
            biases += units
            entering = units
        return weights, weights + biases


def judge_listing(claims: Claims, named: str) -> list[Finding]:
    """An error for each kind of layer of which a table that goes to the end lists another number."""
    listed = Counter(layer.kind for layer in claims.layers)
    there = Counter(layer.kind for layer in NETWORKS[named].layers)
    if not listed["dense"] or not listed["conv"]:
        return []
    found = []
    for kind in ("conv", "maxpool", "dense"):
        if listed[kind] and listed[kind] != there[kind]:
            claim = Claim(where="table", field=kind, text=str(listed[kind]), value=listed[kind])
            reason = f"{named} has {there[kind]} layers of this kind, the table {listed[kind]}"
            found.append(judged(claim, "error", reason, correction=str(there[kind])))
    return found


def judge_relations(claims: Claims) -> list[Finding]:
    """A finding for each equation that a text asserts."""
    return [judge_relation(text) for text in claims.relations]


def judge_relation(text: str) -> Finding:
    """Whether what stands left of "=" comes to what stands right of it, at the precision that is printed."""
    claim = Claim(where="relation", field="text", text=text, value=0)
    *lefts, right = [part.strip() for part in without_latex(text).split("=")]
    printed, true_right = parse_amount(right), evaluate(right)
    in_unit = parse_amount(_UNIT.sub("", right)) if _UNIT.search(right) else None
    for left in lefts:
        true = evaluate(left)
        if true is None or (printed is None and true_right is None):
            return judged(claim, "unsupported", "not an equation of numbers that can be computed")
        if in_unit is not None and (agreement(in_unit, true) or round(true) == in_unit.value):
            # The unit is what the left side comes to: 34,848 x 4 / 1024 = 136 KB.
            return judged(claim, "ok" if true == in_unit.value else "rounded", f"{left} = {_number(true)}")
        if printed is not None and agreement(printed, true) == "rounded":
            return judged(claim, "rounded", f"{left} = {_number(true)}")
        if printed is not None and true.denominator > 1 and printed.value in (floor(true), ceil(true)):
            down = printed.value == floor(true)
            reason = f"{left} = {_number(true)}, rounded {'down' if down else 'up'} as sizes are"
            return judged(claim, "rounded" if down else "variant", reason)
        if true not in (true_right, printed.value if printed is not None else None):
            return judged(claim, "error", f"{left} = {_number(true)}", correction=_number(true))
    return judged(claim, "ok", f"{lefts[0]} = {_number(evaluate(lefts[0]) or 0)}")


def _number(value: int | Fraction) -> str:
    try:
        return f"{int(value):,}" if value == int(value) else f"{float(value):,g}"
    except OverflowError:
        return "beyond 10^308"

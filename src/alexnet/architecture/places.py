"""Which layer of which network each claimed layer stands for, and the network that claims describe best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from alexnet.architecture.arithmetic import LayerSummary
from alexnet.architecture.claims import PASSING, RECEPTIVE, Claim, Claims
from alexnet.architecture.diagnosis import holds
from alexnet.architecture.layers import Conv, Dense, MaxPool
from alexnet.architecture.summary import Summary, summarize
from alexnet.architecture.zoo import NETWORKS

ANY_ALEXNET = "alexnet"
ALEXNETS = ("paper", "notes", "source2012", "caffenet", "ungrouped", "torchvision", "weird-trick")
STATED = ("kernel", "stride", "padding", "filters", "groups", "units")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A network's layer in the same place, and its figures."""

    network: str
    layer: Conv | MaxPool | Dense
    row: LayerSummary


References = dict[str, list[Reference | None]]
Pools = tuple[tuple[int, str], ...]  # kernels and rounding, all of stride 2
Nearest = tuple[str, int, int]  # a network's name, how many figures agree with it, of how many


@cache
def summary_of(name: str) -> Summary:
    """The figures of a network of the zoo, computed once."""
    return summarize(NETWORKS[name])


def references(claims: Claims, named: str | None) -> References:
    """For each AlexNet (or the named network): the layer that each claimed layer stands for."""
    names: tuple[str, ...] = ALEXNETS
    if named is not None and named != ANY_ALEXNET:
        names = (named, *(name for name in ALEXNETS if name != named)) if named in ALEXNETS else (named,)
    return {name: align(claims, name) for name in names}


def align(claims: Claims, name: str) -> list[Reference | None]:
    """The layer of the network of that name that each claimed layer stands for, kind by kind in order."""
    queues: dict[str, list[Reference]] = {"conv": [], "maxpool": [], "dense": []}
    for layer, row in zip(NETWORKS[name].layers, summary_of(name).layers, strict=True):
        if isinstance(layer, Conv | MaxPool | Dense):
            queues[layer.kind].append(Reference(network=name, layer=layer, row=row))
    taken: list[Reference | None] = []
    for claimed in claims.layers:
        queue = queues.get(claimed.kind, [])
        taken.append(queue.pop(0) if queue else None)
    return taken


def nearest(claims: Claims, named: str | None) -> Nearest | None:
    """The network of the zoo with which the most claims agree: its name, how many agree, of how many."""
    best: Nearest | None = None
    for name in dict.fromkeys([*([named] if named in NETWORKS else []), *ALEXNETS, *NETWORKS]):
        agree = total = 0
        for claimed, reference in zip(claims.layers, align(claims, str(name)), strict=True):
            if claimed.kind in PASSING:
                continue
            for field, claim in claimed.claims.items():
                if field in RECEPTIVE:  # follow from the layers before, which need not be listed
                    continue
                total += 1
                agree += reference is not None and as_in(claim, field, reference, claims.batch or 1)
        if total and (best is None or agree > best[1]):
            best = (str(name), agree, total)
    return best


def as_in(claim: Claim, field: str, reference: Reference, batch: int) -> bool:
    """Whether the claim holds for the network's layer."""
    if field in STATED:
        return claim.value == hyperparameter(reference.layer, field)
    return holds(claim, reference.row, batch=batch) is not None


def hyperparameter(layer: Conv | MaxPool | Dense, field: str) -> int | None:
    """The layer's field as claims call it, where it is a whole number."""
    name = "units" if isinstance(layer, Dense) and field in ("units", "filters") else field
    value = getattr(layer, name, None)
    return value if isinstance(value, int) else None

"""Networks side by side: a line each, and what differs between two of them, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from alexnet.architecture.arithmetic import shape_text
from alexnet.architecture.layers import Layer
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.architecture.tables import aligned

ABSENT = "-"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two networks differ."""

    where: str  # "input", "conv1.rounding", "norm1", "order"
    first: str  # what stands there, as text; ABSENT where nothing does
    second: str


def differences(first: Network, second: Network) -> list[Difference]:
    """Where the networks differ: input, fields of layers of one name, layers that one lacks, their order.

    >>> from alexnet.architecture.network import edit
    >>> from alexnet.architecture.zoo import NOTES
    >>> differences(NOTES, edit(NOTES, "pool1.stride=4"))
    [Difference(where='pool1.stride', first='2', second='4')]

    Names and sources are not compared.
    """
    found = []
    if first.input != second.input:
        found.append(_difference("input", shape_text(first.input), shape_text(second.input)))
    theirs = {layer.name: layer for layer in second.layers}
    ours = {layer.name: layer for layer in first.layers}
    for name, layer in ours.items():
        found += _between(name, layer, theirs.get(name))
    found += [_difference(name, ABSENT, layer.kind) for name, layer in theirs.items() if name not in ours]
    shared = [name for name in ours if name in theirs]
    order = [name for name in theirs if name in ours]
    found += [_difference("order", " ".join(one), " ".join(other)) for one, other in _moved(shared, order)]
    return found


def _moved(one: list[str], other: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The shortest runs of the same names that stand in another order, of two orders of the same names."""
    start = 0
    for end in range(1, len(one) + 1):
        if set(one[start:end]) == set(other[start:end]):
            if one[start:end] != other[start:end]:
                yield one[start:end], other[start:end]
            start = end


def line(network: Network) -> dict[str, str | int]:
    """A network's name, input, first map, parameters, MACs and source, for a list of networks."""
    summary = summarize(network)
    return {
        "name": network.name,
        "input": shape_text(network.input),
        "conv1": shape_text(summary.layers[0].output),
        "parameters": summary.parameters,
        "macs": summary.macs,
        "source": network.source,
    }


def list_text(networks: Iterable[Network]) -> str:
    """A table with a line a network, and below it where each is from."""
    rows = [
        [f"{value:,}" if isinstance(value, int) else value for value in line(each).values()]
        for each in networks
    ]
    head = ("network", "input", "first map", "parameters", "MACs")
    sources = "\n".join(f"{row[0]}: {row[-1]}" for row in rows)
    return f"{aligned(head, [row[:-1] for row in rows])}\n\n{sources}\n"


def differences_text(first: Network, second: Network, *, names: tuple[str, str]) -> str:
    """A table with a line for each place in which they differ, and a column for each by its name."""
    found = differences(first, second)
    if not found:
        return f"{' and '.join(names)}: no difference\n"
    return aligned(("", *names), [(each.where, each.first, each.second) for each in found]) + "\n"


def _between(name: str, one: Layer, other: Layer | None) -> list[Difference]:
    if other is None:
        return [_difference(name, one.kind, ABSENT)]
    if one.kind != other.kind:
        return [_difference(f"{name}.kind", one.kind, other.kind)]
    return [
        _difference(f"{name}.{each.name}", _text(getattr(one, each.name)), _text(getattr(other, each.name)))
        for each in fields(one)
        if getattr(one, each.name) != getattr(other, each.name)
    ]


def _text(value: object) -> str:
    return ABSENT if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _difference(where: str, first: str, second: str) -> Difference:
    return Difference(where=where, first=first, second=second)

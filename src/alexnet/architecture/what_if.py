"""What becomes of a network when it is changed: its figures, or where and why it breaks and what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alexnet.architecture.layers import Conv, Dense, MaxPool
from alexnet.architecture.network import Network, edit
from alexnet.architecture.repairs import Edits
from alexnet.architecture.sentences import sentence
from alexnet.architecture.summary import MisfitError, Summary, summarize
from alexnet.errors import NetworkError

_STRIDES = (1, 2, 3, 4, 5)
_KERNELS = (1, 2, 3, 5, 7, 11)
_PADDINGS = (0, 1, 2, 3)
_SHARES = (0.5, 2.0)  # of filters and units
_SIDES = (32, 64, 96, 128, 160, 192, 224, 227, 256, 320, 384)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A network after its changes."""

    settings: Edits  # as `edit` takes them
    summary: Summary  # of all its layers, or of those before the one that breaks
    breaks: str | None = None  # the layer that cannot take what reaches it
    reason: str | None = None  # why, in a line
    routes: tuple[Edits, ...] = ()  # changes that mend it, the smallest first

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, each layer with its sentence."""
        described: dict[str, Any] = json.loads(self.summary.json())
        layers = zip(self.summary.network.layers, self.summary.layers, strict=False)  # it may break before
        for told, (layer, row) in zip(described["layers"], layers, strict=True):
            told["sentence"] = sentence(layer, row)
        broken = {"layer": self.breaks, "reason": self.reason, "routes": [list(each) for each in self.routes]}
        return {
            "settings": list(self.settings),
            "summary": described,
            "breaks": broken if self.breaks is not None else None,
        }


def what_if(network: Network, *settings: str) -> Outcome:
    """The figures of the network with `settings` changed, as `edit` reads them.

    >>> from alexnet import NOTES
    >>> what_if(NOTES, "pool1.stride=1").summary.layers[-1].output
    (1000,)
    >>> what_if(NOTES, "pool1.stride=4").breaks
    'conv4'

    Raises NetworkError for a setting that is none.
    """
    try:
        return Outcome(settings=settings, summary=summarize(edit(network, *settings)))
    except MisfitError as error:
        return Outcome(
            settings=settings,
            summary=error.summary,
            breaks=error.layer,
            reason=str(error).partition("; ")[0],
            routes=error.routes,
        )


def usual_changes(network: Network) -> list[str]:
    """The single settings that people try first, in the order of the layers; `edit` takes each."""
    return [setting for setting in _candidates(network) if _is_allowed(network, setting)]


def _candidates(network: Network) -> Iterator[str]:
    side = network.input[0]
    yield from (f"input={each}" for each in _SIDES if (each, each) != (side, network.input[1]))
    for layer in network.layers:
        match layer:
            case Conv() | MaxPool():
                yield from _others(layer.name, "stride", layer.stride, _STRIDES)
                yield from _others(layer.name, "kernel", layer.kernel, _KERNELS)
                yield from _others(layer.name, "padding", layer.padding, _PADDINGS)
        match layer:
            case Conv():
                shares = [round(layer.filters * share) for share in _SHARES]
                yield from _others(layer.name, "filters", layer.filters, shares)
            case Dense() if layer is not network.layers[-1]:
                shares = [round(layer.units * share) for share in _SHARES]
                yield from _others(layer.name, "units", layer.units, shares)


def _others(layer: str, name: str, value: int, values: tuple[int, ...] | list[int]) -> Iterator[str]:
    yield from (f"{layer}.{name}={each}" for each in values if each != value)


def _is_allowed(network: Network, setting: str) -> bool:
    try:
        edit(network, setting)
    except NetworkError:
        return False
    return True

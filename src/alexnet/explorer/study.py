"""A model to be explored, and what it makes of pictures: as JSON and arrays, for the page and nobody else."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from alexnet.architecture.summary import Summary, summarize
from alexnet.architecture.tour import tour
from alexnet.architecture.what_if import Outcome, usual_changes, what_if
from alexnet.errors import NetworkError, ServerError
from alexnet.images.decode import Picture
from alexnet.inside.activations import Activations, record
from alexnet.inside.attribution import cam_layer, grad_cam
from alexnet.learning.classifier import ranked, softmax
from alexnet.learning.html_page import image_url
from alexnet.learning.weights import Weights
from alexnet.writing import printable

Values = npt.NDArray[np.float32]

TOP = 5  # answers
_STRONGEST = 12  # channels of a layer that are named
_REMEMBERED = 24  # pictures whose activations are kept
_MOST_BYTES = 256 << 20  # of all that is kept: AlexNet's are some MB a picture, VGG-16's a hundred


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What one filter or unit multiplies what it sees by, and what it adds."""

    weights: Values  # (depth, height, width), or (length,)
    bias: float


class Study:
    """One model under its name. Safe to ask from several threads: one at a time computes.

    Raises ServerError for a network whose input is no colour picture.
    """

    def __init__(self, weights: Weights, *, name: str) -> None:
        depth = weights.model.network.input[2]
        if depth != 3:
            raise ServerError(f"{name}: an input of depth {depth}; must be 3, red, green and blue")
        self.name = name
        self.weights = weights
        self._class_names = [printable(each) for each in weights.class_names]
        self._lock = Lock()
        self._crops: dict[str, Picture] = {}
        self._recorded: OrderedDict[str, Activations] = OrderedDict()  # the one asked for last at the end

    @property
    def summary(self) -> Summary:
        """The network's figures."""
        return summarize(self.weights.model.network)

    def about(self) -> dict[str, Any]:
        """All that is known without a picture."""
        network, summary = self.weights.model.network, self.summary
        try:
            cam: str | None = cam_layer(network)
        except NetworkError:
            cam = None
        return {
            "name": self.name,
            "classes": self._class_names,
            "outcome": what_if(network).to_dict(),
            "shares": {
                row.name: {"weights": row.weights / summary.weights, "macs": row.macs / summary.macs}
                for row in summary.layers
                if row.weights
            },
            "tour": [asdict(step) for step in tour(summary)],
            "changes": usual_changes(network),
            "cam": cam,
        }

    def what_if(self, *settings: str) -> Outcome:
        """The figures of the network with settings changed; raises NetworkError for one that is none."""
        return what_if(self.weights.model.network, *settings)

    def add(self, key: str, crop: Picture) -> None:
        """Take on a picture, uint8 of the network's input size, under a key of its own."""
        self._crops[key] = crop

    def forget(self, key: str) -> None:
        """Let a picture go, and all that is known of it."""
        with self._lock:
            self._crops.pop(key, None)
            self._recorded.pop(key, None)

    def look(self, key: str) -> dict[str, Any]:
        """What the model makes of a picture: answers, and every layer's range and strongest channels."""
        found = self._activations(key)
        probabilities = softmax(found.logits[None])[0]
        order = np.argsort(-probabilities, kind="stable")[:TOP]
        labels = ranked(probabilities, self._class_names, TOP)
        return {
            "picture": image_url(_png(found.crop), "png"),
            "answers": [
                {"label": int(index), **asdict(label)} for index, label in zip(order, labels, strict=True)
            ],
            "layers": {name: _told(values) for name, values in found.maps.items()},
        }

    def maps(self, key: str, layer: str) -> Values:
        """A layer's output for a picture, (depth, height, width) or (length,); "normalize" is its input."""
        return self._activations(key).maps[layer]

    def cam(self, key: str, layer: str, label: int) -> Values:
        """Grad-CAM on a layer for a class, as `grad_cam` gives it."""
        with self._lock:
            return grad_cam(self.weights.model, self._crops[key], label=label, layer=layer)

    def kernel(self, layer: str, unit: int) -> Kernel:
        """What a filter or unit of a layer has learned; raises NetworkError for one that there is not."""
        weight = self._weight(layer)
        if not 0 <= unit < len(weight):
            raise NetworkError(f"Layer '{layer}': no unit {unit}; must be 0 to {len(weight) - 1}")
        bias = self.weights.model.get_parameter(f"{layer}.bias").detach()[unit]
        return Kernel(weights=_array(weight[unit]), bias=float(bias))

    def kernels(self, layer: str) -> Values:
        """All that a layer has learned but its biases: (filters, depth, height, width) or (units, length).

        Raises NetworkError for a layer without weights.
        """
        return _array(self._weight(layer))

    def _weight(self, layer: str) -> Tensor:
        weight = getattr(getattr(self.weights.model, layer, None), "weight", None)
        if not isinstance(weight, Tensor):
            raise NetworkError(f"Layer '{layer}': no weights; must be a convolution or fully connected")
        return weight

    def _activations(self, key: str) -> Activations:
        with self._lock:
            if key not in self._recorded:
                self._recorded[key] = record(self.weights.model, self._crops[key])
            self._recorded.move_to_end(key)
            kept = sum(map(_bytes, self._recorded.values()))
            while len(self._recorded) > 1 and (len(self._recorded) > _REMEMBERED or kept > _MOST_BYTES):
                kept -= _bytes(self._recorded.popitem(last=False)[1])
            return self._recorded[key]


def _array(weight: Tensor) -> Values:
    values: Values = weight.detach().cpu().float().contiguous().numpy()
    return values


def _bytes(found: Activations) -> int:
    return sum(values.nbytes for values in found.maps.values())


def _told(values: Values) -> dict[str, Any]:
    """A layer's shape and range, and its channels with the largest values, the largest first."""
    largest = values.reshape(len(values), -1).max(axis=1)
    return {
        "shape": list(values.shape),
        "smallest": float(values.min()),
        "largest": float(values.max()),
        "strongest": np.argsort(-largest, kind="stable")[:_STRONGEST].tolist(),
    }


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()

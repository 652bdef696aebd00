"""The file of weights, whatever engine it is for: one self-describing safetensors file. No pickle is opened.

Nothing here loads torch: a file can be read, checked and exported without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from alexnet.architecture.layers import Conv, Dense
from alexnet.architecture.network import Network, from_mapping, to_mapping
from alexnet.architecture.summary import summarize
from alexnet.errors import AlexNetError, WeightsError
from alexnet.images.views import View

FORMAT = 1  # of the description; a reader refuses what is newer
KEY = "alexnet"
"""Under which a file's metadata holds its description."""

_LARGEST_HEADER = 100_000_000  # bytes, by the format; a file of another kind begins with another number

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Description:
    """All that is needed to use weights, besides them."""

    network: Network
    class_names: tuple[str, ...]  # in the order of the logits
    view: View  # how a picture becomes the network's input
    metrics: Mapping[str, Any]  # what was measured when it was saved; may be empty

    def to_json(self) -> str:
        """The way back is `from_json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "network": to_mapping(self.network),
                "class_names": list(self.class_names),
                "view": self.view.to_dict(),
                "metrics": dict(self.metrics),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Description:
        """Raises WeightsError, or a NetworkError or DataError of its parts, where that is none."""
        try:
            described = json.loads(text)
        except (ValueError, RecursionError):
            raise WeightsError("carries no network; must be a weights file that alexnet wrote") from None
        try:
            if described["format"] > FORMAT:
                raise WeightsError(f"format {described['format']}; must be at most {FORMAT}; update alexnet")
            network = from_mapping(described["network"])
            view = View.from_dict(described["view"])
            class_names = _names(described["class_names"])
            metrics = dict(described["metrics"])
        except (KeyError, TypeError, ValueError):
            raise WeightsError("its description is damaged; must be as alexnet wrote it") from None
        if len(class_names) != network.classes:
            raise WeightsError(
                f"{len(class_names)} class names for {network.classes} classes; they must be as many; "
                "train or export it again"
            )
        if (view.height, view.width) != network.input[:2]:
            raise WeightsError(f"a view of {view.height}x{view.width} for input {network.input[:2]}")
        return cls(network=network, class_names=class_names, view=view, metrics=metrics)


def tensor_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that the network's file has, all float32.

    >>> from alexnet import NOTES
    >>> tensor_shapes(NOTES)["conv1.weight"]
    (96, 3, 11, 11)
    """
    depth = network.input[2]
    shapes: dict[str, tuple[int, ...]] = {"normalize.mean": (depth,), "normalize.scale": (depth,)}
    for layer, row in zip(network.layers, summarize(network).layers, strict=True):
        if isinstance(layer, Conv):
            kernel = (layer.kernel, layer.kernel)
            shapes[f"{layer.name}.weight"] = (layer.filters, row.input[-1] // layer.groups, *kernel)
            shapes[f"{layer.name}.bias"] = (layer.filters,)
        elif isinstance(layer, Dense):
            shapes[f"{layer.name}.weight"] = (layer.units, row.input[0])
            shapes[f"{layer.name}.bias"] = (layer.units,)
    return shapes


def is_weights_file(path: str | Path) -> bool:
    """Whether it is one by what it says, and not by what is in it."""
    try:
        with safe_open(path, framework="numpy") as opened:
            return KEY in (opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_metrics(path: str | Path) -> Mapping[str, Any]:
    """What was measured when the weights were saved; nothing of a file that is damaged or not there."""
    try:
        with safe_open(path, framework="numpy") as opened:
            return Description.from_json((opened.metadata() or {}).get(KEY, "")).metrics
    except (SafetensorError, OSError, AlexNetError):
        return {}


def read_weights_file(path: str | Path) -> tuple[Description, dict[str, Floats]]:
    """What the file says of itself, and its tensors by name.

    Raises WeightsError that names the file and what is wrong with it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    header = int.from_bytes(start[:8], "little")  # its length; it is JSON
    begins = header <= _LARGEST_HEADER and start[8:] == b"{"  # what a pickle says there is beyond any
    if not begins and start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        raise WeightsError(
            f"{path}: a pickle, as torch.save writes; opening one can run any code in it; "
            "must be a safetensors file that alexnet wrote"
        )
    exported = path.suffix.lower() in (".onnx", ".xml")
    if header > _LARGEST_HEADER and not exported:
        raise WeightsError(f"{path}: no weights; must be a safetensors file that alexnet wrote")
    try:
        with safe_open(path, framework="numpy") as opened:
            description = Description.from_json((opened.metadata() or {}).get(KEY, ""))
            found = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
            _check({name: (each.get_shape(), each.get_dtype()) for name, each in found.items()}, description)
            tensors = {name: opened.get_tensor(name) for name in found}
            for name, each in tensors.items():
                if not np.isfinite(each).all():
                    raise WeightsError(not_finite(name))
            return description, tensors
    except (SafetensorError, OSError) as error:
        if exported:
            raise WeightsError(
                f"{path}: an exported file; must be weights, such as those that it was made from"
            ) from None
        raise WeightsError(f"{path}: not a whole safetensors file ({error}); it may be truncated") from None
    except AlexNetError as error:
        raise WeightsError(f"{path}: {error}") from None


def not_finite(tensor: str) -> str:
    """What to say of a tensor with such values: every answer would be none."""
    return (
        f"tensor '{tensor}': has values that are not finite, as after training diverged; take other weights"
    )


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError
    return tuple(value)


def _check(found: Mapping[str, tuple[list[int], str]], description: Description) -> None:
    expected = tensor_shapes(description.network)
    missing, foreign = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or foreign:
        name, what = (missing[0], "is missing") if missing else (foreign[0], "is not the network's")
        raise WeightsError(f"tensor '{name}' {what}; the file belongs to another network")
    for name, shape in expected.items():
        if found[name] != (list(shape), "F32"):
            raise WeightsError(
                f"tensor '{name}': {found[name][0]} of {found[name][1]}; the network needs {list(shape)} of "
                "F32; the file belongs to another network"
            )

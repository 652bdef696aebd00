"""One self-describing safetensors file: weights, network, class names, view, metrics. No pickle is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alexnet.architecture.network import from_mapping, to_mapping
from alexnet.errors import AlexNetError, WeightsError
from alexnet.images.views import View
from alexnet.learning.allocator import keep_freed_memory
from alexnet.learning.classifier import Classifier, Logits
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet, set_layout
from alexnet.writing import written_whole

FORMAT = 1  # of the metadata; a reader refuses what is newer


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a weights file holds: the model, and all that is needed to use it."""

    model: AlexNet
    class_names: tuple[str, ...]  # in the order of the logits
    view: View  # how a picture becomes the model's input
    metrics: Mapping[str, Any]  # what was measured when it was saved; may be empty


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write a weights file, whole or not at all; raises OutputError where that fails."""
    described = {
        "format": FORMAT,
        "network": to_mapping(weights.model.network),
        "class_names": list(weights.class_names),
        "view": weights.view.to_dict(),
        "metrics": dict(weights.metrics),
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.model.state_dict().items()}
    write_tensors(path, tensors, {"alexnet": json.dumps(described)})


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all, without a copy of it in memory.

    Raises OutputError where that fails.
    """
    with written_whole(path) as aside:
        try:
            save_file(dict(tensors), aside, metadata=dict(metadata))
        except SafetensorError as error:  # the disk's refusal, as safetensors tells it
            raise OSError(str(error)) from error


def load_weights(path: str | Path) -> Weights:
    """Read a weights file; raises WeightsError that names the file and what is wrong with it."""
    path = Path(path)
    described, tensors = _read(path)
    try:
        if described["format"] > FORMAT:
            raise WeightsError(f"format {described['format']}; must be at most {FORMAT}; update alexnet")
        network = from_mapping(described["network"])
        view = View.from_dict(described["view"])
        class_names = _names(described["class_names"])
        metrics = dict(described["metrics"])
        if len(class_names) != network.classes:
            raise WeightsError(
                f"{len(class_names)} class names for {network.classes} classes; they must be as many; "
                "train or export it again"
            )
        if (view.height, view.width) != network.input[:2]:
            raise WeightsError(f"a view of {view.height}x{view.width} for input {network.input[:2]}")
        with torch.device("meta"):
            model = AlexNet(network)
        _check_tensors(tensors, model.state_dict())
    except AlexNetError as error:
        raise WeightsError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{path}: its description is damaged; must be as alexnet wrote it") from None
    model.load_state_dict(tensors, assign=True)
    set_layout(model, torch.channels_last)
    return Weights(model=model.eval(), class_names=class_names, view=view, metrics=metrics)


def torch_classifier(weights: Weights, *, device: torch.device, precision: torch.dtype) -> Classifier:
    """The weights' model as a Classifier that runs in torch on `device`; it is put in evaluation mode.

    On a processor, the process keeps freed memory from then on (`keep_freed_memory`).
    """
    model = weights.model.to(device).eval()
    forward = FusedForward(model, precision=precision).eval()
    if device.type == "cpu":
        keep_freed_memory()

    @torch.inference_mode()
    def run(batch: Any) -> Logits:
        logits: Tensor = forward(torch.from_numpy(batch).to(device))
        result: Logits = logits.float().cpu().numpy()
        return result

    return Classifier(run=run, network=model.network, class_names=weights.class_names, view=weights.view)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        raise WeightsError(
            f"{path}: a pickle, as torch.save writes; opening one can run any code in it; "
            "must be a safetensors file that alexnet wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})["alexnet"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error}); it may be truncated") from None
    except (KeyError, ValueError, RecursionError):
        raise WeightsError(f"{path}: carries no network; must be a weights file that alexnet wrote") from None
    if not isinstance(described, dict):
        raise WeightsError(f"{path}: its description is damaged; must be as alexnet wrote it")
    return described, tensors


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError
    return tuple(value)


def _check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing: Sequence[str] = sorted(expected.keys() - found.keys())
    foreign: Sequence[str] = sorted(found.keys() - expected.keys())
    if missing or foreign:
        name, what = (missing[0], "is missing") if missing else (foreign[0], "is not the network's")
        raise WeightsError(f"tensor '{name}' {what}; the file belongs to another network")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape or found[name].dtype != tensor.dtype:
            raise WeightsError(
                f"tensor '{name}': {list(found[name].shape)} {found[name].dtype}; the network needs "
                f"{list(tensor.shape)} {tensor.dtype}; the file belongs to another network"
            )

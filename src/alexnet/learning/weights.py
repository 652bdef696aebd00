"""Weights as torch has them: a model with all that is needed to use it, to and from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from alexnet.architecture.layers import Conv, Dense
from alexnet.architecture.network import Network
from alexnet.errors import AlexNetError, WeightsError
from alexnet.images.views import View
from alexnet.learning.classifier import Classifier, Logits
from alexnet.learning.devices import prepare
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet, set_layout
from alexnet.learning.weights_file import KEY, Description, read_weights_file
from alexnet.writing import written_whole


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a weights file holds: the model, and all that is needed to use it."""

    model: AlexNet
    class_names: tuple[str, ...]  # in the order of the logits
    view: View  # how a picture becomes the model's input
    metrics: Mapping[str, Any]  # what was measured when it was saved; may be empty

    @property
    def description(self) -> Description:
        """What their file says of itself."""
        return Description(
            network=self.model.network, class_names=self.class_names, view=self.view, metrics=self.metrics
        )


def untrained_weights(network: Network) -> Weights:
    """Those that training would begin with, the same every time: for looking at, and for measuring speed.

    Raises NetworkError for a network that does not fit.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlexNet(network).eval()
    names = tuple(f"class {index}" for index in range(network.classes))
    return Weights(model=model, class_names=names, view=View.of(*network.input[:2]), metrics={})


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write a weights file, whole or not at all; raises OutputError where that fails."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.model.state_dict().items()}
    write_tensors(path, tensors, {KEY: weights.description.to_json()})


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
    description, tensors = read_weights_file(path)
    try:
        with torch.device("meta"):
            model = AlexNet(description.network)
    except AlexNetError as error:
        raise WeightsError(f"{path}: {error}") from None
    model.load_state_dict({name: torch.from_numpy(each) for name, each in tensors.items()}, assign=True)
    set_layout(model, torch.channels_last)
    return Weights(
        model=model.eval(),
        class_names=description.class_names,
        view=description.view,
        metrics=description.metrics,
    )


def torch_classifier(weights: Weights, *, device: torch.device, precision: torch.dtype) -> Classifier:
    """The weights' model as a Classifier that runs in torch on `device`; it is put in evaluation mode.

    The process is made ready for that (`prepare`): on a processor it keeps freed memory from then on.
    """
    model = weights.model.to(device).eval()
    used = _rounded(model) if precision == torch.bfloat16 else model
    forward = FusedForward(used, precision=precision).eval()
    prepare(device)

    @torch.inference_mode()
    def run(batch: Any) -> Logits:
        logits: Tensor = forward(torch.from_numpy(batch).to(device))
        result: Logits = logits.float().cpu().numpy()
        return result

    return Classifier(
        run=run,
        network=model.network,
        class_names=weights.class_names,
        view=weights.view,
        engine=f"torch on {device}, {str(precision).removeprefix('torch.')}",
    )


def _rounded(model: AlexNet) -> AlexNet:
    """The model with weights in bfloat16, to which `autocast` would round them at every call.

    For one picture that takes as long as all the rest. The first layer with weights keeps its own, which the
    normalisation's scale goes into before they are rounded.
    """
    first = next(layer.name for layer in model.network.layers if isinstance(layer, Conv | Dense))
    own = ("normalize.", f"{first}.")
    state = {
        name: each if name.startswith(own) else each.to(torch.bfloat16)
        for name, each in model.state_dict().items()
    }
    with torch.device("meta"):
        rounded = AlexNet(model.network)
    rounded.load_state_dict(state, assign=True)
    return rounded

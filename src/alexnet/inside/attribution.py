"""What an answer rests on: Grad-CAM, occlusion, integrated gradients. Captum computes, this asks.

All are for one picture and one class's logit; what they give is an array, which `heat` and `page` show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.layers import Conv, Dense, Flatten, ReLU
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.errors import MissingExtraError, NetworkError
from alexnet.images.decode import Picture
from alexnet.inside.activations import as_batch, record
from alexnet.learning.model import AlexNet

Heat = npt.NDArray[np.float32]
"""(height, width): one number a place."""


def grad_cam(model: AlexNet, crop: Picture, *, label: int | None = None, layer: str | None = None) -> Heat:
    """Where `layer` holds what speaks for the class: (height, width) of its grid, at least 0.

    Each of the layer's maps is weighted by the mean gradient of the class's logit with respect to it; of
    their sum what is above 0 is kept (Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2). `label` is the
    class's index, by default the likeliest's; `layer` is one that gives a volume, by default `cam_layer`'s.
    `crop` is uint8, of the network's input size. The model is put in evaluation mode. Raises NetworkError for
    a label or a layer that there is not and for a layer that gives a vector, PictureError for a crop of
    another size, MissingExtraError without captum.
    """
    network = model.network
    chosen = cam_layer(network) if layer is None else layer
    network.layer(chosen)
    row = _row(network, chosen)
    if len(row.output) != 3:
        raise NetworkError(
            f"Layer '{chosen}': gives a vector of {shape_text(row.output)}; must give a volume, height x "
            f"width x depth; take {_volumes(network)}"
        )
    target = choose_label(model, crop, label)
    explained = _captum().LayerGradCam(model.eval(), model.get_submodule(chosen))
    found: Tensor = explained.attribute(_leaf(model, crop), target=target, relu_attributions=True)
    return _array(found[0, 0])


def cam_layer(network: Network) -> str:
    """The layer that Grad-CAM looks at unless told otherwise: the ReLU behind the last convolution.

    Raises NetworkError for a network without one.

    >>> from alexnet.architecture.zoo import NOTES
    >>> cam_layer(NOTES)
    'relu5'
    """
    found, behind_convolution = None, False
    for layer in network.layers:
        if isinstance(layer, ReLU) and behind_convolution:
            found, behind_convolution = layer.name, False
        elif isinstance(layer, Conv | Dense | Flatten):
            behind_convolution = isinstance(layer, Conv)
    if found is None:
        raise NetworkError(
            f"network '{network.name}': no convolution with a ReLU behind it, where Grad-CAM looks by "
            f"default; a layer must be named; take {_volumes(network)}"
        )
    return found


def choose_label(model: AlexNet, crop: Picture, label: int | None) -> int:
    """`label`, or the likeliest class's index where it is None.

    Raises NetworkError for one that is not of the network.
    """
    classes = model.network.classes
    if label is None:
        return int(record(model, crop).logits.argmax())
    if not 0 <= label < classes:
        raise NetworkError(f"label: {label}; must be 0 to {classes - 1}, a class of '{model.network.name}'")
    return label


def _captum() -> Any:
    """Its methods. It loads matplotlib's windows and more: only who asks for an attribution waits."""
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "inside") from None
    return captum.attr


def _row(network: Network, name: str) -> LayerSummary:
    return next(row for row in summarize(network).layers if row.name == name)


def _volumes(network: Network) -> str:
    """The end of an error: which layers would do."""
    names = [row.name for row in summarize(network).layers if len(row.output) == 3]
    return f"one of {', '.join(names)}" if names else "another network: this one has none that does"


def _leaf(model: AlexNet, crop: Picture) -> Tensor:
    """The crop as a float batch of one that gradients reach."""
    return as_batch(model, crop).float().requires_grad_()


def _array(found: Tensor) -> Heat:
    return np.array(found.detach().float().cpu().numpy(), order="C")

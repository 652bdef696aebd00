"""What an answer rests on: Grad-CAM, occlusion, integrated gradients. Captum computes, this asks.

All are for one picture and one class's logit; what they give is an array, which `heat` and `page` show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from alexnet.architecture.arithmetic import shape_text
from alexnet.architecture.layers import Conv, Dense, Flatten, ReLU
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.errors import MissingExtraError, NetworkError, PictureError
from alexnet.images.decode import Picture
from alexnet.inside.activations import as_batch, record
from alexnet.learning.model import AlexNet

_BYTES = 400_000_000  # of activations, at a time
_MOST_AT_ONCE = 32  # pictures; more gain nothing

Heat = npt.NDArray[np.float32]
"""(height, width): one number a place; or (height, width, depth)."""


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
    check_volume(network, chosen)
    target = choose_label(model, crop, label)
    explained = _captum().LayerGradCam(model.eval(), model.get_submodule(chosen))
    found: Tensor = explained.attribute(_leaf(model, crop), target=target, relu_attributions=True)
    return _array(found[0, 0])


def occlusion(model: AlexNet, crop: Picture, *, label: int | None = None, window: int, stride: int) -> Heat:
    """How much the class's logit falls where the picture is hidden: (height, width) of the crop.

    A square of `window` pixels in the mean colour is laid on the crop every `stride` pixels (Zeiler and
    Fergus 2014, section 4.2); a pixel's number is the mean, over the squares that hide it, of what the logit
    loses: below 0 where it gains. `label` and the errors are as in `grad_cam`; PictureError too for a window
    that does not fit the crop, or a stride that leaves pixels between windows.
    """
    batch = as_batch(model, crop).float()
    _, height, width, depth = batch.shape
    for name, value, most in (("window", window, min(height, width)), ("stride", stride, window)):
        if not 1 <= value <= most:
            raise PictureError(f"occlusion: a {name} of {value} pixels; must be 1 to {most}")
    target = choose_label(model, crop, label)
    found: Tensor = (
        _captum()
        .Occlusion(model.eval())
        .attribute(
            batch,
            sliding_window_shapes=(window, window, depth),
            strides=(stride, stride, depth),
            baselines=_mean_colour(model, batch),
            target=target,
            perturbations_per_eval=_at_once(model.network, gradients=False),
        )
    )
    return _array(found[0, :, :, 0])  # a square hides all channels: they have one number


def integrated_gradients(model: AlexNet, crop: Picture, *, label: int | None = None, steps: int = 50) -> Heat:
    """What each value of the crop adds to the class's logit: (height, width, depth), of either sign.

    The logit's gradients are averaged over `steps` pictures on the straight way from one of the mean colour
    to the crop, and multiplied by that way (Sundararajan et al. 2017). They add up to the difference of the
    two pictures' logits, the closer the more steps. `label` and the errors are as in `grad_cam`; PictureError
    too for `steps` below 1.
    """
    if steps < 1:
        raise PictureError(f"integrated gradients: {steps} steps; must be at least 1")
    target = choose_label(model, crop, label)
    batch = _leaf(model, crop)
    found: Tensor = (
        _captum()
        .IntegratedGradients(model.eval())
        .attribute(
            batch,
            baselines=_mean_colour(model, batch),
            target=target,
            n_steps=steps,
            internal_batch_size=_at_once(model.network, gradients=True),
        )
    )
    return _array(found[0])


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


def check_volume(network: Network, layer: str) -> None:
    """Raise NetworkError unless the network has a layer of that name, and it gives a volume."""
    network.layer(layer)
    output = next(row.output for row in summarize(network).layers if row.name == layer)
    if len(output) != 3:
        raise NetworkError(
            f"Layer '{layer}': gives a vector of {shape_text(output)}; must give a volume, height x width x "
            f"depth; take {_volumes(network)}"
        )


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


def _volumes(network: Network) -> str:
    """The end of an error: which layers would do."""
    names = [row.name for row in summarize(network).layers if len(row.output) == 3]
    return f"one of {', '.join(names)}" if names else "another network: this one has none that does"


def _leaf(model: AlexNet, crop: Picture) -> Tensor:
    """The crop as a float batch of one that gradients reach."""
    return as_batch(model, crop).float().requires_grad_()


def _mean_colour(model: AlexNet, batch: Tensor) -> Tensor:
    """A picture of nothing: all of it of the mean colour, which normalises to 0."""
    return model.get_buffer("normalize.mean").expand_as(batch).contiguous()


def _at_once(network: Network, *, gradients: bool) -> int:
    """How many pictures' values fit into memory: all layers' where gradients need them, else two layers'."""
    each = [row.activation_bytes for row in summarize(network).layers]
    needed = 3 * sum(each) if gradients else 4 * max(each)
    return min(max(_BYTES // needed, 1), _MOST_AT_ONCE)


def _array(found: Tensor) -> Heat:
    return np.array(found.detach().float().cpu().numpy(), order="C")

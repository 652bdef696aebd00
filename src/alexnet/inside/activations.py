"""record(model, crop): what every layer makes of one picture, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.architecture.arithmetic import shape_text
from alexnet.errors import PictureError, WeightsError
from alexnet.images.decode import Picture
from alexnet.learning.model import AlexNet

Map = npt.NDArray[np.float32]
"""A layer's output for one picture: (depth, height, width), or (length,)."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """One picture's way through a network."""

    crop: Picture  # uint8 (height, width, 3): what the network sees
    maps: Mapping[str, Map]  # "normalize", then every layer by name, in order

    @property
    def logits(self) -> Map:
        """What the last layer gives: (classes,)."""
        return self.maps[list(self.maps)[-1]]


def record(model: AlexNet, crop: Picture) -> Activations:
    """Run the model on one picture, and keep what each of its layers gives, in float32.

    `crop` is uint8 (height, width, depth), of the network's own input size: `views.center` makes it. The
    first map is "normalize", the input as the first layer has it. The model is put in evaluation mode.
    Raises PictureError for a crop of another size, WeightsError where a value is not finite.

    >>> from alexnet.architecture.network import edit
    >>> from alexnet.architecture.zoo import get_network
    >>> model = AlexNet(edit(get_network("small"), "classes=10"))
    >>> kept = record(model, np.zeros((32, 32, 3), np.uint8))
    >>> list(kept.maps)[:3], kept.maps["normalize"].shape, kept.logits.shape
    (['normalize', 'conv1', 'relu1'], (3, 32, 32), (10,))
    """
    value = as_batch(model, crop)
    maps: dict[str, Map] = {}
    with torch.inference_mode():
        for name, module in model.eval().named_children():
            value = module(value)
            # A copy: what one layer gives may be a view of what another gave.
            maps[name] = np.array(value[0].float().cpu().numpy(), order="C")
            if not np.isfinite(maps[name]).all():
                raise WeightsError(
                    f"network '{model.network.name}': {name} gives values that are not finite for this "
                    "picture; its weights are too large; take other weights"
                )
    return Activations(crop=crop, maps=maps)


def as_batch(model: AlexNet, crop: Picture) -> Tensor:
    """The crop as a batch of one, uint8 (1, height, width, depth), where the model is.

    Raises PictureError for a crop that is not of the network's input size.
    """
    wanted = model.network.input
    if crop.shape != wanted or crop.dtype != np.uint8:
        raise PictureError(
            f"crop: {shape_text(crop.shape)} of {crop.dtype}; must be {shape_text(wanted)} of uint8, what "
            f"the network '{model.network.name}' takes; cut it out with views.center"
        )
    device = next(model.buffers()).device
    return torch.from_numpy(np.array(crop))[None].to(device)

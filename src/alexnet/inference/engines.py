"""open_classifier(path): a weights file as a Classifier. The only file that knows which engines there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alexnet.errors import MissingExtraError
from alexnet.learning.classifier import Classifier


def open_classifier(
    path: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    on_fetch: Callable[[str], None] = lambda _: None,
) -> Classifier:
    """Open a weights file as a function from uint8 pictures to logits, run by torch.

    A state dict of torchvision's AlexNet is one too, and "torchvision" its published one, which is fetched
    where it is not on this machine; `on_fetch` is told of it.
    Raises WeightsError for a file that is none, TrainingError for a device that is not there.
    """
    try:
        from alexnet.learning.devices import choose_device, choose_precision
        from alexnet.learning.torchvision import open_weights
        from alexnet.learning.weights import torch_classifier
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from None
    chosen = choose_device(device)
    weights = open_weights(path, on_fetch=on_fetch)
    return torch_classifier(weights, device=chosen, precision=choose_precision(precision, chosen))

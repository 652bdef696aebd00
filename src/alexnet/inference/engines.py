"""open_classifier(path): a weights file as a Classifier. The only file that knows which engines there are."""

from __future__ import annotations

from pathlib import Path

from alexnet.errors import MissingExtraError
from alexnet.learning.classifier import Classifier


def open_classifier(path: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Open a weights file as a function from uint8 pictures to logits, run by torch.

    Raises WeightsError for a file that is none, TrainingError for a device that is not there.
    """
    try:
        from alexnet.learning.devices import choose_device, choose_precision
        from alexnet.learning.weights import load_weights, torch_classifier
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from None
    chosen = choose_device(device)
    weights = load_weights(path)
    return torch_classifier(weights, device=chosen, precision=choose_precision(precision, chosen))

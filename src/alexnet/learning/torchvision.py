"""torchvision's AlexNet: its state dict read and written under its own keys, its published weights fetched.

torchvision itself is not needed. Files of torch.save are opened as data only, never as code. Its 1000 class
names are not here: classes are told as "class 0" to "class 999", in its order.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from alexnet.architecture.layers import Conv, Dense
from alexnet.architecture.summary import summarize
from alexnet.architecture.zoo import TORCHVISION
from alexnet.errors import WeightsError
from alexnet.images.cache import cache_folder
from alexnet.images.views import View
from alexnet.learning.model import AlexNet, set_layout
from alexnet.learning.weights import Weights, load_weights
from alexnet.learning.weights_file import not_finite

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""Where torchvision publishes them; before the suffix stands the beginning of the file's SHA-256."""

# Its modules that carry weights, in order, by place in its two nn.Sequential: torchvision/models/alexnet.py.
_MODULES = (
    *("features.0", "features.3", "features.6", "features.8", "features.10"),
    *("classifier.1", "classifier.4", "classifier.6"),
)
_LAYERS = tuple(layer.name for layer in TORCHVISION.layers if isinstance(layer, Conv | Dense))
KEYS = {
    f"{module}.{part}": f"{layer}.{part}"
    for module, layer in zip(_MODULES, _LAYERS, strict=True)
    for part in ("weight", "bias")
}
"""torchvision's key of each tensor -> ours."""

# Its transforms: values from 0 to 1, less these, over those; red, green, blue.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
VIEW = View(height=224, width=224, resize=256)
"""Its transforms' sizes: the shorter side to 256 pixels, the centre 224 of them."""

_PICKLES = (".pth", ".pt")


def load_state_dict(source: str | Path | Mapping[str, Tensor]) -> Weights:
    """Weights of torchvision's AlexNet, of any number of classes, with its preprocessing.

    `source` is a state dict, or a file that torch.save or safetensors wrote of one. Raises WeightsError that
    names the file, for one that is neither, that could run code when opened, or has other tensors.
    """
    if isinstance(source, Mapping):
        return _weights(source, where="state dict")
    path = Path(source)
    return _weights(_read(path), where=str(path))


def to_state_dict(weights: Weights) -> dict[str, Tensor]:
    """The tensors under torchvision's keys, for its alexnet(num_classes=...).load_state_dict.

    It has no place for the normalisation: `weights.model.normalize` tells what pictures must go through.
    Raises WeightsError where the layers are not those of torchvision's AlexNet.
    """
    network = weights.model.network
    if network.layers != TORCHVISION.with_classes(network.classes).layers:
        raise WeightsError(
            f"network '{network.name}': its layers are not those of torchvision's AlexNet, whose keys are "
            f"asked for; only the network '{TORCHVISION.name}' has them"
        )
    tensors = weights.model.state_dict()
    return {theirs: tensors[ours].detach().contiguous().clone() for theirs, ours in KEYS.items()}


def open_weights(path: str | Path, *, on_fetch: Callable[[str], None] = lambda _: None) -> Weights:
    """The weights of a file that alexnet wrote, or of torchvision's: "torchvision" is its published ones.

    Raises WeightsError, in a line, for anything else.
    """
    file = file_of(path, on_fetch=on_fetch)
    return load_state_dict(file) if file != Path(path) or _is_theirs(file) else load_weights(file)


def file_of(path: str | Path, *, on_fetch: Callable[[str], None] = lambda _: None) -> Path:
    """The file that weights are in: `path`, or of "torchvision" where its published ones are kept here."""
    if str(path) == TORCHVISION.name and not Path(path).is_file():
        return find_or_fetch(URL, on_fetch=on_fetch)
    return Path(path)


def find_or_fetch(url: str, *, on_fetch: Callable[[str], None] = lambda _: None) -> Path:
    """The file of weights that torchvision publishes at `url`: from the cache, or fetched into it once.

    It comes there whole and verified or not at all. `on_fetch` is told, before anything is fetched, what and
    to where. Raises WeightsError, saying what to do, where it cannot be had.
    """
    name = url.rpartition("/")[2]
    kept = cache_folder() / TORCHVISION.name / name
    try:
        if kept.is_file():
            _verify(kept, remedy="delete it to fetch it again")
            return kept
        mebibytes = summarize(TORCHVISION).parameter_bytes / 2**20
        on_fetch(f"{TORCHVISION.name}: fetching {mebibytes:.0f} MiB, once, from {url} into {kept.parent}")
        cache_folder().mkdir(parents=True, exist_ok=True)
        # Beside the final place, so that moving the file there is one rename, which cannot be seen half done.
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache_folder()) as temporary:
            aside = Path(temporary, name)
            with urllib.request.urlopen(url, timeout=30) as response, aside.open("wb") as file:
                shutil.copyfileobj(response, file)
                file.flush()
                os.fsync(file.fileno())
            _verify(aside, remedy="nothing was kept; try again")
            kept.parent.mkdir(exist_ok=True)
            aside.replace(kept)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or repr(error)
        raise WeightsError(
            f"{TORCHVISION.name}: its weights are not on this machine and cannot be fetched from {url}: "
            f"{reason}; they need a network once; or put that file at {kept}"
        ) from error
    return kept


def _verify(path: Path, *, remedy: str) -> None:
    """Raise WeightsError unless the file's SHA-256 begins as its name says."""
    beginning = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(beginning):
        raise WeightsError(f"{path}: its SHA-256 is {found}; it must begin with {beginning}; {remedy}")


def _is_theirs(path: Path) -> bool:
    """Whether a file is to be read as torchvision's: by its suffix; a safetensors file by its keys."""
    if path.suffix.lower() in _PICKLES:
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return "alexnet" not in (file.metadata() or {}) and not KEYS.keys().isdisjoint(file.keys())
    except (SafetensorError, OSError):
        return False  # who opens it as alexnet's tells what is wrong


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix.lower() not in _PICKLES:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old ways to pickle
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}; check the path") from None
    except UnpicklingError:
        raise WeightsError(
            f"{path}: a pickle that holds more than tensors, or is damaged; opening it could run any code, "
            "so it was not opened; must be as torch.save(model.state_dict(), path) writes it, or safetensors"
        ) from None
    except Exception:  # whatever torch comes upon in a damaged file
        raise WeightsError(
            f"{path}: not a whole file of torch.save or safetensors; it may be truncated"
        ) from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"{path}: a pickle of a {type(loaded).__name__}; must be a state dict of torchvision's AlexNet, "
            "or a safetensors file that alexnet wrote"
        )
    return loaded


def _weights(found: Mapping[str, Tensor], *, where: str) -> Weights:
    """The tensors in a model; raises WeightsError, beginning with `where`, unless they are just its own."""
    missing = [key for key in KEYS if not isinstance(found.get(key), Tensor)]
    foreign = sorted(str(key) for key in found if key not in KEYS)
    if missing or foreign:
        name, what = (missing[0], "is missing") if missing else (foreign[0], "is not among them")
        raise WeightsError(
            f"{where}: tensor '{name}' {what}; must be the state dict of torchvision's AlexNet, "
            f"{next(iter(KEYS))} to {next(reversed(KEYS))}, or a safetensors file that alexnet wrote"
        )
    last = found[next(reversed(KEYS))]
    network = TORCHVISION.with_classes(max(1, last.numel()))
    with torch.device("meta"):
        model = AlexNet(network)
    for theirs, ours in KEYS.items():
        tensor, expected = found[theirs], model.get_parameter(ours)
        if tensor.shape != expected.shape or not tensor.is_floating_point():
            raise WeightsError(
                f"{where}: tensor '{theirs}': {list(tensor.shape)} {tensor.dtype}; torchvision's AlexNet "
                f"needs {list(expected.shape)} {expected.dtype}; the file belongs to another network"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{where}: {not_finite(theirs)}")
    tensors = {
        ours: found[theirs].detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for theirs, ours in KEYS.items()
    }
    tensors["normalize.mean"] = torch.tensor([255 * each for each in _MEAN])
    tensors["normalize.scale"] = torch.tensor([255 * each for each in _DEVIATION])
    model.load_state_dict(tensors, assign=True)
    set_layout(model, torch.channels_last)
    names = tuple(f"class {label}" for label in range(network.classes))
    return Weights(model=model.eval(), class_names=names, view=VIEW, metrics={})

"""explore(weights): the explorer on a port, until it is told to stop; write_site: the same as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from alexnet.architecture.zoo import NETWORKS, TORCHVISION, get_network
from alexnet.errors import DataError
from alexnet.explorer.gallery import Gallery, told_apart
from alexnet.explorer.routes import PLACE, add_explorer
from alexnet.explorer.study import Study
from alexnet.inference.predict import check_paths, find_pictures
from alexnet.learning.torchvision import open_weights
from alexnet.learning.weights import Weights, torch_classifier, untrained_weights
from alexnet.server.app import create_app
from alexnet.server.limits import Limits
from alexnet.server.serving import address_of, bind, run_app

MOST_PICTURES = 64
"""Of those given: each has a button on the page."""


def open_gallery(
    weights: Sequence[str | Path],
    pictures: Sequence[str | Path] = (),
    *,
    on_fetch: Callable[[str], None] = lambda _: None,
) -> Gallery:
    """The models of files of weights, and pictures: files, folders, globs.

    In place of a file the name of a network, or a TOML file of one, shows it untrained. Raises WeightsError,
    NetworkError and PictureError for what cannot be read, DataError for more than MOST_PICTURES.
    """
    check_paths(pictures)
    found = list(find_pictures(pictures))
    if len(found) > MOST_PICTURES:
        raise DataError(f"{len(found):,} pictures; must be at most {MOST_PICTURES}; choose some")
    studies = [
        Study(_opened(path, on_fetch), name=name)
        for path, name in zip(weights, _names([str(each) for each in weights]), strict=True)
    ]
    return Gallery(studies, found)


def explore(
    gallery: Gallery,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    on_listening: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer for a gallery on host:port until SIGTERM or SIGINT; `on_listening` is told the page's address.

    Port 0 is any that is free. Raises ServerError where the port cannot be had.
    """
    limits = limits or Limits()
    first = gallery.studies[0].weights
    with bind(host, port) as listening:
        classifier = torch_classifier(first, device=torch.device("cpu"), precision=torch.float32)
        app = create_app(classifier, limits=limits)
        add_explorer(app, gallery, limits=limits)
        listening.listen()
        on_listening(address_of(listening) + PLACE)
        run_app(app, listening, limits)


def _opened(source: str | Path, on_fetch: Callable[[str], None]) -> Weights:
    """Those of a file, or of torchvision, or untrained ones of a network."""
    described = str(source) in NETWORKS and str(source) != TORCHVISION.name
    if Path(source).suffix == ".toml" or (described and not Path(source).is_file()):
        return untrained_weights(get_network(source))
    return open_weights(source, on_fetch=on_fetch)


def _names(paths: Sequence[str]) -> list[str]:
    """What to call each model: as little of its path as tells them apart.

    >>> _names(["runs/a/best.safetensors", "runs/b/best.safetensors", "torchvision"])
    ['a/best', 'b/best', 'torchvision']
    >>> _names(["/best.safetensors", "/best.safetensors"])
    ['best', 'best, 2']
    """
    return told_apart([each.with_suffix("") if each.name else each for each in map(Path, paths)])

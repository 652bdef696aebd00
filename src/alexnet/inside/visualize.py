"""visualize(weights, picture) -> a folder: what an answer rests on, kernels, maps, and a page of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.architecture.network import Network, suggest
from alexnet.architecture.summary import summarize
from alexnet.errors import DataError, NetworkError, OutputError
from alexnet.images.decode import decode
from alexnet.images.folders import find_below
from alexnet.images.views import center
from alexnet.inside import figures
from alexnet.inside.activations import record
from alexnet.inside.attribution import cam_layer, check_volume, grad_cam, integrated_gradients, occlusion
from alexnet.inside.figures import Figure, Look, Subject
from alexnet.inside.filters import first_kernels
from alexnet.inside.page import page
from alexnet.inside.patches import FILTERS, Excitement, find_patches, placed_convolutions
from alexnet.inside.sheets import png
from alexnet.learning.classifier import Label, ranked, softmax
from alexnet.learning.devices import choose_device, prepare
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights
from alexnet.writing import check_folder, write_together

PAGE = "inside.html"
_PICTURES = (
    *("picture.png", "grad-cam.png", "occlusion.png", "integrated-gradients.png"),
    *("kernels-*.png", "maps-*.png", "patches-*.png"),
)
_TOP = 5  # answers told
_STEPS = 50  # of integrated gradients
_WINDOWS = 6  # occlusion's, side by side along a side of the crop
_STRIDES = 3  # of its windows, along one of them


@dataclass(frozen=True, kw_only=True)
class Visualization:
    """What was written, and what it is about."""

    output: Path  # the folder
    files: tuple[str, ...]  # in it, the page first
    labels: tuple[Label, ...]  # the likeliest first
    explained: str  # the class that the attributions are about
    layer: str | None  # that Grad-CAM looked at; None: the network has none that it could
    unreadable: int  # pictures, of those that patches were looked for in


def visualize(
    weights: Weights,
    picture: str | Path,
    *,
    output: str | Path,
    data: str | Path | None = None,
    label: str | None = None,
    layer: str | None = None,
    filters: int = FILTERS,
    device: str = "auto",
    workers: int = 2,
    on_note: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Visualization:
    """Look into a network while it looks at a picture; write what is seen into a folder, all or nothing.

    That is PNG files and `inside.html`, which holds them all. The folder is its own: what an earlier look
    left there goes. `label` is the class that attributions are about, by default the likeliest; `layer` is
    Grad-CAM's, by default the ReLU behind the last convolution. With `data`, a folder searched to any depth,
    it also holds the pieces of its pictures that excite the `filters` strongest filters of each later
    convolution; `on_progress` is told how many of the pictures are done. `on_note` is told what is computed.
    The model is moved to `device`. Raises NetworkError for an unknown class or layer, PictureError for a
    picture that cannot be read, DataError for a folder without pictures, OutputError where the folder cannot
    be written, MissingExtraError without captum.
    """
    model, view, output = weights.model, weights.view, Path(output)
    asked = None if label is None else _index(weights.class_names, label)
    layer = _chosen_layer(model.network, layer)
    if filters < 1:
        raise DataError(f"filters: {filters}; must be at least 1")
    files = _pictures(data) if data is not None else []
    _check_output(output)
    _move(model, device)
    # A view has no use for more than twice its size (`views.read_centre`), and nor has the page.
    whole = decode(Path(picture), shorter_side=2 * view.resize)
    activations = record(model, center(whole, view))
    subject = Subject(
        picture=whole,
        view=view,
        activations=activations,
        class_names=weights.class_names,
        label=int(activations.logits.argmax()) if asked is None else asked,
    )
    about = tuple(_attributions(model, subject, layer, on_note))
    excitement = None
    if files and not placed_convolutions(model.network):
        on_note("no convolution behind the first has windows of one stride: what excites filters is left out")
    elif files:
        on_note(f"what excites the filters, in {len(files):,} pictures")
        excitement = find_patches(
            model, files, view=view, filters=filters, workers=workers, on_progress=on_progress
        )
    kernels = first_kernels(model)
    look = Look(
        about=about,
        kernels=(figures.kernels_figure(kernels),) if kernels else (),
        maps=tuple(figures.map_figures(model.network, subject)),
        patches=tuple(figures.patch_figures(excitement, view=view)) if excitement else (),
    )
    labels = ranked(softmax(activations.logits[None])[0], weights.class_names, _TOP)
    content = _content(weights, Path(picture), subject, look, labels, excitement)
    write_together(output, content)
    for pattern in _PICTURES:
        for child in output.glob(pattern):
            if child.name not in content:  # of an earlier look, at another network or with other pictures
                child.unlink()
    return Visualization(
        output=output,
        files=tuple(content),
        labels=labels,
        explained=subject.class_name,
        layer=layer,
        unreadable=excitement.unreadable if excitement else 0,
    )


def _index(names: tuple[str, ...], label: str) -> int:
    if label not in names:
        raise NetworkError(f"label '{label}': not a class of these weights; {suggest(label, names)}")
    return names.index(label)


def _chosen_layer(network: Network, layer: str | None) -> str | None:
    """Grad-CAM's layer; None where none is asked for and the network has none that gives a volume."""
    if layer is not None:
        check_volume(network, layer)
        return layer
    volumes = [row for row in summarize(network).layers if len(row.output) == 3]
    return cam_layer(network) if volumes else None


def _pictures(folder: str | Path) -> list[Path]:
    files = list(find_below(Path(folder)))
    if not files:
        raise DataError(f"{folder}: no pictures in this folder; must hold some; check the path")
    return files


def _check_output(folder: Path) -> None:
    """Refuse a place that cannot be written, before anything is computed."""
    check_folder(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / PAGE).exists():
        raise OutputError(
            f"{folder}: not empty, and no {PAGE} in it; must be a folder of its own; choose another place"
        )


def _move(model: AlexNet, device: str) -> None:
    chosen = choose_device(device)
    prepare(chosen)
    model.to(chosen)


def _attributions(
    model: AlexNet, subject: Subject, layer: str | None, on_note: Callable[[str], None]
) -> Iterator[Figure]:
    """The picture, and what the class's logit rests on, by each method."""
    crop, label = subject.activations.crop, subject.label
    yield figures.seen(subject)
    if layer is not None:
        row = next(each for each in summarize(model.network).layers if each.name == layer)
        on_note(f"Grad-CAM of {layer} for {subject.class_name}")
        yield figures.cam_figure(subject, grad_cam(model, crop, label=label, layer=layer), row)
    window = max(min(crop.shape[:2]) // _WINDOWS, 1)
    stride = max(window // _STRIDES, 1)
    on_note(f"occlusion, {window} pixels every {stride}")
    lost = occlusion(model, crop, label=label, window=window, stride=stride)
    yield figures.occlusion_figure(subject, lost, window=window, stride=stride)
    on_note(f"integrated gradients, {_STEPS} steps")
    added = integrated_gradients(model, crop, label=label, steps=_STEPS)
    yield figures.gradients_figure(subject, added, steps=_STEPS)


def _content(
    weights: Weights,
    picture: Path,
    subject: Subject,
    look: Look,
    labels: tuple[Label, ...],
    excitement: Excitement | None,
) -> dict[str, bytes]:
    """The files, by name: the page, then a PNG for each figure."""
    coded = {figure.name: png(figure.picture) for figure in look.figures}
    view, network = subject.view, weights.model.network
    logits = dict(zip(weights.class_names, subject.activations.logits.tolist(), strict=True))
    facts = [
        ("picture", str(picture)),
        ("network", f"{network.name}, {len(weights.class_names):,} classes"),
        ("its view", f"shorter side to {view.resize} pixels, of them the centre {view.height}x{view.width}"),
        ("asked about", subject.class_name),
    ]
    if excitement is not None:
        left_out = f", {excitement.unreadable:,} of them cannot be read" if excitement.unreadable else ""
        facts.append(("filters excited by", f"{len(excitement.files):,} pictures{left_out}"))
    written = page(
        f"Inside {network.name}: {picture.name}",
        facts=facts,
        answers=[(each.name, each.probability, logits[each.name]) for each in labels],
        look=look,
        coded=coded,
    )
    # A file's name need not be UTF-8.
    return {
        PAGE: written.encode(errors="backslashreplace"),
        **{f"{name}.png": content for name, content in coded.items()},
    }

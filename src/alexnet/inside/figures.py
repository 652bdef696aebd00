"""Each picture of a look inside, with its name, what is to be known about it, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.layers import Dense
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.images.decode import Picture
from alexnet.images.views import View
from alexnet.inside.activations import Activations
from alexnet.inside.attribution import Heat
from alexnet.inside.filters import Kernels
from alexnet.inside.heat import Box, overlay, place
from alexnet.inside.maps import map_sheet
from alexnet.inside.patch_sheets import patch_sheets
from alexnet.inside.patches import Excitement
from alexnet.inside.sheets import columns_for, sheet

_KERNEL_SIDE = 44  # pixels of a kernel, as it is shown, at least
_BRIGHTEST = 99.5  # per cent of the pixels that are not the brightest: single ones would outshine the rest


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture and its words."""

    name: str  # of its file, less its ending
    title: str
    facts: str  # shape, range and the like; may be empty
    reads: str  # how to read it; may be empty where that is said once for several
    alt: str  # for who cannot see it
    picture: Picture
    photograph: bool = False  # of many colours, of which none has a meaning of its own
    folded: bool = False  # to be unfolded by who wants to see it


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that is shown of a look inside."""

    about: tuple[Figure, ...]  # the picture, and what a class's logit rests on
    kernels: tuple[Figure, ...]  # of the first convolution: one, or none where there is none
    maps: tuple[Figure, ...]  # one a layer, in order
    patches: tuple[Figure, ...]  # one a later convolution; none where no pictures were given

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them, in order."""
        return self.about + self.kernels + self.maps + self.patches


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at: a picture on its way through a network, and the class that is asked about."""

    picture: Picture  # the whole of it
    view: View  # how its centre became the network's input
    activations: Activations  # what became of that
    class_names: tuple[str, ...]  # in the order of the logits
    label: int  # of the class

    @property
    def class_name(self) -> str:
        """Of the class that is asked about."""
        return self.class_names[self.label]

    @property
    def logit(self) -> float:
        """The network's, for that class."""
        return float(self.activations.logits[self.label])


def seen(subject: Subject) -> Figure:
    """The picture with what the network sees of it framed."""
    view = subject.view
    return Figure(
        name="picture",
        title="What it sees",
        facts=f"{view.height}x{view.width} pixels",
        reads="The network sees what lies within the white frame, and nothing of the dark margin.",
        alt="The picture, the network's part of it framed",
        photograph=True,
        picture=overlay(subject.picture, view, None),
    )


def cam_figure(subject: Subject, cam: Heat, row: LayerSummary) -> Figure:
    """Grad-CAM where the layer's values look."""
    view, at = subject.view, np.unravel_index(int(cam.argmax()), cam.shape)
    placement = place(row, (view.height, view.width))
    window: Box | None = None
    if row.receptive_stride is None:
        how = "Its windows have no one stride: its values are spread evenly over the crop."
    else:
        how = (
            f"Each value stands where the {row.receptive_field}-pixel window that it looks at has its "
            "middle; the green frame is the window of the largest."
        )
        top, left = (each.start + each.stride * int(i) for each, i in zip(placement, at, strict=True))
        window = (left, top, left + row.receptive_field, top + row.receptive_field)
    largest = float(cam.max())
    says = (
        f"Bright where {row.name} holds what speaks for {subject.class_name}."
        if largest
        else f"Nothing in {row.name} speaks for {subject.class_name}."
    )
    return Figure(
        name="grad-cam",
        title="Grad-CAM",
        facts=f"{row.name}, {shape_text(row.output[:2])} values, up to {largest:.3g}",
        reads=f"{says} {how}",
        alt=f"Grad-CAM of {row.name} for {subject.class_name}, laid on the picture",
        photograph=True,
        picture=overlay(
            subject.picture, view, cam / (largest or 1), placement, window=window if largest else None
        ),
    )


def occlusion_figure(subject: Subject, lost: Heat, *, window: int, stride: int) -> Figure:
    """What hiding costs, where it costs."""
    most, gained = max(float(lost.max()), 0.0), max(-float(lost.min()), 0.0)
    return Figure(
        name="occlusion",
        title="Occlusion",
        facts=f"a square of {window} pixels, every {stride}; the logit is {subject.logit:.2f}",
        reads=(
            f"Bright where hiding the picture lowers the logit of {subject.class_name}, by up to {most:.2f}; "
            f"elsewhere it rises by up to {gained:.2f}."
        ),
        alt=f"Where hiding the picture lowers the logit of {subject.class_name}",
        photograph=True,
        picture=overlay(subject.picture, subject.view, np.maximum(lost, 0) / (most or 1)),
    )


def gradients_figure(subject: Subject, added: Heat, *, steps: int) -> Figure:
    """What each pixel adds to the logit, or takes from it."""
    strength = np.abs(added.sum(axis=2))
    brightest = float(np.percentile(strength, _BRIGHTEST))
    return Figure(
        name="integrated-gradients",
        title="Integrated gradients",
        facts=f"{steps} steps from the mean colour; in all {float(added.sum()):+.2f}",
        reads=(
            f"Bright where single pixels move the logit of {subject.class_name} most, up or down, on the "
            "way from a picture of the mean colour to this one."
        ),
        alt=f"Pixels that move the logit of {subject.class_name}",
        photograph=True,
        picture=overlay(subject.picture, subject.view, strength / (brightest or 1)),
    )


def kernels_figure(kernels: Kernels) -> Figure:
    """All kernels of the first convolution."""
    count, side = kernels.tiles.shape[:2]
    factor = -(-_KERNEL_SIDE // side)
    weakest, strongest = kernels.largest.min(), kernels.largest.max()
    towers = f"; its {kernels.towers} blocks are the towers" if kernels.towers > 1 else ""
    return Figure(
        name=f"kernels-{kernels.layer}",
        title=f"The kernels of {kernels.layer}",
        facts=f"{count} of {side}x{side}x3, largest weights {weakest:.3g} to {strongest:.3g}",
        reads=(
            "Red, green and blue are the weights for these, grey is 0, each kernel on its own scale: the "
            f"filter answers where the picture looks like its kernel{towers}."
        ),
        alt=f"{count} small colour pictures, the kernels of {kernels.layer}",
        picture=sheet(
            kernels.tiles,
            factor=factor,
            parts=kernels.towers,
            columns=columns_for(count // kernels.towers, side * factor + 2),
        ),
    )


def map_figures(network: Network, subject: Subject) -> Iterator[Figure]:
    """Every layer's maps, in order."""
    kinds = {row.name: row.kind for row in summarize(network).layers}
    for name, values in subject.activations.maps.items():
        made = map_sheet(values)
        kind, last = kinds.get(name, "the input"), name == network.layers[-1].name
        what = "unit" if values.ndim == 1 else "map"
        strongest = f"{what} {made.strongest}"
        if last and kind == Dense.kind:
            strongest += f" ({subject.class_names[made.strongest]})"
        shape = shape_text((*values.shape[1:], values.shape[0]))
        facts = f"{shape}, from {made.low:.3g} to {made.high:.3g}, strongest {strongest}"
        if made.shrunk > 1:
            facts += f", {made.shrunk}x{made.shrunk} values a pixel"
        yield Figure(
            name=f"maps-{name}",
            title=f"{name} ({kind})",
            facts=facts,
            reads="",
            alt=f"The {len(values):,} {what}s of {name}, {what} {made.strongest} framed",
            picture=made.picture,
            folded=values.ndim == 1 and not last,
        )


def patch_figures(excitement: Excitement, *, view: View) -> Iterator[Figure]:
    """What excites each layer's filters, a sheet a layer."""
    sheets = patch_sheets(excitement, view=view)
    for found in excitement.layers:
        row, values = found.layer, [patch.value for each in found.filters.values() for patch in each]
        yield Figure(
            name=f"patches-{row.name}",
            title=f"What excites {row.name}",
            facts=(
                f"{len(found.filters)} of {row.output[2]} filters, windows of {row.receptive_field} pixels, "
                f"values {min(values):.3g} to {max(values):.3g}"
            ),
            reads="",
            alt=f"Pieces of pictures that excite filters of {row.name}",
            photograph=True,
            picture=sheets[row.name],
        )

"""tour(summary) -> the lecture notes' walk through a network in ten steps, with its own figures.

The last step says where the notes' own figures do not fit; of another network it sums up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.audit import audit
from alexnet.architecture.claim_files import NAMED, read_claims
from alexnet.architecture.figures import Figures
from alexnet.architecture.layers import Conv, Dense, Flatten, LocalResponseNorm, MaxPool, ReLU
from alexnet.architecture.sentences import carrying, counted
from alexnet.architecture.zoo import NOTES

MISPRINTED = ("pool1.stride=4", "pool2.stride=3")
"""The strides that the lecture notes print, as settings of their network: it cannot have them."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stop of the walk."""

    title: str
    text: str
    layer: str | None  # to look at; None: the whole


def tour(figures: Figures) -> list[Step]:
    """The steps, in the order of the notes; those about a layer kind that the network lacks are left out.

    >>> from alexnet import NOTES, summarize
    >>> steps = tour(summarize(NOTES))
    >>> len(steps), steps[1].title, steps[1].layer
    (10, 'Why a convolution', 'conv1')
    """
    return list(_steps(figures))


def _steps(figures: Figures) -> Iterator[Step]:
    rows = figures.layers
    convolutions = _of_kind(rows, Conv.kind)
    pools = _of_kind(rows, MaxPool.kind)
    dense = _of_kind(rows, Dense.kind)
    yield Step(title="The picture", text=_picture(figures), layer=None)
    if convolutions:
        first = convolutions[0]
        yield Step(title="Why a convolution", text=_why(first), layer=first.name)
        yield Step(title="How large its maps are", text=_size(first), layer=first.name)
    if activations := _of_kind(rows, ReLU.kind):
        yield Step(title="ReLU", text=_relu(figures), layer=activations[0].name)
    if pools:
        yield Step(title="Pooling", text=_pooling(pools[0]), layer=pools[0].name)
    if len(convolutions) > 1:
        yield Step(
            title="Kernels as deep as what they see", text=_deep(convolutions[1]), layer=convolutions[1].name
        )
    if len(convolutions) > 2:
        yield Step(
            title="Smaller, deeper, and seeing more", text=_further(convolutions), layer=convolutions[-1].name
        )
    if vectors := _of_kind(rows, Flatten.kind):
        yield Step(title="From maps to a vector", text=_flat(vectors[-1], pools), layer=vectors[-1].name)
    if dense:
        yield Step(title="Where the weights are", text=_weights(figures, dense), layer=dense[0].name)
    # Weights for other classes than the notes' thousand are still of the notes' network.
    notes = dense and figures.network.input == NOTES.input
    if notes and figures.network.with_classes(NOTES.classes).layers == NOTES.layers:
        yield Step(title="Where the notes' own figures do not fit", text=_misfits(), layer=None)
    else:
        yield Step(title="All together", text=_whole(figures), layer=None)


def _of_kind(rows: tuple[LayerSummary, ...], kind: str) -> list[LayerSummary]:
    return [row for row in rows if row.kind == kind]


def _picture(figures: Figures) -> str:
    height, width, depth = figures.network.input
    return (
        f"A picture comes in as {height} rows of {width} pixels with {depth} numbers each: "
        f"{shape_text((height, width, depth))} = {height * width * depth:,} numbers. "
        f"{carrying(figures.weighted_layers, 'that')} turn{'s' if figures.weighted_layers == 1 else ''} them "
        f"into {figures.layers[-1].output[-1]:,}, one for each class."
    )


def _why(first: LayerSummary) -> str:
    text = f"{first.name} has {first.formulas['weights']} weights."
    if first.fully_connected_weights:
        times = first.fully_connected_weights / first.weights
        text += (
            f" If each of its outputs saw every input it would have "
            f"{first.formulas['fully_connected_weights']}: {times:,.0f} times as many. A kernel looks at a "
            f"small window only, and all places share it."
        )
    return text


def _size(first: LayerSummary) -> str:
    padded = (
        f" with {counted(first.padding or 0, 'zero')} on each side" if first.padding else ", without padding"
    )
    return (
        f"A window of {first.kernel}x{first.kernel} moves {counted(first.stride or 1, 'pixel')} at a "
        f"time{padded}. It finds "
        f"room {first.formulas['height']} times from top to bottom. Each of {first.filters} kernels gives "
        f"one "
        f"map: {shape_text(first.output)}."
    )


def _relu(figures: Figures) -> str:
    count = len(_of_kind(figures.layers, ReLU.kind))
    return (
        f"After a layer with weights, max(0, x) goes over every value: what speaks against a feature counts "
        f"as nothing seen. This network does so {counted(count, 'time')}. Without it, two layers with "
        f"weights that follow each other would come to no more than one."
    )


def _pooling(pool: LayerSummary) -> str:
    overlap = (pool.kernel or 0) > (pool.stride or 0)
    return (
        f"{pool.name} keeps the largest of each {pool.kernel}x{pool.kernel} window, {pool.stride} apart"
        f"{', so that neighbours overlap' if overlap else ''}: {pool.formulas['height']}. The depth stays "
        f"{pool.output[2]}, and there is nothing to learn: 0 weights."
    )


def _deep(second: LayerSummary) -> str:
    seen = second.input[2] // (second.groups or 1)
    parts = f" (it sees one of {second.groups} groups)" if (second.groups or 1) > 1 else ""
    return (
        f"A kernel of {second.name} has {second.kernel}x{second.kernel} weights for each of {seen} "
        f"maps{parts}, and adds up what it sees in all of them. {second.formulas['weights']} weights, and "
        f"{second.formulas['macs']} multiply-adds for one picture."
    )


def _further(convolutions: list[LayerSummary]) -> str:
    first, last = convolutions[0], convolutions[-1]
    depths = ", ".join(str(row.output[2]) for row in convolutions)
    sizes = ", ".join(shape_text(row.output[:2]) for row in convolutions)
    return (
        f"From {first.name} to {last.name} the maps are {sizes}, and there are {depths} of them. One value "
        f"of {first.name} looks at {first.receptive_field}x{first.receptive_field} pixels of the picture, "
        f"one "
        f"of {last.name} at {last.receptive_field}x{last.receptive_field}."
    )


def _flat(vector: LayerSummary, pools: list[LayerSummary]) -> str:
    made = f" that {pools[-1].name} leaves" if pools and pools[-1].output == vector.input else ""
    return (
        f"The {shape_text(vector.input)} values{made} are laid out as a vector: {vector.formulas['output']}. "
        f"Where a feature was is now a matter of its place in the vector."
    )


def _weights(figures: Figures, dense: list[LayerSummary]) -> str:
    parts = "; ".join(f"{row.name}: {row.formulas['weights']}" for row in dense)
    if figures.dense_weights == figures.weights:
        return f"{parts}. Together all of the {figures.weights:,} weights, and all multiply-adds."
    return (
        f"{parts}. Together {figures.dense_weights:,} of {figures.weights:,} weights: "
        f"{figures.dense_share:.1%}. They do {sum(row.macs for row in dense) / figures.macs:.1%} of the "
        f"multiply-adds; the convolutions do the rest."
    )


def _misfits() -> str:
    errors = audit(read_claims(NAMED["notes"])).errors
    told = "; ".join(
        f"{each.where}: {each.field} is printed as {each.claimed}, {each.reason}" for each in errors
    )
    return (
        f"{len(errors)} figures of the lecture notes disagree with the rest of them. {told}. With the "
        f"strides as printed the network would break: try {' with '.join(MISPRINTED)} under What if."
    )


def _whole(figures: Figures) -> str:
    norms = len(_of_kind(figures.layers, LocalResponseNorm.kind))
    said = f" Local response normalisation stands in {counted(norms, 'place')}." if norms else ""
    return (
        f"{carrying(figures.weighted_layers)}: {figures.weights:,} weights and {figures.biases:,} "
        f"biases, {figures.macs:,} multiply-adds for one picture.{said}"
    )

"""diagram(figures) -> SVG: the network as papers draw it, its volumes as boxes, its towers where grouped.

Says what is drawn, and where; drawing.py draws it. Computes no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import assert_never

from alexnet.architecture import drawing
from alexnet.architecture.arithmetic import LayerSummary, Misfit, output_shape, shape_text
from alexnet.architecture.drawing import Block, Label, Scale, width_of, wrapped
from alexnet.architecture.figures import Figures
from alexnet.architecture.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    ReLU,
)
from alexnet.architecture.network import Shape

MOST_TOWERS = 4  # side by side; a volume in more groups is drawn as one
PAGE = 1000.0  # px; a longer row is broken
_NARROWEST = 600.0  # px, for title and caption
_MARGIN = 24.0
_LABEL = 120.0  # px; a longer line of a label is broken
_TEXT_GAP, _DRAWN_GAP = 8.0, 22.0  # between neighbours: of their labels, of their drawings
_HEAD_GAP, _ROW_GAP, _BEND = 18.0, 40.0, 16.0  # below a base line: a row, the next one, the way to it
_BELOW = 20.0  # from a row's drawings to its first base line
_PARAGRAPH = 18.0
_LOOSE = 8.0  # added to the gaps where the page is wide enough
_STRETCH = 34.0  # a row's gaps grow by at most so much to fill the page
_CROSS = 44.0  # side of the mark of a layer that does not fit
# The largest of a picture's lengths, and the largest that one pixel, channel or unit may have.
_SIDE, _TOWERS, _DEPTH, _BAR = (125.0, 20.0), 250.0, (46.0, 4.0), (130.0, 6.0)

_KINDS = {  # marks, in the legend's order
    "input": "picture",
    "conv": "convolution",
    "pool": "pooling",
    "window": "window, and the value it makes",
    "dense": "vector, fully connected",
    "relu": "ReLU",
    "lrn": "local response normalisation",
    "dropout": "dropout",
}


@dataclass(frozen=True, kw_only=True)
class _Stop:
    """A value on its way: what makes it, and the layers that change it but not its shape."""

    layer: Layer | None  # that makes it; None: the picture
    shape: Shape  # empty where the layer does not fit
    towers: int  # in which it is drawn
    how: tuple[str, ...] = ()  # windows, stride, padding, groups, a line each
    then: tuple[Layer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A stop with its place on the page."""

    stop: _Stop
    blocks: tuple[Block, ...]  # one a tower
    labels: tuple[Label, ...]
    center: float  # of its labels
    label_y: float  # of their first line


def diagram(figures: Figures) -> str:
    """The network as an SVG that needs nothing else; text is text, and it is for light and dark pages.

    From left to right every volume is an oblique box: its depth to the right, its height down, its width
    receding to the upper right. On it the window that slides over it, with the point that the window makes.
    Vectors are bars. Volumes in up to 4 groups are as many towers.

    To scale by square roots: a height, width or window of n pixels is drawn as long as a times the root of n,
    a depth of n channels as b times, a vector of n units as c times; lengths that recede are foreshortened to
    0.32 across and up. With plain lengths, 227 pixels would leave 6 too small to see. a, b and c follow from
    the network's largest sizes, and the caption gives them.

    Figures that end before their network does are drawn up to the layer that does not fit, which is marked.

    >>> from alexnet.architecture.summary import summarize
    >>> from alexnet.architecture.zoo import NOTES
    >>> diagram(summarize(NOTES)).startswith("<svg ")
    True
    """
    stops = _stops(figures)
    scale = _scale(stops)
    columns = [_column(stop, scale) for stop in stops]
    rows = _rows(columns, PAGE - 2 * _MARGIN)
    inner = _inner(rows, columns)

    parts, y = _paragraphs(_heading(figures), _MARGIN, inner)
    before: list[_Placed] = []
    for row in rows:
        top = y + (_ROW_GAP if before else _HEAD_GAP)
        placed = _place([stops[i] for i in row], [columns[i] for i in row], scale, top, inner)
        if before:
            parts += _onward(before[-1], placed[0], scale, right=_MARGIN + inner, bend=y + _BEND)
        for i, each in enumerate(placed):
            parts += _drawn(each)
            parts += _step(each, placed[i + 1], scale) if i + 1 < len(placed) else []
        before, y = placed, max(_bottom(each) for each in placed)
    legend, y = _legend(stops, y + _ROW_GAP, inner)
    caption, y = _paragraphs(_caption(figures, stops, scale), y + _PARAGRAPH, inner)
    return drawing.document(
        [*parts, *legend, *caption],
        width=inner + 2 * _MARGIN,
        height=y + _MARGIN,
        title=f"The network {figures.network.name}",
        description=_description(figures),
    )


# --- what is drawn ----------------------------------------------------------------------------------------


def _stops(figures: Figures) -> list[_Stop]:
    """The picture, each layer that makes another shape, and the one that does not fit."""
    layers, rows = figures.network.layers, figures.layers
    stops = [_Stop(layer=None, shape=figures.network.input, towers=_asked(layers, figures.network.input))]
    for i, (layer, row) in enumerate(zip(layers, rows, strict=False)):
        match layer:
            case ReLU() | Dropout() | LocalResponseNorm():
                stops[-1] = replace(stops[-1], then=(*stops[-1].then, layer))
                continue
            case Conv():
                towers = layer.groups if layer.groups > 1 else _asked(layers[i + 1 :], row.output)
                towers = towers if towers <= MOST_TOWERS else 1
            case MaxPool() | AdaptiveAvgPool():
                towers = stops[-1].towers
            case Flatten() | Dense():
                towers = 1
            case _:
                assert_never(layer)
        stops.append(_Stop(layer=layer, shape=row.output, towers=towers, how=_how(layer, row)))
    if len(rows) < len(layers):
        broken = layers[len(rows)]
        stops.append(_Stop(layer=broken, shape=(), towers=1, how=(*_how(broken, None), "does not fit")))
    return stops


def _asked(layers: Sequence[Layer], shape: Shape) -> int:
    """The groups in which the next convolution takes these channels, where they are few enough to draw."""
    for layer in layers:
        if isinstance(layer, Conv):
            return layer.groups if layer.groups <= MOST_TOWERS and shape[2] % layer.groups == 0 else 1
        if isinstance(layer, Flatten | Dense):
            break
    return 1


def _how(layer: Layer, row: LayerSummary | None) -> tuple[str, ...]:
    """A layer's window, stride, padding and groups, a line each; `row` is None where it does not fit."""
    match layer:
        case Conv() | MaxPool():
            told = [f"{layer.kernel}x{layer.kernel}", f"stride {layer.stride}"]
            if layer.padding:
                told.append(f"padding {layer.padding}")
            if isinstance(layer, Conv) and layer.extra_padding:
                told.append(f"{layer.extra_padding} more at the bottom and right")
            if row is not None and any(row.beyond or ()):
                told.append("rounds up")
            if isinstance(layer, Conv) and layer.groups > 1:
                told.append(f"{layer.groups} groups")
            return tuple(told)
        case AdaptiveAvgPool():
            return ("average", "adaptive")
        case ReLU() | Dropout() | LocalResponseNorm() | Flatten() | Dense():
            return ()
        case _:
            assert_never(layer)


def _kind(layer: Layer | None) -> str:
    """The class of a layer's drawing and mark."""
    match layer:
        case None:
            return "input"
        case Conv():
            return "conv"
        case MaxPool() | AdaptiveAvgPool():
            return "pool"
        case Flatten() | Dense():
            return "dense"
        case ReLU():
            return "relu"
        case LocalResponseNorm():
            return "lrn"
        case Dropout():
            return "dropout"
        case _:
            assert_never(layer)


def _window(layer: Layer | None, stop: _Stop) -> tuple[int, int, int] | None:
    """Height, width and depth of what one value of the layer sees of one tower of `stop`; None: all of it."""
    match layer:
        case Conv():
            depth = stop.shape[2]
            return (layer.kernel, layer.kernel, min(depth // layer.groups, depth // stop.towers))
        case MaxPool():
            return (layer.kernel, layer.kernel, 1)
        case AdaptiveAvgPool():
            return (ceil(stop.shape[0] / layer.size), ceil(stop.shape[1] / layer.size), 1)
        case ReLU() | Dropout() | LocalResponseNorm() | Flatten() | Dense() | None:
            return None
        case _:
            assert_never(layer)


def _connected(before: _Stop, after: _Stop) -> Iterator[tuple[int, int]]:
    """Which towers of `after` see which of `before`: those that a group, or for pooling a channel, shares."""
    groups = after.layer.groups if isinstance(after.layer, Conv) else before.towers * after.towers
    for one in range(before.towers):
        for other in range(after.towers):
            if any(
                _overlap(group, groups, one, before.towers) and _overlap(group, groups, other, after.towers)
                for group in range(groups)
            ):
                yield one, other


def _overlap(part: int, parts: int, other: int, others: int) -> bool:
    """Whether part number `part` of `parts` equal ones shares something with another division's."""
    return part * others < (other + 1) * parts and other * parts < (part + 1) * others


# --- how large --------------------------------------------------------------------------------------------


def _scale(stops: Sequence[_Stop]) -> Scale:
    """The lengths under which the largest volumes, towers, depths and vectors have the sizes set above."""
    volumes = [stop for stop in stops if len(stop.shape) == 3]
    side = max(sqrt(max(stop.shape[:2])) for stop in volumes)
    stacked = max(
        stop.towers * (sqrt(stop.shape[0]) + drawing.RECEDE * sqrt(stop.shape[1])) for stop in volumes
    )
    depth = max(sqrt(stop.shape[2] / stop.towers) for stop in volumes)
    units = max((sqrt(stop.shape[0]) for stop in stops if len(stop.shape) == 1), default=1.0)
    return Scale(
        side=_rounded(min(_SIDE[0] / side, _TOWERS / stacked, _SIDE[1])),
        depth=_rounded(min(_DEPTH[0] / depth, _DEPTH[1])),
        units=_rounded(min(_BAR[0] / units, _BAR[1])),
    )


def _rounded(unit: float) -> float:
    return float(f"{unit:.3g}")  # as the caption prints it


def _block(stop: _Stop, scale: Scale) -> Block:
    """One tower of the stop, in the origin."""
    match stop.shape:
        case (height, width, depth):
            return drawing.volume((height, width, depth // stop.towers), scale)
        case (units,):
            return drawing.bar(units, scale)
        case _:
            return Block(x=0, y=0, depth=_CROSS, height=_CROSS, back=0)


def _height(stop: _Stop, scale: Scale) -> float:
    """Of all its towers."""
    block = _block(stop, scale)
    return stop.towers * (block.height + block.back) + (stop.towers - 1) * drawing.TOWER_GAP


# --- where ------------------------------------------------------------------------------------------------


def _labels(stop: _Stop) -> tuple[Label, ...]:
    """The lines below a stop: name, shape, how it is made, what is done to it."""
    kind = "how" if stop.shape else "misfit"
    lines = [Label(text=stop.layer.name if stop.layer else "input", kind="name")]
    lines += [Label(text=shape_text(stop.shape), kind="shape")] if stop.shape else []
    lines += [Label(text=told, kind=kind) for told in stop.how]
    lines += [Label(text=layer.name, mark=_kind(layer)) for layer in stop.then]
    return tuple(part for line in lines for part in wrapped(line, _LABEL))


def _column(stop: _Stop, scale: Scale) -> float:
    """The width that a stop needs."""
    block = _block(stop, scale)
    text = max(width_of(label) for label in _labels(stop))
    return max(text + _TEXT_GAP, block.depth + block.back + _DRAWN_GAP)


def _rows(columns: Sequence[float], width: float) -> list[range]:
    """The columns in as few rows of that width as hold them, the widest as narrow as can be."""

    def broken(most: float) -> list[range]:
        rows, used = [range(0)], 0.0
        for i, column in enumerate(columns):
            if used + column > most and i:
                rows.append(range(i, i))
                used = 0.0
            rows[-1] = range(rows[-1].start, i + 1)
            used += column
        return rows

    fewest = len(broken(width))
    low, high = max(columns), max(width, *columns)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if len(broken(middle)) <= fewest else (middle, high)
    return broken(high)


def _inner(rows: Sequence[range], columns: Sequence[float]) -> float:
    """The page's width within its margins: room for the widest row, a little loose where that can be had."""
    tight = [sum(columns[i] for i in row) for row in rows]
    loose = (width + _LOOSE * len(row) for width, row in zip(tight, rows, strict=True))
    return max(_NARROWEST - 2 * _MARGIN, *tight, min(PAGE - 2 * _MARGIN, max(loose)))


def _place(
    stops: Sequence[_Stop], columns: Sequence[float], scale: Scale, top: float, inner: float
) -> list[_Placed]:
    """A row of stops, one centred over the other's middle, in columns that are spread over the page."""
    tallest = max(_height(stop, scale) for stop in stops)
    spread = min(_STRETCH, (inner - sum(columns)) / len(columns))
    x = _MARGIN + (inner - sum(columns) - spread * len(columns)) / 2
    placed = []
    for stop, column in zip(stops, columns, strict=True):
        one = _block(stop, scale)
        center = x + (column + spread) / 2
        y = top + (tallest - _height(stop, scale)) / 2 + one.back
        blocks = tuple(
            replace(
                one,
                x=center - (one.depth + one.back) / 2,
                y=y + tower * (one.height + one.back + drawing.TOWER_GAP),
            )
            for tower in range(stop.towers)
        )
        placed.append(
            _Placed(
                stop=stop, blocks=blocks, labels=_labels(stop), center=center, label_y=top + tallest + _BELOW
            )
        )
        x += column + spread
    return placed


def _bottom(placed: _Placed) -> float:
    """The base line of the last line of its labels."""
    return placed.label_y + drawing.LINE * (len(placed.labels) - 1)


# --- the parts --------------------------------------------------------------------------------------------


def _drawn(placed: _Placed) -> list[str]:
    """A stop's boxes and labels."""
    stop = placed.stop
    boxes = [each.svg(_kind(stop.layer)) if stop.shape else drawing.crossed(each) for each in placed.blocks]
    labels = [
        label.svg(placed.center, placed.label_y + drawing.LINE * i, anchor="middle")
        for i, label in enumerate(placed.labels)
    ]
    return [*boxes, *labels]


def _step(before: _Placed, after: _Placed, scale: Scale) -> list[str]:
    """What leads from a stop to the next: windows with what they make, or all to all."""
    if not after.stop.shape:
        end = after.blocks[0].entry
        return [drawing.path([(each.right + each.back / 2, end[1]), end]) for each in before.blocks[:1]]
    size = _window(after.stop.layer, before.stop)
    if size is None:
        bar, parts = after.blocks[0], len(before.blocks)
        edges = [(bar.x, bar.y + bar.height * i / parts) for i in range(parts + 1)]
        return [drawing.fan(*each) for each in zip(before.blocks, edges, edges[1:], strict=False)]
    return _beams(before, size, list(_connected(before.stop, after.stop)), after.blocks, scale)


def _beams(
    before: _Placed,
    size: tuple[int, int, int],
    connected: Sequence[tuple[int, int]],
    targets: Sequence[Block],
    scale: Scale,
) -> list[str]:
    parts = []
    for one in sorted({one for one, _ in connected}):
        height, width, depth = before.stop.shape
        cut = drawing.window(before.blocks[one], size, (height, width, depth), scale)
        parts.append(cut.svg("window"))
        parts += [drawing.beam(cut, targets[other].entry) for each, other in connected if each == one]
    return parts


def _onward(before: _Placed, after: _Placed, scale: Scale, *, right: float, bend: float) -> list[str]:
    """From the last stop of a row to the first of the next one, around the labels."""
    start = max(each.right + each.back for each in before.blocks)
    axis = sum(each.entry[1] for each in before.blocks) / len(before.blocks)
    turn, left = right + _MARGIN / 3, _MARGIN * 2 / 3
    end = sum(each.entry[1] for each in after.blocks) / len(after.blocks)
    way = [(start, axis), (turn, axis), (turn, bend), (left, bend), (left, end)]
    parts = []
    for block in after.blocks:
        y = block.entry[1]
        parts.append(drawing.path([(left, end), (left, y), block.entry], arrow=True))
    size = _window(after.stop.layer, before.stop) if after.stop.shape else None
    if size is not None:
        dot = Block(x=start + 8, y=axis, depth=0, height=0, back=0)
        way[0] = dot.entry
        parts += _beams(before, size, [(i, 0) for i in range(len(before.blocks))], [dot], scale)
    return [drawing.path(way), *parts]


# --- text -------------------------------------------------------------------------------------------------


def _heading(figures: Figures) -> list[Label]:
    network = figures.network
    lines = [Label(text=network.name, kind="title")]
    return [*lines, Label(text=network.source)] if network.source else lines


def _caption(figures: Figures, stops: Sequence[_Stop], scale: Scale) -> list[Label]:
    """Why the network ends where it does, the scale, and how to read the picture."""
    told = []
    left = figures.network.layers[len(figures.layers) :]
    if left:
        entering = figures.layers[-1].output if figures.layers else figures.network.input
        misfit = output_shape(left[0], entering)
        reason = misfit.reason if isinstance(misfit, Misfit) else "does not fit"
        after = f" Layers after it that are not drawn: {len(left) - 1:,}." if left[1:] else ""
        told.append(Label(text=f"{left[0].name}: {reason}.{after}", kind="misfit"))
    units = any(len(stop.shape) == 1 for stop in stops)
    told.append(
        Label(
            text="To scale by square roots: a height, width or window of n pixels is "
            f"{scale.side:g}\u221an long, a depth of n channels {scale.depth:g}\u221an"
            + (f", a vector of n units {scale.units:g}\u221an" if units else "")
            + f". Widths recede, foreshortened to {drawing.RECEDE:g} across and up."
        )
    )
    if any(stop.towers > 1 for stop in stops):
        told.append(Label(text="Channels that groups keep apart are drawn as towers of their own."))
    if any(isinstance(stop.layer, Conv) and stop.layer.groups > MOST_TOWERS for stop in stops):
        told.append(Label(text=f"More than {MOST_TOWERS} groups are drawn as one."))
    return told


def _legend(stops: Sequence[_Stop], y: float, width: float) -> tuple[list[str], float]:
    """The marks of the kinds that occur, in lines from base line `y`, and the last one's base line."""
    used = {_kind(stop.layer) for stop in stops if stop.shape}
    used |= {_kind(layer) for stop in stops for layer in stop.then}
    used |= {"window" for stop in stops if isinstance(stop.layer, Conv | MaxPool | AdaptiveAvgPool)}
    parts, x = [], 0.0
    for label in (Label(text=words, mark=kind) for kind, words in _KINDS.items() if kind in used):
        if x and x + width_of(label) > width:
            x, y = 0.0, y + _PARAGRAPH
        parts.append(label.svg(_MARGIN + x, y))
        x += width_of(label) + 2 * _TEXT_GAP
    return parts, y


def _paragraphs(labels: Sequence[Label], y: float, width: float) -> tuple[list[str], float]:
    """The labels one below the other from base line `y`, and the last one's base line."""
    lines = [line for label in labels for line in wrapped(label, width)]
    parts = [line.svg(_MARGIN, y + _PARAGRAPH * i) for i, line in enumerate(lines)]
    return parts, y + _PARAGRAPH * (len(lines) - 1)


def _description(figures: Figures) -> str:
    """What the picture shows, for who cannot see it."""
    told = [f"input {shape_text(figures.network.input)}"]
    for row in figures.layers:
        window = f", {row.kernel}x{row.kernel} windows at stride {row.stride}" if row.kernel else ""
        told.append(f"{row.name} ({row.kind}{window}) {shape_text(row.output)}")
    left = figures.network.layers[len(figures.layers) :]
    told += [f"{left[0].name} ({left[0].kind}) does not fit"] if left else []
    return "From input to output: " + "; ".join(told) + "."

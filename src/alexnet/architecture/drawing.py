"""What a diagram is drawn with: lengths to scale, boxes, beams, text and its width, the SVG around them.

Knows nothing of networks (diagram.py). Coordinates are px: x to the right, y down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import sqrt

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

RECEDE = 0.32  # a width goes back to the upper right: so much of its length to the right, and as much up
TOWER_GAP = 10.0
BAR = 8.0  # the width of a vector's bar
LINE = 14.0  # from one line of text to the next
_SIZES = {"title": 15.0, "name": 12.0}  # of letters; others are
_SIZE = 11.0

Point = tuple[float, float]

SCOPE = ".alexnet-diagram"  # what the rules are for: a page that holds the picture has its own

# Class -> its colour by day and by night.
_COLOURS = {
    "input": ("#6d6d7a", "#a3a3b2"),
    "conv": ("#2f66b3", "#7aa7e8"),
    "pool": ("#23856b", "#5cc4a3"),
    "dense": ("#7d4fb8", "#b796ea"),
    "window": ("#d2691e", "#f4a460"),
    "relu": ("#c2376b", "#f28bb0"),
    "lrn": ("#a67c00", "#e0bb4a"),
    "dropout": ("#8a8a94", "#8a8a94"),
    "misfit": ("#c62828", "#ff7b72"),
    "title": ("#1b1b1f", "#e8e8ee"),
    "name": ("#1b1b1f", "#e8e8ee"),
    "shape": ("#1b1b1f", "#e8e8ee"),
    "how": ("#55555f", "#b4b4c0"),
    "way": ("#8a8a94", "#8a8a94"),
    "sheet": ("#ffffff", "#17171b"),
}
_RULES = (
    f"text {{ font: {_SIZE:g}px system-ui, sans-serif; fill: currentColor; }}",
    "tspan, rect, circle { fill: currentColor; }",
    "polygon { fill: currentColor; stroke: currentColor; stroke-width: .8; stroke-linejoin: round; }",
    "path { fill: none; stroke: currentColor; stroke-width: .8; stroke-linejoin: round; }",
    ".front { fill-opacity: .3; }",
    ".top { fill-opacity: .15; }",
    ".side { fill-opacity: .45; }",
    ".light { fill-opacity: .13; stroke: none; }",
    ".ray { stroke-opacity: .7; stroke-width: .6; }",
    ".absent { fill-opacity: .08; stroke-dasharray: 4 3; }",
    ".title, .name { font-weight: 600; }",
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Lengths go with square roots: px for the root of one pixel, one channel, one unit."""

    side: float  # of heights, widths and windows
    depth: float
    units: float  # of vectors


@dataclass(frozen=True, kw_only=True)
class Block:
    """A box whose front shows depth x height and whose width recedes; a vector's bar is one without width."""

    x: float  # left edge of the front
    y: float  # its upper edge
    depth: float  # to the right
    height: float  # down
    back: float  # how far the width goes to the right and up

    @property
    def right(self) -> float:
        """The right edge of the front."""
        return self.x + self.depth

    @property
    def entry(self) -> Point:
        """Where what is computed arrives: the middle of the front's left edge."""
        return (self.x, self.y + self.height / 2)

    def faces(self) -> tuple[list[Point], ...]:
        """Front, and where there is a width, top and right side."""
        x, y, right, bottom, back = self.x, self.y, self.right, self.y + self.height, self.back
        front = [(x, y), (right, y), (right, bottom), (x, bottom)]
        if not back:
            return (front,)
        top = [(x, y), (x + back, y - back), (right + back, y - back), (right, y)]
        side = [(right, y), (right + back, y - back), (right + back, bottom - back), (right, bottom)]
        return (front, top, side)

    def svg(self, kind: str) -> str:
        """The faces as polygons of the class."""
        shades = ("front", "top", "side")
        faces = "".join(
            f'<polygon class="{shade}" points="{_points(face)}"/>'
            for shade, face in zip(shades, self.faces(), strict=False)
        )
        return f'<g class="{kind}">{faces}</g>'


def length(size: int, unit: float) -> float:
    """The drawn length of a size: its square root, times the scale's unit."""
    return unit * sqrt(size)


def volume(shape: tuple[int, int, int], scale: Scale) -> Block:
    """A volume of height x width x depth, with its front's upper left corner in the origin."""
    height, width, depth = shape
    return Block(
        x=0,
        y=0,
        depth=length(depth, scale.depth),
        height=length(height, scale.side),
        back=RECEDE * length(width, scale.side),
    )


def bar(units: int, scale: Scale) -> Block:
    """A vector as an upright bar, with its upper left corner in the origin."""
    return Block(x=0, y=0, depth=BAR, height=length(units, scale.units), back=0)


def window(over: Block, sizes: tuple[int, int, int], shape: tuple[int, int, int], scale: Scale) -> Block:
    """The box that a window of those sizes cuts from the volume `over`, at the middle of its front's height.

    Where padding lets a window be larger than its input, what lies in the input is drawn.
    """
    inside = (min(sizes[0], shape[0]), min(sizes[1], shape[1]), min(sizes[2], shape[2]))
    cut = volume(inside, scale)
    return Block(
        x=over.right - min(cut.depth, over.depth),
        y=over.y + (over.height - cut.height) / 2,
        depth=min(cut.depth, over.depth),
        height=cut.height,
        back=cut.back,
    )


def beam(source: Block, target: Point) -> str:
    """From the right side of a window to the point that it makes."""
    near_top, far_top, far_bottom, near_bottom = source.faces()[-1]
    edges = "".join(
        f"M{_pair(corner)} L{_pair(target)} " for corner in (near_top, far_top, far_bottom, near_bottom)
    )
    outline = _points([near_top, far_top, target, far_bottom, near_bottom])
    return (
        f'<g class="window"><polygon class="light" points="{outline}"/>'
        f'<path class="ray" d="{edges.strip()}"/><circle class="dot" cx="{_number(target[0])}" '
        f'cy="{_number(target[1])}" r="1.6"/></g>'
    )


def fan(source: Block, top: Point, bottom: Point) -> str:
    """From all of a block to all of the edge from `top` to `bottom`: every input to every unit."""
    side = source.faces()[-1]
    upper, lower = (side[1], side[3]) if source.back else (side[1], side[2])
    return f'<g class="dense"><polygon class="light" points="{_points([upper, top, bottom, lower])}"/></g>'


def crossed(block: Block) -> str:
    """What is not there: a dashed box, crossed out."""
    front = block.faces()[0]
    cross = f"M{_pair(front[0])} L{_pair(front[2])} M{_pair(front[1])} L{_pair(front[3])}"
    return f'<g class="misfit"><polygon class="absent" points="{_points(front)}"/><path d="{cross}"/></g>'


def path(points: Sequence[Point], *, arrow: bool = False) -> str:
    """A line through the points, with an arrow's head where it ends, to the right."""
    line = f'<path d="M{" L".join(_pair(each) for each in points)}"/>'
    x, y = points[-1]
    head = f'<polygon points="{_points([(x, y), (x - 6, y - 3), (x - 6, y + 3)])}"/>'
    return f'<g class="way">{line}{head if arrow else ""}</g>'


# --- text -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Label:
    """One line of text; a mark in the colour of its kind before it, if it has one."""

    text: str
    kind: str = "how"  # title, name, shape, how, misfit: classes
    mark: str = ""  # conv, pool, ..., relu

    def svg(self, x: float, y: float, *, anchor: str = "") -> str:
        """The line at its place; `anchor` as SVG's text-anchor."""
        where = f' text-anchor="{anchor}"' if anchor else ""
        return f'<text class="{self.kind}" x="{_number(x)}" y="{_number(y)}"{where}>{_marked(self)}</text>'


def _marked(label: Label) -> str:
    mark = f'<tspan class="{label.mark}">\u25a0</tspan> ' if label.mark else ""
    return mark + escape(_printable(label.text))


def width_of(label: Label) -> float:
    """How wide the line may be, in px: no font that browsers fall back to is much wider."""
    heavy = 1.1 if label.kind in ("title", "name") else 1.0
    marked = f"\u25a0 {label.text}" if label.mark else label.text
    return heavy * _SIZES.get(label.kind, _SIZE) * sum(map(_em, marked))


def _em(character: str) -> float:
    """A character's width as a share of the letters' size, as in DejaVu Sans, which is a wide font."""
    if character in " .,:;'|!()[]ijlt1f-" and character != "1":
        return 0.41
    if character in "mwMW@%":
        return 1.0
    if not character.isascii():
        return 1.2
    return 0.76 if character.isupper() else 0.64


def wrapped(label: Label, width: float, *, most: int = 3) -> list[Label]:
    """The label in lines of that width, broken at spaces, or within a word that is longer than a line.

    After `most` lines it ends in "...".
    """
    lines = [""]
    for word in label.text.split():
        if lines[-1] and _fits(label, f"{lines[-1]} {word}", width):
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and not _fits(label, lines[-1] + character, width):
                lines.append("")
                if len(lines) > most:
                    break
            lines[-1] += character
        if len(lines) > most:
            break
    if len(lines) > most:
        lines = lines[:most]
        while lines[-1] and not _fits(label, f"{lines[-1]}...", width):
            lines[-1] = lines[-1][:-1]
        lines[-1] += "..."
    return [Label(text=line, kind=label.kind, mark="" if i else label.mark) for i, line in enumerate(lines)]


def _fits(label: Label, text: str, width: float) -> bool:
    return width_of(Label(text=text, kind=label.kind, mark=label.mark)) <= width


def _printable(text: str) -> str:
    """The text with a mark for what XML does not allow: control characters, lone surrogates."""
    return _NOT_XML.sub("\ufffd", text)


# --- the page ---------------------------------------------------------------------------------------------


def document(parts: Iterable[str], *, width: float, height: float, title: str, description: str) -> str:
    """An SVG that stands alone: title and description for who cannot see it, light and dark, ASCII only."""
    w, h = _number(width), _number(height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="alexnet-diagram" viewBox="0 0 {w} {h}" '
        f'width="{w}" height="{h}" style="max-width:100%;height:auto">\n'
        f"<title>{escape(_printable(title))}</title>\n<desc>{escape(_printable(description))}</desc>\n"
        f"<style>\n{_style()}</style>\n"
        f'<rect class="sheet" width="{w}" height="{h}"/>\n'
    )
    return (head + "\n".join(parts) + "\n</svg>\n").encode("ascii", "xmlcharrefreplace").decode()


def _style() -> str:
    rules = [*_RULES, *(f".{kind} {{ font-size: {size:g}px; }}" for kind, size in _SIZES.items())]
    by_day, by_night = (
        [f".{kind} {{ color: {pair[night]}; }}" for kind, pair in _COLOURS.items()] for night in (0, 1)
    )
    light, dark = "\n".join(map(_scoped, [*rules, *by_day])), "\n".join(map(_scoped, by_night))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _scoped(rule: str) -> str:
    selectors, brace, rest = rule.partition(" {")
    return ", ".join(f"{SCOPE} {each}" for each in selectors.split(", ")) + brace + rest


def _points(points: Iterable[Point]) -> str:
    return " ".join(_pair(point) for point in points)


def _pair(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")

"""Drawings read back as XML: what is there as text, lengths by hand arithmetic, nothing on top of another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from alexnet import (
    NETWORKS,
    NOTES,
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    MisfitError,
    Network,
    ReLU,
    Summary,
    edit,
    summarize,
)
from alexnet.architecture.arithmetic import shape_text
from alexnet.architecture.diagram import diagram

SVG = "{http://www.w3.org/2000/svg}"
FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
SIZES = {"title": 15, "name": 12}
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """What a line of text covers: with DejaVu Sans, the widest font that browsers fall back to."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Stop:
    """A value of the drawing: its name, the fronts of its boxes, and how far each goes back."""

    name: str
    fronts: list[Points]
    backs: list[float]


class Drawing:
    """An SVG as a reader finds it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = ET.fromstring(text)
        self.texts = ["".join(each.itertext()) for each in self.root.iter(f"{SVG}text")]
        self.boxes = [_box(each) for each in self.root.iter(f"{SVG}text")]
        _, _, self.width, self.height = map(float, self.root.attrib["viewBox"].split())
        caption = " ".join(self.texts)
        found = {
            what: float(match[1])
            for what, pattern in {
                "side": r"of n pixels is ([\d.]+)√n long",
                "depth": r"of n channels ([\d.]+)√n",
                "units": r"of n units ([\d.]+)√n",
                "recede": r"foreshortened to ([\d.]+) across and up",
            }.items()
            if (match := re.search(pattern, caption))
        }
        self.scale = found

    def stops(self) -> list[Stop]:
        """In the order in which they are drawn: boxes, then their name."""
        stops, fronts, backs = [], [], []
        for each in self.root:
            kind = each.get("class")
            faces = {face.get("class"): points_of(face) for face in each.findall(f"{SVG}polygon")}
            if kind in ("input", "conv", "pool", "dense", "misfit") and (
                "front" in faces or "absent" in faces
            ):
                fronts.append(faces.get("front") or faces["absent"])
                backs.append(faces["top"][1][0] - faces["top"][0][0] if "top" in faces else 0.0)
            if each.tag == f"{SVG}text" and kind == "name" and fronts:
                stops.append(Stop(name="".join(each.itertext()), fronts=fronts, backs=backs))
                fronts, backs = [], []
        return stops

    def windows(self) -> list[Points]:
        return [
            points_of(face)
            for each in self.root.findall(f"{SVG}g[@class='window']")
            for face in each.findall(f"{SVG}polygon[@class='front']")
        ]

    def points(self) -> Points:
        """Every corner of everything that is drawn."""
        found = [point for each in self.root.iter(f"{SVG}polygon") for point in points_of(each)]
        for each in self.root.iter(f"{SVG}path"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", each.attrib["d"])]
            found += list(zip(numbers[::2], numbers[1::2], strict=True))
        return found


@cache
def font(kind: str) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if kind in SIZES else "DejaVuSans.ttf"
    return ImageFont.truetype(FONTS / name, SIZES.get(kind, 11) * 10)


def _box(element: ET.Element) -> Box:
    text, kind = "".join(element.itertext()), element.attrib["class"]
    width, size = font(kind).getlength(text) / 10, SIZES.get(kind, 11)
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    left = x - width / 2 if element.get("text-anchor") == "middle" else x
    return Box(text, left, y - 0.76 * size, left + width, y + 0.24 * size)


def points_of(element: ET.Element) -> Points:
    pairs = (each.split(",") for each in element.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def figures_of(network: Network) -> Summary:
    try:
        return summarize(network)
    except MisfitError as error:
        return error.summary


def assert_legible(drawing: Drawing) -> None:
    boxes = sorted(drawing.boxes, key=lambda box: box.top)
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            if other.top >= one.bottom:
                break
            assert other.right <= one.left or one.right <= other.left, (one, other)
        assert one.left >= 0, one
        assert one.right <= drawing.width, one
        assert one.top >= 0, one
        assert one.bottom <= drawing.height, one
    for x, y in drawing.points():
        assert 0 <= x <= drawing.width
        assert 0 <= y <= drawing.height


def assert_all_there(drawing: Drawing, figures: Summary) -> None:
    """Every name and shape is text, but for the shape of a layer that does not change it."""
    said = [text.removeprefix("■ ") for text in drawing.texts]
    for layer in figures.network.layers[: len(figures.layers) + 1]:
        assert layer.name in said
    assert shape_text(figures.network.input) in said
    for row in figures.layers:
        assert shape_text(row.output) in said


def drawn_rows(figures: Summary) -> list[tuple[str, tuple[int, ...]]]:
    """The values that have a drawing of their own."""
    same = ("relu", "lrn", "dropout")
    rows = [(row.name, row.output) for row in figures.layers if row.kind not in same]
    return [("input", figures.network.input), *rows]


def assert_to_scale(drawing: Drawing, figures: Summary) -> None:
    """The lengths are what the caption says of them, by hand arithmetic."""
    expected = drawn_rows(figures)
    stops = drawing.stops()
    assert [stop.name for stop in stops][: len(expected)] == [name for name, _ in expected]
    for stop, (_, shape) in zip(stops, expected, strict=False):
        for front, back in zip(stop.fronts, stop.backs, strict=True):
            (left, top), (right, _), (_, bottom), _ = front
            if len(shape) == 1:
                assert bottom - top == pytest.approx(drawing.scale["units"] * sqrt(shape[0]), abs=0.02)
                continue
            height, width, depth = shape
            side = drawing.scale["side"]
            assert bottom - top == pytest.approx(side * sqrt(height), abs=0.02)
            assert back == pytest.approx(drawing.scale["recede"] * side * sqrt(width), abs=0.02)
            each = depth / len(stop.fronts)
            assert right - left == pytest.approx(drawing.scale["depth"] * sqrt(each), abs=0.02)


def check(figures: Summary) -> Drawing:
    """What holds for every drawing."""
    text = diagram(figures)
    assert text.isascii()
    drawing = Drawing(text)
    assert_legible(drawing)
    assert_all_there(drawing, figures)
    assert_to_scale(drawing, figures)
    return drawing


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_of_the_zoo_is_drawn_to_scale_and_legibly(network: Network) -> None:
    drawing = check(summarize(network))
    assert drawing.width <= 1000
    assert drawing.height <= 800


def test_the_guard_of_overlaps_can_fail() -> None:
    text = diagram(summarize(NOTES))
    with pytest.raises(AssertionError):
        assert_legible(Drawing(text.replace(">conv1<", ">a_name_that_has_no_room_here<")))


def test_the_guard_of_the_scale_can_fail() -> None:
    text = diagram(summarize(NOTES))
    assert "is 8.3&#8730;n" in text
    with pytest.raises(AssertionError):
        assert_to_scale(Drawing(text.replace("is 8.3&#8730;n", "is 8.4&#8730;n")), summarize(NOTES))


def test_windows_are_drawn_to_the_same_scale_as_volumes() -> None:
    drawing = Drawing(diagram(summarize(NOTES)))
    # Krizhevsky et al. 2012 and the notes: 11, then pooling by 3, 5, 3, 3, 3, 3, and pooling by 3; each on
    # the picture or the map before it, through all of its channels but where it pools.
    kernels = [(11, 3), (3, 1), (5, 96), (3, 1), (3, 256), (3, 384), (3, 384), (3, 1)]
    for front, (kernel, channels) in zip(drawing.windows(), kernels, strict=True):
        (left, top), (right, _), (_, bottom), _ = front
        assert bottom - top == pytest.approx(drawing.scale["side"] * sqrt(kernel), abs=0.02)
        assert right - left == pytest.approx(drawing.scale["depth"] * sqrt(channels), abs=0.02)


def towers(network: Network) -> list[int]:
    return [len(stop.fronts) for stop in Drawing(diagram(figures_of(network))).stops()]


def test_the_paper_has_two_towers_from_conv1_to_pool5_and_notes_has_one() -> None:
    assert towers(NETWORKS["paper"]) == [1, *[2] * 8, 1, 1, 1, 1]
    assert set(towers(NOTES)) == {1}


def test_towers_are_connected_as_groups_have_it() -> None:
    drawing = Drawing(diagram(summarize(NETWORKS["paper"])))
    dots = list(drawing.root.iter(f"{SVG}circle"))
    # The picture to both; each to its own, twice, and once more; conv3 sees both; the rest each to its own.
    assert len(dots) == 2 + 2 + 2 + 2 + 4 + 2 + 2 + 2
    windows = drawing.windows()
    assert len(windows) == 1 + 2 * 7


def grouped(groups: int) -> Network:
    first = Conv(name="first", filters=groups * 4, kernel=3)
    return Network(
        name="grouped",
        input=(16, 16, 3),
        layers=(first, Conv(name="second", filters=groups * 8, kernel=3, groups=groups)),
    )


@pytest.mark.parametrize(("groups", "drawn"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (300, 1)])
def test_up_to_four_groups_are_as_many_towers(groups: int, drawn: int) -> None:
    drawing = check(summarize(grouped(groups)))
    assert [len(stop.fronts) for stop in drawing.stops()] == [1, drawn, drawn]
    assert (f"{groups} groups" in drawing.texts) == (groups > 1)
    assert ("More than 4 groups are drawn as one." in drawing.texts) == (groups > 4)


def test_a_network_that_breaks_is_drawn_up_to_there() -> None:
    broken = edit(NOTES, "pool1.stride=4", "pool2.stride=3")
    drawing = check(figures_of(broken))
    assert [stop.name for stop in drawing.stops()][-2:] == ["conv3", "conv4"]
    assert len(drawing.root.findall(f"{SVG}g[@class='misfit']")) == 1
    # 19 layers, of which conv1 to relu3 are the first 8.
    assert "conv4: a 3x3 window does not fit in 1x1. Layers after it that are not drawn: 10." in drawing.texts
    assert not any("fc1" in text for text in drawing.texts)


def test_what_cannot_be_seen_is_told() -> None:
    root = Drawing(diagram(summarize(NOTES))).root
    assert [each.tag for each in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    title, description = root[0].text or "", root[1].text or ""
    assert title == "The network notes"
    assert "conv1 (conv, 11x11 windows at stride 4) 55x55x96; " in description
    assert description.endswith("fc3 (dense) 1,000.")


def test_nothing_comes_from_elsewhere_and_dark_pages_are_served() -> None:
    text = diagram(summarize(NETWORKS["vgg16"]))
    rest = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for word in ("http", "href", "url(", "@import", "<script", "<image", "<foreignObject"):
        assert word not in rest
    style = Drawing(text).root.find(f"{SVG}style")
    assert style is not None
    day, night = (style.text or "").split("@media (prefers-color-scheme: dark)")
    colours = set(re.findall(r"\.[\w-]+ \{ color", day))
    assert colours == set(re.findall(r"\.[\w-]+ \{ color", night))
    # Every rule is for the drawing only, so that it can stand within a page.
    for rule in re.findall(r"^\s*([^@{}\n]+) \{", style.text or "", re.MULTILINE):
        assert all(selector.startswith(".alexnet-diagram ") for selector in rule.split(", ")), rule


def test_a_drawing_is_the_same_each_time() -> None:
    assert diagram(summarize(NOTES)) == diagram(summarize(NOTES))


CONV = Conv(name="conv", filters=8, kernel=3)
STRANGE: dict[str, Network] = {
    "no conv": Network(name="n", input=(8, 8, 1), layers=(Flatten(name="f"), Dense(name="d", units=10))),
    "no dense": Network(name="n", input=(8, 8, 3), layers=(CONV,)),
    "one ReLU": Network(name="n", input=(8, 8, 3), layers=(ReLU(name="relu"),)),
    "wide": Network(name="n", input=(3, 5000, 3), layers=(CONV, MaxPool(name="p", kernel=1, stride=7))),
    "high": Network(name="n", input=(5000, 3, 3), layers=(CONV,)),
    "one pixel": Network(name="n", input=(1, 1, 1), layers=(Conv(name="c", filters=1, kernel=3, padding=1),)),
    "deep": Network(
        name="n", input=(9, 9, 1), layers=(Conv(name="c", filters=10_000, kernel=3), Flatten(name="f"))
    ),
    "many units": Network(
        name="n", input=(1, 1, 1), layers=(Flatten(name="f"), Dense(name="d", units=1_000_000_000))
    ),
    "adaptive": Network(
        name="n",
        input=(7, 30, 3),
        layers=(AdaptiveAvgPool(name="a", size=6), AdaptiveAvgPool(name="b", size=20)),
    ),
    "breaks at once": edit(NOTES, "input=5"),
    "dense on a volume": Network(name="n", input=(8, 8, 3), layers=(CONV, Dense(name="d", units=10))),
    "conv on a vector": Network(name="n", input=(8, 8, 3), layers=(Flatten(name="f"), CONV)),
    "groups that do not divide": Network(
        name="n", input=(8, 8, 3), layers=(Conv(name="c", filters=4, kernel=3, groups=2),)
    ),
    "wide letters": Network(
        name="W" * 200,
        source="W" * 500 + " " + "m" * 300,
        input=(8, 8, 3),
        layers=tuple(Conv(name=f"WMMM{i}", filters=8, kernel=1) for i in range(20)),
    ),
    "200 layers": Network(
        name="n",
        input=(64, 64, 3),
        layers=tuple(Conv(name=f"conv{i}", filters=64, kernel=3, padding=1, groups=1) for i in range(200)),
    ),
}


@pytest.mark.parametrize("network", STRANGE.values(), ids=STRANGE)
def test_strange_networks_are_drawn(network: Network) -> None:
    assert check(figures_of(network)).width <= 1000


def test_a_network_that_is_broken_into_rows_within_towers_is_legible() -> None:
    layers = [Conv(name=f"conv{i}", filters=64, kernel=3, padding=1, groups=2) for i in range(30)]
    network = Network(name="n", input=(64, 64, 64), layers=tuple(layers))
    assert len(check(summarize(network)).stops()) == 31


def test_names_that_are_no_xml_are_text() -> None:
    hostile = Network(
        name='<script>alert(1)</script> & "\x00\x1b\ud800 \u05d0 \U0001f600',
        source="]]> <!-- \ufffe",
        input=(8, 8, 3),
        layers=(Conv(name="größe", filters=2, kernel=3),),
    )
    text = diagram(summarize(hostile))
    assert text.isascii()
    drawing = Drawing(text)
    assert drawing.texts[0].startswith('<script>alert(1)</script> & "\ufffd\ufffd\ufffd \u05d0')
    assert "größe" in drawing.texts


def test_a_long_name_is_cut_and_whole_in_the_description() -> None:
    name = "layer_" * 40
    network = Network(name="n", input=(8, 8, 3), layers=(Conv(name=name, filters=2, kernel=3),))
    drawing = Drawing(diagram(summarize(network)))
    assert_legible(drawing)
    assert any(text.endswith("...") for text in drawing.texts)
    assert name in (drawing.root[1].text or "")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any layers in any order, up to 30: many of them do not fit."""
    layers: list[Layer] = []
    for i in range(draw(st.integers(1, 30))):
        name = f"layer{i}"
        groups = draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
        kernel = draw(st.integers(1, 5))
        kinds: list[Layer] = [
            Conv(
                name=name,
                filters=groups * draw(st.integers(1, 200)),
                kernel=kernel,
                stride=draw(st.integers(1, 3)),
                padding=draw(st.integers(0, 3)),
                groups=groups,
                rounding=draw(st.sampled_from(["down", "up"])),
            ),
            MaxPool(name=name, kernel=kernel, stride=draw(st.integers(1, 3))),
            AdaptiveAvgPool(name=name, size=draw(st.integers(1, 9))),
            ReLU(name=name),
            LocalResponseNorm(name=name),
            Dropout(name=name),
        ]
        if i > 5:
            kinds += [Flatten(name=name), Dense(name=name, units=kernel * 50)]
        layers.append(draw(st.sampled_from(kinds)))
    sizes = (draw(st.integers(1, 300)), draw(st.integers(1, 300)), 24 * draw(st.integers(1, 5)))
    return Network(name="random", input=sizes, layers=tuple(layers))


@settings(deadline=None, max_examples=60)
@given(networks())
def test_random_networks_are_drawn_to_scale_and_legibly(network: Network) -> None:
    check(figures_of(network))

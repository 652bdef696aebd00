"""report.html read back by Python's HTML parser: nothing from elsewhere, nothing a name can break out of."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet import Network, OutputError, summarize
from alexnet.images.splits import Split
from alexnet.images.views import View
from alexnet.learning import runs
from alexnet.learning.evaluate import Report
from alexnet.learning.report import write_report
from alexnet.learning.train import History

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a & b <i>c</i> 'd' </table></svg>",
)
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, the text of each, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.styles.append(data)
            return
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def attributes(self, name: str) -> list[str]:
        return [
            value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name
        ]


def loads_from_elsewhere(page: Page) -> list[str]:
    """Everything that a browser would fetch to show the page."""
    names = ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction")
    found = [
        value
        for name in names
        for value in page.attributes(name)
        if not value.startswith(("#", "data:image/"))
    ]
    found += [
        tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object", "embed", "base")
    ]
    styles = page.styles + page.attributes("style") + page.attributes("clip-path") + page.attributes("fill")
    for style in styles:
        found += [url for url in re.findall(r"url\(\s*['\"]?([^)'\"]*)", style) if not url.startswith("#")]
        found += re.findall(r"@import[^;]*", style)
    return found


@pytest.fixture
def split() -> Split:
    random = np.random.default_rng(0)
    return Split(
        pictures=[random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(6)],
        labels=np.array([0, 0, 1, 1, 2, 2]),
        names=[f"{name}/{number}" for name in HOSTILE for number in range(2)],
    )


@pytest.fixture
def report() -> Report:
    """Five right of six: the last is taken for the first class."""
    answers = np.array([0, 0, 1, 1, 2, 0])
    return Report(
        class_names=HOSTILE,
        labels=np.array([0, 0, 1, 1, 2, 2]),
        probabilities=np.eye(3, dtype=np.float32)[answers] * np.float32(0.7) + np.float32(0.1),
        views=1,
        seconds=1.0,
    )


@pytest.fixture
def history(small: Network, report: Report, tmp_path: Path) -> History:
    epochs = tuple(
        runs.Epoch(
            epoch=number,
            pictures=100 * number,
            seconds=float(number),
            pictures_per_second=100.0,
            learning_rate=0.01,
            train_loss=1 / number,
            train_accuracy=0.5,
            validation_loss=None if number == 3 else 1.0,
            validation_accuracy=None if number == 3 else 0.6,
        )
        for number in (1, 2, 3)
    )
    steps = tuple(
        runs.Steps(pictures=10 * i, seconds=i / 10, learning_rate=0.01, train_loss=1.0, train_accuracy=0.5)
        for i in range(1, 31)
    )
    return History(
        output=tmp_path,
        network=replace(small, name="small <b>network</b>"),
        view=View.of(24, 24),
        epochs=epochs,
        steps=steps,
        best=report,
        pictures=300,
        seconds=3.0,
        interrupted=False,
    )


@pytest.fixture
def page(history: History, report: Report, split: Split) -> Page:
    path = write_report(
        history, report, split, title="<h1>Run</h1> & more", facts=[("pictures", "from <there>")]
    )
    assert path == history.output / "report.html"
    assert [child.name for child in history.output.iterdir()] == ["report.html"]
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    assert loads_from_elsewhere(page) == []


@pytest.mark.parametrize(
    "text",
    [
        '<script src="x.js"></script>',
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        '<p style="background: url(a.png)"></p>',
        '<svg><image xlink:href="a.png"/></svg>',
        "<iframe></iframe>",
    ],
)
def test_the_guard_of_what_is_loaded_can_fail(text: str) -> None:
    assert loads_from_elsewhere(Page(text))


def test_every_element_is_closed_and_there_is_one_of_what_there_is_one_of(page: Page) -> None:
    assert page.open == []
    tags = [tag for tag, _ in page.elements]
    assert [tags.count(tag) for tag in ("html", "h1", "dl")] == [1, 1, 1]
    assert ("meta", {"charset": "utf-8"}) in page.elements


def test_hostile_names_are_text_and_not_elements(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "i", "b"}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    head = next(row for row in page.rows if row[:1] == ["true class"])
    assert head == ["true class", *HOSTILE]
    assert "<h1>Run</h1> & more" in page.texts
    assert "from <there>" in page.texts
    assert any("small <b>network</b>" in text for text in page.texts)


def test_the_page_says_how_often_the_answers_are_right(page: Page, report: Report) -> None:
    assert "83.33% of 6 pictures" in page.texts  # 5 of 6
    rows = {row[0]: row[1:] for row in page.rows if row[-1].endswith("%")}
    assert rows[HOSTILE[0]] == ["2", "2", "100.0%"]
    assert rows[HOSTILE[2]] == ["2", "1", "50.0%"]


def test_the_page_holds_the_confusion(page: Page) -> None:
    start = next(i for i, row in enumerate(page.rows) if row[:1] == ["true class"])
    assert [row[1:] for row in page.rows[start + 1 : start + 4]] == [
        ["2", "0", "0"],
        ["0", "2", "0"],
        ["1", "0", "1"],
    ]


def test_the_page_holds_the_network_s_table(page: Page, small: Network) -> None:
    rows = {row[0]: row for row in page.rows}
    for layer in summarize(small).layers:
        if layer.kind == "relu":
            continue
        assert f"{layer.weights:,}" in rows[layer.name]
        assert f"{layer.macs:,}" in rows[layer.name]
    assert f"{summarize(small).weights:,}" in rows["total"]


def test_examples_are_pictures_with_their_names(page: Page, split: Split) -> None:
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert sorted(image["alt"] or "" for image in images) == sorted(split.names)
    for image in images:
        content = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(content)).size == (24, 24)
    assert f"{HOSTILE[0]} 80%, is {HOSTILE[2]}" in page.texts


def test_curves_have_axes_that_say_what_they_are(page: Page) -> None:
    for words in ("loss (nats)", "accuracy", "pictures trained on", "training", "validation"):
        assert any(words in text for text in page.texts), words


def test_the_same_run_gives_the_same_page(history: History, report: Report, split: Split) -> None:
    first = write_report(history, report, split, title="a").read_bytes()
    assert write_report(history, report, split, title="a").read_bytes() == first


def test_a_report_without_mistakes_says_none(history: History, report: Report, split: Split) -> None:
    perfect = replace(report, probabilities=np.eye(3, dtype=np.float32)[report.labels])
    page = Page(write_report(history, perfect, split, title="a").read_text(encoding="utf-8"))
    assert "None." in page.texts


def test_a_report_of_many_classes_leaves_out_the_confusion(history: History, split: Split) -> None:
    many = Report(
        class_names=tuple(f"class {i}" for i in range(200)),
        labels=split.labels,
        probabilities=np.full((6, 200), 1 / 200, np.float32),
        views=1,
        seconds=1.0,
    )
    page = Page(write_report(history, many, split, title="a").read_text(encoding="utf-8"))
    assert max(len(row) for row in page.rows) < 30
    assert any("top-5" in text for text in page.texts)


def test_a_run_that_was_interrupted_at_once_has_a_report(
    history: History, report: Report, split: Split
) -> None:
    short = replace(history, steps=(), epochs=history.epochs[2:], interrupted=True)
    assert loads_from_elsewhere(Page(write_report(short, report, split, title="a").read_text())) == []


def test_a_file_name_that_is_no_unicode_does_not_end_the_run(
    history: History, report: Report, split: Split
) -> None:
    odd = replace(split, names=[b"caf\xe9.png".decode(errors="surrogateescape")] * 6)
    page = Page(write_report(history, report, odd, title="a").read_text(encoding="utf-8"))
    assert any(alt.startswith("caf") for alt in page.attributes("alt"))


def test_a_report_that_cannot_be_written_is_an_output_error(
    history: History, report: Report, split: Split
) -> None:
    gone = replace(history, output=history.output / "none")
    with pytest.raises(OutputError, match=r"report\.html: cannot be written"):
        write_report(gone, report, split, title="a")


def test_a_report_is_for_the_pictures_it_is_given(
    history: History, report: Report, split: Split, paint: Callable[..., Path]
) -> None:
    page = Page(write_report(history, report, split, title="a").read_text(encoding="utf-8"))
    assert set(page.attributes("alt")) <= set(split.names)

"""report.html read back by Python's HTML parser: nothing from elsewhere, nothing a name can break out of."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_images

from alexnet import Network, OutputError, summarize
from alexnet.cli import app
from alexnet.images.splits import Split
from alexnet.images.views import View, center
from alexnet.learning import runs
from alexnet.learning.evaluate import Report
from alexnet.learning.recipe import Recipe
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
        # One colour each, so that PNG, which is exact, is the smaller form.
        pictures=[np.full((30, 40, 3), random.integers(0, 256, 3), np.uint8) for _ in range(6)],
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
        terminated=False,
        skipped=(),
        warnings=(),
        settings=runs.Settings(
            network=small,
            data={},
            recipe=Recipe(),
            epochs=3,
            time_limit=None,
            patience=None,
            seed=0,
            precision="float32",
            start=None,
            frozen=None,
        ),
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
    # 5 of 6; the interval is scipy's, binomtest(5, 6).proportion_ci(method="wilson").
    assert "83.33% of 6 pictures (43.6% to 97.0% with 95 % confidence)" in page.texts
    start = page.rows.index(["class", "pictures", "right", "recall", "precision"])
    # The third class lost a picture to the first: the worst of them comes first.
    assert page.rows[start + 1 : start + 4] == [
        [HOSTILE[2], "2", "1", "50.0%", "100.0%"],
        [HOSTILE[0], "2", "2", "100.0%", "66.7%"],
        [HOSTILE[1], "2", "2", "100.0%", "100.0%"],
    ]


def test_the_page_holds_the_confusion(page: Page) -> None:
    start = next(i for i, row in enumerate(page.rows) if row[:1] == ["true class"])
    assert page.rows[start + 1 : start + 4] == [
        [HOSTILE[0], "2", "0", "0"],
        [HOSTILE[1], "0", "2", "0"],
        [HOSTILE[2], "1", "0", "1"],
    ]


def test_cells_of_the_confusion_are_shaded_the_more_the_larger_their_share(page: Page) -> None:
    shaded = [attributes for tag, attributes in page.elements if tag == "td" and "style" in attributes]
    told = [(each.get("class"), each["style"], each["title"]) for each in shaded]
    whole, half = "--share: 100%", "--share: 74%"  # 10 + 90 x the root of a half
    assert told == [
        ("right", whole, f"2 of 2 of {HOSTILE[0]} taken for {HOSTILE[0]}"),
        ("right", whole, f"2 of 2 of {HOSTILE[1]} taken for {HOSTILE[1]}"),
        (None, half, f"1 of 2 of {HOSTILE[2]} taken for {HOSTILE[0]}"),
        ("right", half, f"1 of 2 of {HOSTILE[2]} taken for {HOSTILE[2]}"),
    ]


Colours = dict[str, tuple[float, ...]]


def colours(style: str) -> list[Colours]:
    """The page's named colours as red, green and blue, 0 to 1: on a light page, on a dark one."""
    light: Colours = {}
    dark: Colours = {}
    for block in re.findall(r"(@media[^{]*dark[^{]*\{\s*)?:root\s*\{([^}]*)\}", style):
        for name, digits in re.findall(r"--(\w+): #([0-9a-f]+)", block[1]):
            whole = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
            (dark if block[0] else light)[name] = tuple(int(whole[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return [light, dark]


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """The contrast ratio of two colours, WCAG 2.2."""
    lights = [
        sum(
            weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
            for weight, part in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
        )
        for colour in (one, other)
    ]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def illegible(style: str) -> list[str]:
    """What does not reach WCAG's AA: 4.5 for text, 3 for lines."""
    found = []
    for theme, named in zip(("light", "dark"), colours(style), strict=True):
        paper = named["paper"]
        for shade in ("right", "wrong"):
            for share in range(0, 101, 5):
                mixed = [
                    p + (s - p) * share / 100 for p, s in zip(paper, named[shade], strict=True)
                ]  # color-mix in sRGB
                if contrast(mixed, named["ink"]) < 4.5:
                    found.append(f"{theme}: {shade} {share}%")
        texts = [("quiet", paper), ("ink", named["block"])]
        found += [f"{theme}: {text}" for text, ground in texts if contrast(named[text], ground) < 4.5]
        for line in ("#3a7fd0", "#c96f14"):
            drawn = [int(line[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            if contrast(drawn, paper) < 3:
                found.append(f"{theme}: {line}")
    return found


def test_what_is_read_has_contrast_on_light_and_dark_pages(page: Page) -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)  # WCAG 2.2
    style = "".join(page.styles)
    assert illegible(style) == []
    lines = {
        colour
        for style in page.attributes("style")
        for colour in re.findall(r"stroke: (#[0-9a-f]{6})", style)
    }
    assert lines == {"#3a7fd0", "#c96f14"}  # those judged above
    assert illegible(style.replace("--right: #1f5fae", "--right: #8ab8f5"))  # it can fail
    assert illegible(style.replace("--quiet: #5f5f6a", "--quiet: #a0a0ac"))


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
    for words in (
        "loss (nats)",
        "accuracy",
        "learning rate",
        "pictures trained on",
        "training",
        "validation",
    ):
        assert any(words in text for text in page.texts), words


def test_the_same_run_gives_the_same_page(history: History, report: Report, split: Split) -> None:
    first = write_report(history, report, split, title="a").read_bytes()
    assert write_report(history, report, split, title="a").read_bytes() == first


def test_a_report_without_mistakes_says_none(history: History, report: Report, split: Split) -> None:
    perfect = replace(report, probabilities=np.eye(3, dtype=np.float32)[report.labels])
    page = Page(write_report(history, perfect, split, title="a").read_text(encoding="utf-8"))
    assert "None." in page.texts


def many_classes(split: Split, answers: list[int]) -> Report:
    """Six pictures of classes 0, 0, 1, 1, 2, 2 of two hundred."""
    probabilities = np.full((6, 200), 0.5 / 200, np.float32)
    probabilities[range(6), answers] += 0.5
    return Report(
        class_names=tuple(f"class {i}" for i in range(200)),
        labels=split.labels,
        probabilities=probabilities,
        views=1,
        seconds=1.0,
    )


def test_a_report_of_many_classes_has_the_most_frequent_confusions(history: History, split: Split) -> None:
    report = many_classes(split, [7, 7, 1, 9, 2, 2])
    page = Page(write_report(history, report, split, title="a").read_text(encoding="utf-8"))
    assert max(len(row) for row in page.rows) < 30
    start = page.rows.index(["true class", "taken for", "pictures", "share of the class"])
    assert page.rows[start + 1 : start + 3] == [
        ["class 0", "class 7", "2", "100.0%"],
        ["class 1", "class 9", "1", "50.0%"],
    ]
    assert any("top-5" in text for text in page.texts)


def test_of_many_classes_the_worst_are_shown_and_all_can_be_unfolded(history: History, split: Split) -> None:
    report = many_classes(split, [7, 7, 1, 9, 2, 2])
    text = write_report(history, report, split, title="a").read_text(encoding="utf-8")
    folded = re.search(
        r"<details><summary>All 200 classes, worst first</summary>.*?</details>", text, re.DOTALL
    )
    assert folded
    shown, every = Page(text.replace(folded[0], "")), Page(folded[0])
    worst = [["class 0", "2", "0", "0.0%", "-"], ["class 1", "2", "1", "50.0%", "100.0%"]]
    start = shown.rows.index(every.rows[0])
    assert shown.rows[start + 1 : start + 3] == every.rows[1:3] == worst
    assert len([row for row in shown.rows[start:] if len(row) == 5]) == 1 + 12
    assert len(every.rows) == 1 + 200
    assert every.rows[-1][-2:] == ["-", "-"]  # those without pictures are last


def test_without_confusions_many_classes_say_so(history: History, split: Split) -> None:
    report = many_classes(split, [0, 0, 1, 1, 2, 2])
    page = Page(write_report(history, report, split, title="a").read_text(encoding="utf-8"))
    assert "Nothing was taken for anything else." in page.texts


def test_a_report_of_some_pictures_shows_those(history: History, report: Report, split: Split) -> None:
    some = replace(
        report,
        labels=report.labels[[1, 5]],
        probabilities=report.probabilities[[1, 5]],
        indices=np.array([1, 5]),
    )
    page = Page(write_report(history, some, split, title="a").read_text(encoding="utf-8"))
    assert page.attributes("alt") == [split.names[5], split.names[1]]  # the mistake, then the right one
    shown = base64.b64decode(page.attributes("src")[0].partition(",")[2])
    expected = center(split.pictures[5], history.view)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), expected)


def test_pictures_that_were_skipped_are_listed_with_reasons(
    history: History, report: Report, split: Split
) -> None:
    skipped = [(f"a/<{number}>.jpg", f"truncated & {number}") for number in range(3)]
    page = Page(write_report(history, report, split, title="a", skipped=skipped).read_text(encoding="utf-8"))
    assert "3 pictures that cannot be read, listed below" in page.texts
    assert "3 pictures could not be read:" in page.texts
    start = page.rows.index(["picture", "reason"])
    assert page.rows[start + 1 : start + 4] == [list(each) for each in skipped]


def test_of_many_skipped_pictures_fifty_are_listed_and_all_are_counted(
    history: History, report: Report, split: Split
) -> None:
    skipped = [(f"{number}.jpg", "truncated") for number in range(1234)]
    page = Page(write_report(history, report, split, title="a", skipped=skipped).read_text(encoding="utf-8"))
    assert "1,234 pictures could not be read" in page.texts
    assert len([row for row in page.rows if row[-1] == "truncated"]) == 50
    assert "and 1,184 more" in page.texts
    assert ("details", {}) in page.elements


def test_nothing_is_said_of_what_there_is_nothing_of(page: Page) -> None:
    heads = {"What was skipped", "What is odd about the data", "The recipe"}
    assert not heads & set(page.texts)


def test_the_data_s_warnings_and_the_recipe_are_told(history: History, report: Report, split: Split) -> None:
    path = write_report(
        history,
        report,
        split,
        title="a",
        warnings=["<dog>: 3 pictures only"],
        recipe={
            "batch_size": 128,
            "learning_rate": 0.04,
            "mirror": True,
            "clip_norm": None,
            "schedule": "a & b",
        },
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert {"What is odd about the data", "<dog>: 3 pictures only", "The recipe"} <= set(page.texts)
    start = page.rows.index(["batch size", "128"])
    assert page.rows[start : start + 5] == [
        ["batch size", "128"],
        ["learning rate", "0.04"],
        ["mirror", "yes"],
        ["clip norm", "-"],
        ["schedule", "a & b"],
    ]


@pytest.mark.slow
def test_the_commands_and_the_python_of_the_page_work(
    history: History,
    report: Report,
    split: Split,
    weights_file: Path,
    coloured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "it's <a> run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(weights_file.read_bytes())
    (tmp_path / "photo.jpg").write_bytes((coloured / "red" / "00.png").read_bytes())
    there = replace(history, output=folder.relative_to(tmp_path))
    monkeypatch.chdir(tmp_path)
    page = Page(write_report(there, report, split, title="a").read_text(encoding="utf-8"))
    commands = next(text for text in page.texts if text.startswith("alexnet predict"))
    told = []
    for line in commands.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "alexnet"
        put = {"PHOTO...": "photo.jpg", "DATA": str(coloured)}
        result = CliRunner().invoke(app, [put.get(each, each) for each in arguments])
        assert result.exit_code == 0, result.output
        told.append(result.output)
    assert "photo.jpg" in told[0]
    assert "on 24 pictures" in told[1]
    code = next(text for text in page.texts if text.startswith("from alexnet"))
    assert len(code.splitlines()) == 4
    exec(compile(code, "report.html", "exec"), {})
    path, name, probability = capsys.readouterr().out.split()
    assert (path, name in ("blue", "green", "red"), 0 < float(probability) <= 1) == ("photo.jpg", True, True)


def test_photographs_are_coded_small_and_the_page_stays_under_a_megabyte(
    history: History, split: Split
) -> None:
    photographs = [np.asarray(image) for image in load_sample_images().images]
    count, classes = 200, 30
    random = np.random.default_rng(0)
    pictures = [photographs[i % 2][i : i + 300, 2 * i : 2 * i + 300] for i in range(count)]
    labels = random.integers(0, classes, count)
    report = Report(
        class_names=tuple(f"class of a long name, number {i}" for i in range(classes)),
        labels=labels,
        probabilities=random.dirichlet(np.full(classes, 0.1), count).astype(np.float32),
        views=1,
        seconds=1.0,
    )
    many = Split(pictures=pictures, labels=labels, names=[f"{i}.jpg" for i in range(count)])
    steps = tuple(replace(history.steps[0], pictures=10 * i, train_loss=1 / i) for i in range(1, 50_000))
    long = replace(history, view=View.of(227, 227), steps=steps)
    page = write_report(long, report, many, title="a", skipped=[("a" * 200, "b" * 200)] * 100_000)
    assert page.stat().st_size < 1_000_000
    sources = Page(page.read_text(encoding="utf-8")).attributes("src")
    right = int((report.predictions == labels).sum())
    assert len(sources) == 24 + min(right, 12)
    assert all(source.startswith("data:image/jpeg") for source in sources)


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

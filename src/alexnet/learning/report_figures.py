"""The figures of report.html, each a piece of HTML: curves, the confusion matrix, pictures with answers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from html import escape
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alexnet.architecture import tables
from alexnet.errors import MissingExtraError, PictureError
from alexnet.images.decode import Picture
from alexnet.images.splits import Split
from alexnet.images.views import View, center
from alexnet.learning.evaluate import Report
from alexnet.learning.html_page import image_url
from alexnet.learning.train import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLASSES = 30  # up to so many, the whole confusion matrix is shown
_CONFUSIONS = 20  # shown of more
_POINTS = 400  # of a curve: no screen shows more, and the page stays small
_MARKS = 50  # epochs that are marked on a curve each
_SIDE = 112  # pixels of a picture on the page
_TRAINING, _VALIDATION = "#3a7fd0", "#c96f14"  # each at least 3:1 on the light page and on the dark one
_INK = "#010203"  # stands for the colour of the page's text, which matplotlib cannot name

STYLE = """
:root { --right: #8ab8f5; --wrong: #f7b27a; }
@media (prefers-color-scheme: dark) { :root { --right: #1f5fae; --wrong: #8f4e14; } }
.curves svg { max-width: 100%; height: auto; } .curves text { font-family: inherit !important; }
.confusion { border-spacing: 1px; border-collapse: separate; }
.confusion th, .confusion td { border: 0; padding: .2rem .45rem; }
.confusion td { text-align: center; min-width: 1.6rem; color: var(--quiet); }
.confusion td[style] { color: var(--ink);
  background: color-mix(in srgb, var(--wrong) var(--share), var(--paper)); }
.confusion td.right[style] { background: color-mix(in srgb, var(--right) var(--share), var(--paper)); }
.confusion th:first-child { position: sticky; left: 0; background: var(--paper); max-width: 40vw;
  overflow: hidden; text-overflow: ellipsis; }
.pairs :is(th, td):nth-child(2) { text-align: left; }
.upright th:first-child { vertical-align: bottom; }
.upright th:not(:first-child) { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
  padding: .45rem .2rem; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: 1rem;
  padding: 0; list-style: none; }
.examples li { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.examples img { display: block; margin-bottom: .3rem; border-radius: .25rem; }
"""


def curves(history: History) -> str:
    """Loss, accuracy and learning rate over the pictures trained on, as SVG whose text is text.

    Raises MissingExtraError without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "train") from None
    ink = ("axes.edgecolor", "axes.labelcolor", "grid.color", "text.color", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "alexnet"}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, **dict.fromkeys(ink, _INK)}
    buffer = io.StringIO()
    with rc_context(settings):
        figure = Figure(figsize=(11, 3.3))
        # A layout that measures its texts takes as long as the drawing.
        figure.subplots_adjust(left=0.05, right=0.99, bottom=0.16, top=0.91, wspace=0.28)
        _draw(history, figure.subplots(1, 3, width_ratios=(3, 3, 2)))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = buffer.getvalue().replace(_INK, "currentColor")
    return f'<div class="curves">{drawn[drawn.index("<svg") :]}</div>'


def _draw(history: History, panels: Sequence[Axes]) -> None:
    """Draw the loss, the accuracy and the learning rate, each into a panel of its own."""
    from matplotlib.ticker import EngFormatter

    loss, accuracy, rate = panels
    steps = history.steps
    pictures = _thinned([step.pictures for step in steps])
    style = "-" if len(pictures) > 2 else ".-"  # a line of one point cannot be seen
    for axes, values in (
        (loss, [step.train_loss for step in steps]),
        (accuracy, [step.train_accuracy for step in steps]),
        (rate, [step.learning_rate for step in steps]),
    ):
        axes.plot(pictures, _thinned(values), style, color=_TRAINING, label="training", linewidth=1.3)
    epochs = [
        (epoch.pictures, epoch.validation_loss, epoch.validation_accuracy)
        for epoch in history.epochs
        if epoch.validation_loss is not None and epoch.validation_accuracy is not None
    ]
    if epochs:
        where, losses, accuracies = zip(*epochs, strict=True)
        marks = "o-" if len(epochs) <= _MARKS else "-"
        for axes, validated in ((loss, losses), (accuracy, accuracies)):
            axes.plot(where, validated, marks, color=_VALIDATION, label="validation", markersize=4)
    for axes in (loss, accuracy):
        axes.legend(frameon=False)
    for axes, what in ((loss, "loss (nats)"), (accuracy, "accuracy"), (rate, "learning rate")):
        axes.set_title(what, fontsize=11)
        axes.set_xlabel("pictures trained on")
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 25k, 10M
        axes.grid(alpha=0.25)
        axes.set_ylim(bottom=0)
    accuracy.set_ylim(0, 1.02)
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _thinned(values: Sequence[float]) -> list[float]:
    """As many values as are shown at most, each the mean of its neighbours."""
    parts = np.array_split(np.asarray(values, float), min(len(values), _POINTS) or 1)
    return [float(part.mean()) for part in parts if len(part)]


def confusion(report: Report) -> str:
    """What was taken for what: of few classes the whole matrix, of many the most frequent confusions."""
    if len(report.class_names) > _CLASSES:
        return _frequent_confusions(report)
    names = report.class_names
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    upright = ' class="upright"' if max(map(len, names)) > 4 else ""
    lines = [f"<tr{upright}><th>true class</th>{head}</tr>"]
    for row, counts in enumerate(report.confusion.tolist()):
        cells = (_confusion_cell(count, names, row, column, counts) for column, count in enumerate(counts))
        lines.append(f'<tr><th scope="row">{escape(names[row])}</th>{"".join(cells)}</tr>')
    table = "\n".join(lines)
    return (
        "<p>Rows: what the pictures are; columns: what they were taken for; the stronger the colour, the "
        f'larger the share of the row.</p>\n<div class="wide"><table class="confusion">{table}</table></div>'
    )


def _confusion_cell(count: int, names: Sequence[str], row: int, column: int, counts: Sequence[int]) -> str:
    if not count:
        return "<td>0</td>"
    said = f"{count:,} of {sum(counts):,} of {names[row]} taken for {names[column]}"
    # Not the share itself: one in a hundred is still to be seen.
    share = 10 + 90 * sqrt(count / sum(counts))
    right = ' class="right"' if row == column else ""
    return f'<td{right} style="--share: {share:.0f}%" title="{escape(said, quote=True)}">{count}</td>'


def _frequent_confusions(report: Report) -> str:
    wrong = report.confusion
    pictures = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    places = [(int(row), int(column)) for row, column in np.argwhere(wrong)]
    # Of equally many the larger share of its class first.
    places.sort(key=lambda place: (-wrong[place], pictures[place[0]]))
    names = report.class_names
    rows = [
        (names[row], names[column], f"{wrong[row, column]:,}", f"{wrong[row, column] / pictures[row]:.1%}")
        for row, column in places[:_CONFUSIONS]
    ]
    if not rows:
        return "<p>Nothing was taken for anything else.</p>"
    table = tables.html_table(("true class", "taken for", "pictures", "share of the class"), rows)
    return f'<p>The most frequent confusions:</p>\n<div class="pairs">{table}</div>'


def examples(report: Report, split: Split, view: View, chosen: Iterable[int]) -> str:
    """Pictures of a report as the network sees them, with its answers."""
    items = []
    for index in chosen:
        answer, label = int(report.predictions[index]), int(report.labels[index])
        text = f"{report.class_names[answer]} {report.probabilities[index, answer]:.0%}"
        if answer != label:
            text += f", is {report.class_names[label]}"
        place = report.place(index)
        try:
            source = _source(center(split.pictures[place], view))
        except PictureError:
            continue  # it was there when it was judged
        name = escape(split.names[place], quote=True)
        items.append(
            f'<li><img src="{source}" width="{_SIDE}" alt="{name}" title="{name}">{escape(text)}</li>'
        )
    return '<ul class="examples">' + "\n".join(items) + "</ul>" if items else "<p>None.</p>"


def _source(picture: Picture) -> str:
    """A picture as a data URL: PNG, or JPEG where that is smaller, as it is for photographs."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((_SIDE, _SIDE))
    coded: dict[str, bytes] = {}
    for form in ("png", "jpeg"):
        buffer = io.BytesIO()
        image.save(buffer, form, quality=90)
        coded[form] = buffer.getvalue()
    form = min(coded, key=lambda each: len(coded[each]))
    return image_url(coded[form], form)

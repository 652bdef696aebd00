"""A run as one HTML page that needs nothing else: the network's table, curves, examples right and wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.architecture import tables
from alexnet.architecture.summary import summarize
from alexnet.errors import MissingExtraError
from alexnet.images.decode import Picture
from alexnet.images.splits import Split
from alexnet.images.views import View, center
from alexnet.learning.evaluate import Report, surest_right, surest_wrong
from alexnet.learning.runs import REPORT
from alexnet.learning.train import History
from alexnet.writing import write_whole

_EXAMPLES = 12  # shown of each kind
_CLASSES = 30  # up to so many, the whole confusion matrix is shown
_SIDE = 112  # pixels of an example on the page

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --line: #d5d5dd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ee; --paper: #17171b; --line: #3a3a44; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem; } dd { margin: 0; }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.examples li { width: 7rem; font-size: .8rem; overflow-wrap: anywhere; } .examples img { display: block; }
.curves { background: #fff; border-radius: .5rem; max-width: 100%; }
.curves svg { max-width: 100%; height: auto; }
"""


def write_report(
    history: History,
    report: Report,
    split: Split,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write report.html of a run, as judged by `report` on `split`, into its folder: its path.

    `facts` are lines at its head: what, and its value. Raises MissingExtraError without matplotlib.
    """
    page = history.output / REPORT
    write_whole(page, _page(history, report, split, title=title, facts=facts))
    return page


def _page(
    history: History, report: Report, split: Split, *, title: str, facts: Sequence[tuple[str, str]]
) -> str:
    headline = [("top-1 accuracy", f"{report.top(1):.2%} of {report.pictures:,} pictures")]
    if len(report.class_names) > 5:
        headline.append(("top-5 accuracy", f"{report.top(5):.2%}"))
    headline += [
        ("pictures trained on", f"{history.pictures:,}, repeats counted, in {history.seconds:.0f} s"),
        *facts,
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<dl>"
        + "".join(f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in headline)
        + "</dl>",
        "<h2>Training</h2>",
        f'<div class="curves">{_curves(history)}</div>',
        "<h2>Answered rightly, the surest of each class</h2>",
        _examples(report, split, history.view, surest_right(report, most=_EXAMPLES)),
        "<h2>Answered wrongly, the surest first</h2>",
        _examples(report, split, history.view, surest_wrong(report, most=_EXAMPLES)),
        "<h2>By class</h2>",
        tables.html_table(("class", "pictures", "right", "share"), _class_rows(report)),
        *_confusion(report),
        "<h2>The network</h2>",
        summarize(history.network).html(),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _class_rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (name, f"{count:,}", f"{right:,}", f"{right / count:.1%}" if count else "-")
        for name, count, right in report.per_class()
    ]


def _confusion(report: Report) -> list[str]:
    if len(report.class_names) > _CLASSES:
        return []
    confusion = report.confusion.tolist()
    rows = [
        (name, *(str(count) for count in counts))
        for name, counts in zip(report.class_names, confusion, strict=True)
    ]
    return ["<h2>What was taken for what</h2>", tables.html_table(("true class", *report.class_names), rows)]


def _examples(report: Report, split: Split, view: View, chosen: Sequence[int]) -> str:
    if not chosen:
        return "<p>None.</p>"
    items = []
    for index in chosen:
        answer, label = int(report.predictions[index]), int(report.labels[index])
        sure = report.probabilities[index, answer]
        text = f"{report.class_names[answer]} {sure:.0%}"
        if answer != label:
            text += f", is {report.class_names[label]}"
        source = _png(center(split.pictures[index], view))
        name = escape(split.names[index], quote=True)
        items.append(
            f'<li><img src="{source}" width="{_SIDE}" alt="{name}" title="{name}">{escape(text)}</li>'
        )
    return '<ul class="examples">' + "\n".join(items) + "</ul>"


def _png(picture: Picture) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(history: History) -> str:
    """Loss and accuracy over the pictures trained on, as SVG whose text is text."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "train") from None
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    steps = history.steps
    pictures = [step.pictures for step in steps]
    style = "-" if len(steps) > 2 else ".-"  # a line of one point cannot be seen
    loss.plot(pictures, [step.train_loss for step in steps], style, label="training")
    accuracy.plot(pictures, [step.train_accuracy for step in steps], style, label="training")
    judged = [epoch for epoch in history.epochs if epoch.validation_accuracy is not None]
    where = [epoch.pictures for epoch in judged]
    loss.plot(where, [epoch.validation_loss for epoch in judged], "o-", label="validation")
    accuracy.plot(where, [epoch.validation_accuracy for epoch in judged], "o-", label="validation")
    for axes, what in ((loss, "loss (nats)"), (accuracy, "accuracy")):
        axes.set_xlabel("pictures trained on")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
        axes.legend()
    accuracy.set_ylim(0, 1)
    loss.set_ylim(bottom=0)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "alexnet"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]

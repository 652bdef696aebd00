"""A run as one HTML page that needs nothing else: what it came to, where it errs, how to use its weights."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from alexnet.architecture import tables
from alexnet.architecture.summary import summarize
from alexnet.images.splits import Split
from alexnet.learning import report_figures, runs
from alexnet.learning.evaluate import ClassFigures, Report, surest_right, surest_wrong
from alexnet.learning.html_page import html_page
from alexnet.learning.train import History
from alexnet.writing import write_whole

_WRONG, _RIGHT = 24, 12  # pictures shown of each kind
_ROWS = 12  # of a table shown at once; longer ones are unfolded
_SKIPPED = 50  # files named


def write_report(
    history: History,
    report: Report,
    split: Split,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    recipe: Mapping[str, object] | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    warnings: Sequence[str] = (),
) -> Path:
    """Write report.html of a run, as judged by `report` on `split`, into its folder: its path.

    `facts` are lines at its head: what, and its value. `recipe` is how it was trained, by name. `skipped`
    are the pictures that could not be read: name, and reason. `warnings` are about the data set. Raises
    MissingExtraError without matplotlib, OutputError where it cannot be written, and what reading the
    pictures that are shown raises.
    """
    sections = {
        "Training": report_figures.curves(history),
        "Answered wrongly, the surest first": report_figures.examples(
            report, split, history.view, surest_wrong(report, most=_WRONG)
        ),
        "Answered rightly, the surest of each class": report_figures.examples(
            report, split, history.view, surest_right(report, most=_RIGHT)
        ),
        "What was taken for what": report_figures.confusion(report),
        "By class": _classes(report),
        "Use these weights": _usage(history.output / runs.BEST),
        "The recipe": _recipe(recipe or {}),
        "What was skipped": _skipped(skipped),
        "What is odd about the data": _list(warnings),
        "The network": summarize(history.network).html(),
    }
    facts = [*_headline(history, report), *facts]
    if skipped:
        facts.append(("left out", f"{_pictures(len(skipped))} that cannot be read, listed below"))
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
        + "</dl>",
        *(f"<h2>{head}</h2>\n{content}" for head, content in sections.items() if content),
    ]
    body = "\n".join(parts)
    page = history.output / runs.REPORT
    write_whole(page, html_page(title, body, style=report_figures.STYLE))
    return page


def _headline(history: History, report: Report) -> list[tuple[str, str]]:
    low, high = report.interval()
    top1 = f"{report.top(1):.2%} of {_pictures(report.pictures)}"
    lines = [("top-1 accuracy", f"{top1} ({low:.1%} to {high:.1%} with 95 % confidence)")]
    if len(report.class_names) > 5:
        lines.append(("top-5 accuracy", f"{report.top(5):.2%}"))
    trained = f"{history.pictures:,}, repeats counted, in {history.seconds:,.0f} s"
    return [*lines, ("pictures trained on", trained)]


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _classes(report: Report) -> str:
    """The classes, worst first: a few at once, all on demand."""
    # A class without pictures has no share: last. Of equals that with more pictures is told first.
    worst = sorted(report.per_class(), key=lambda each: (not each.pictures, each.recall or 0, -each.pictures))
    first = _class_table(worst[:_ROWS])
    if len(worst) <= _ROWS:
        return first
    return (
        f"<p>The {_ROWS} that were recognised least:</p>{first}\n"
        f"<details><summary>All {len(worst):,} classes, worst first</summary>{_class_table(worst)}</details>"
    )


def _class_table(classes: Iterable[ClassFigures]) -> str:
    rows = [
        (each.name, f"{each.pictures:,}", f"{each.right:,}", _share(each.recall), _share(each.precision))
        for each in classes
    ]
    return tables.html_table(("class", "pictures", "right", "recall", "precision"), rows)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _skipped(skipped: Sequence[tuple[str, str]]) -> str:
    if not skipped:
        return ""
    head = f"{_pictures(len(skipped))} could not be read"
    told = _words(("picture", "reason"), skipped[:_SKIPPED])
    if len(skipped) > _SKIPPED:
        told += f"<p>and {len(skipped) - _SKIPPED:,} more</p>"
    if len(skipped) <= _ROWS:
        return f"<p>{head}:</p>{told}"
    return f"<details><summary>{head}</summary>{told}</details>"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _usage(weights: Path) -> str:
    path = shlex.quote(str(weights))
    commands = f"alexnet predict {path} PHOTO...\nalexnet evaluate {path} DATA"
    code = (
        "from alexnet.inference.engines import open_classifier\n"
        "from alexnet.inference.predict import predict\n"
        f"for each in predict(open_classifier({str(weights)!r}), ['photo.jpg']):\n"
        "    print(each.path, each.labels[0].name, each.labels[0].probability)"
    )
    return (
        "<p>From the folder in which the training was started, on the command line:</p>\n"
        f"<pre>{escape(commands)}</pre>\n<p>In Python:</p>\n<pre>{escape(code)}</pre>"
    )


def _recipe(recipe: Mapping[str, object]) -> str:
    rows = [(name.replace("_", " "), _value(value)) for name, value in recipe.items()]
    return _words(None, rows) if rows else ""


def _value(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case None:
            return "-"
        case _:
            return str(value)


def _words(head: tuple[str, ...] | None, rows: Sequence[tuple[str, ...]]) -> str:
    """A table whose columns are words, not figures."""
    return f'<div class="words">{tables.html_table(head, rows)}</div>'

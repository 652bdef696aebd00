"""How the command line shows things: progress on stderr; tables and small pictures as text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from alexnet.architecture.tables import aligned, aligned_line
from alexnet.writing import in_a_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from alexnet.images.decode import Picture
    from alexnet.inference.export import Agreement
    from alexnet.inference.predict import Prediction
    from alexnet.learning.benchmark import Timing
    from alexnet.learning.evaluate import Report
    from alexnet.learning.progress import Progress
    from alexnet.server.benchmark_serve import Answers

# Where no terminal shows a bar: a line as often as this, in a long run as a share of its time so far.
_SECONDS_A_LINE = 10.0
_SHARE_A_LINE = 0.05
_MOST_SECONDS_A_LINE = 300.0
_COLUMNS_FOR_A_BAR = 110  # of the terminal; in a narrower one the figures need the room
_RAMP = " .:-=+*#%@"  # dark to light


class Teller(Protocol):
    """Shows where a run stands."""

    def __call__(self, progress: Progress) -> None:
        """Show it."""

    def note(self, message: str) -> None:
        """Print a line that stays, above what is redrawn."""


@contextmanager
def training_progress() -> Iterator[Teller]:
    """A line on stderr that follows a run: redrawn in a terminal, now and then a new one elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    columns = [
        TextColumn("{task.description}"),
        *([BarColumn(bar_width=16)] if console.width >= _COLUMNS_FOR_A_BAR else []),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[left]}"),
        # What does not fit is cut here, and the time left is not.
        TextColumn("{task.fields[told]}", table_column=Column(ratio=1, no_wrap=True)),
    ]
    with Bar(*columns, console=console, transient=True, expand=True) as bar:
        yield _Line(bar)


class _Line:
    """One line of a terminal, redrawn."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=1.0, left="", told="starting")

    def __call__(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            completed=progress.share,
            description=progress.phase,
            left=_left(progress),
            told=_figures(progress),
        )

    def note(self, message: str) -> None:
        self._bar.console.print(in_a_line(message), markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """A new line now and then; sooner where the phase is another, at once where Ctrl-C is answered."""

    def __init__(self) -> None:
        self._told_at, self._told_phase = float("-inf"), ""

    def __call__(self, progress: Progress) -> None:
        pause = min(max(_SECONDS_A_LINE, _SHARE_A_LINE * progress.seconds), _MOST_SECONDS_A_LINE)
        if progress.phase != self._told_phase:
            pause = 0 if progress.phase == "interrupted" else pause / 2
        now = perf_counter()
        if now - self._told_at < pause:
            return
        self._told_at, self._told_phase = now, progress.phase
        self.note(f"{progress.phase} {progress.share:4.0%}  {describe(progress)}")

    def note(self, message: str) -> None:
        print(in_a_line(message), file=sys.stderr, flush=True)


@contextmanager
def counting_progress(total: int | None, *, doing: str = "evaluating") -> Iterator[Callable[[int], None]]:
    """A bar on stderr for `total` pictures, where that is known, in a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:  # where a bar that was never shown would end in an empty line
        yield lambda _: None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(doing, total=total, visible=False)
        yield lambda done: bar.update(task, completed=done, visible=done != total)


def describe(progress: Progress) -> str:
    """A run's time and figures in one line.

    Ctrl-C is answered here too: what happens next, and how to cut it short.
    """
    if progress.phase == "interrupted":
        return _figures(progress)
    return f"{duration(progress.seconds)} gone, {_left(progress)}  {_figures(progress)}"


def _left(progress: Progress) -> str:
    return "" if progress.phase == "interrupted" else f"{duration(progress.seconds_left)} left"


def _figures(progress: Progress) -> str:
    if progress.phase == "interrupted":
        return "validating, then saving; Ctrl-C again saves at once"
    validated = progress.validation_accuracy
    return (
        f"epoch {progress.epoch}  loss {progress.loss:.3f}  accuracy {progress.accuracy:.1%}"
        + (f" (validation {validated:.1%})" if validated is not None else "")
        + f"  {progress.pictures_per_second:,.0f} pictures/s"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(75), duration(9), duration(7300)
    ('1m15s', '9s', '2h01m')
    """
    if seconds == float("inf"):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def report_table(report: Report) -> str:
    """A report's classes and its headline."""
    rows = [
        (
            in_a_line(each.name),
            f"{each.pictures:,}",
            f"{each.right:,}",
            _share(each.recall),
            _share(each.precision),
        )
        for each in report.per_class()
    ]
    return f"{aligned(('class', 'pictures', 'right', 'recall', 'precision'), rows)}\n\n{headline(report)}"


def headline(report: Report) -> str:
    """Accuracy with its 95 % confidence interval, number of pictures and speed in one line."""
    low, high = report.interval()
    top1 = f"top-1 {report.top(1):.2%} ({100 * low:.1f} to {100 * high:.1f})"
    top5 = f", top-5 {report.top(5):.2%}" if len(report.class_names) > 5 else ""
    views = f" of {report.views} views each" if report.views > 1 else ""
    rate = report.pictures / report.seconds if report.seconds else 0.0
    return f"{top1}{top5} on {report.pictures:,} pictures{views}, {rate:,.0f} a second"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def prediction_lines(predictions: Iterable[Prediction], *, labels: int, together: int = 1) -> Iterator[str]:
    """A head, then a line a picture: its path, its `labels`, the likeliest first, or why it cannot be read.

    They come as the predictions do; but so many are waited for `together`, whose columns are aligned. A later
    one that needs more room widens them from there on.
    """
    rest = iter(predictions)
    first = list(islice(rest, together))
    head = ["picture", *(f"{rank + 1}." for rank in range(labels))]
    widths = [
        max(map(len, column)) for column in zip(head, *(_cells(each, labels) for each in first), strict=True)
    ]
    yield (line := aligned_line(head, widths))
    yield "-" * len(line)
    for each in chain(first, rest):
        row = _cells(each, labels)
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
        yield (
            f"{row[0].ljust(widths[0])}  {in_a_line(each.error)}" if each.error else aligned_line(row, widths)
        )


def _cells(prediction: Prediction, labels: int) -> list[str]:
    told = [f"{in_a_line(label.name)} {label.probability:.1%}" for label in prediction.labels]
    return [in_a_line(prediction.path), *told, *[""] * (labels - len(told))]


def timing_table(timings: Sequence[Timing]) -> str:
    """A line for each way: pictures a second, and the ratio to the first."""
    rows = [
        (
            each.name,
            *(f"{rate:.1f}" for rate in (each.pictures_per_second, each.slowest, each.fastest)),
            f"{each.ratio:.2f}x",
        )
        for each in timings
    ]
    return aligned(("way", "pictures/s (median)", "slowest", "fastest", "ratio"), rows)


def answers_table(answers: Sequence[Answers]) -> str:
    """A line for each load: the server's rate, the time of its answers, what it refused, its memory."""
    rows = [
        (
            each.way,
            each.clients,
            f"{each.rate:.1f}",
            *(f"{1000 * seconds:.0f}" for seconds in (each.p50, each.p95, each.p99)),
            f"{each.refused:,}",
            f"{each.failed:,}",
            f"{each.memory:.0f}",
        )
        for each in answers
    ]
    header = ("server", "clients", "answers/s", "p50 ms", "p95 ms", "p99 ms", "503", "failed", "MiB")
    return aligned(header, rows)


def agreement_table(agreements: Sequence[Agreement]) -> str:
    """A line for each engine: how an exported file answers, beside torch in float32."""
    rows = [
        (
            each.engine,
            f"{each.pictures:,}",
            f"{each.difference:.3g} ({each.relative:.2g} of the largest)",
            f"{each.same_answers:.2%}",
            "" if each.accuracy is None else f"{each.accuracy:.2%}",
            "" if each.accuracy_of_torch is None else f"{each.accuracy_of_torch:.2%}",
        )
        for each in agreements
    ]
    header = ("engine", "pictures", "logits differ by", "same top-1", "top-1", "torch's top-1")
    return aligned(header, rows)


def picture_text(picture: Picture, *, columns: int = 22) -> list[str]:
    """A picture in characters, lighter ones for lighter pixels; a character is twice as high as wide."""
    import numpy as np
    from PIL import Image

    rows = max(1, round(columns * picture.shape[0] / picture.shape[1] / 2))
    grey = Image.fromarray(np.ascontiguousarray(picture)).convert("L").resize((columns, rows))
    steps = np.asarray(grey).astype(int) * len(_RAMP) // 256
    return ["".join(_RAMP[step] for step in row) for row in steps]


def side_by_side(blocks: Sequence[Sequence[str]], *, gap: int = 3) -> str:
    """Blocks of lines beside each other, each as wide as its widest line.

    >>> print(side_by_side([["ab", "c"], ["d"]], gap=1))
    ab d
    c
    """
    widths = [max(map(len, block), default=0) for block in blocks]
    height = max(map(len, blocks), default=0)
    lines = []
    for row in range(height):
        cells = (
            (block[row] if row < len(block) else "").ljust(width)
            for block, width in zip(blocks, widths, strict=True)
        )
        lines.append((" " * gap).join(cells).rstrip())
    return "\n".join(lines)

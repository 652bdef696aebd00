"""How the command line shows things: progress on stderr; tables and small pictures as text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from alexnet.architecture.tables import aligned

if TYPE_CHECKING:
    from alexnet.images.decode import Picture
    from alexnet.inference.predict import Prediction
    from alexnet.learning.benchmark import Timing
    from alexnet.learning.evaluate import Report
    from alexnet.learning.progress import Progress

_SECONDS_A_LINE = 10.0  # between lines of progress where no terminal shows a bar
_RAMP = " .:-=+*#%@"  # dark to light


class Teller(Protocol):
    """Shows where a run stands."""

    def __call__(self, progress: Progress) -> None:
        """Show it."""


@contextmanager
def training_progress() -> Iterator[Teller]:
    """A line on stderr that follows a run: redrawn in a terminal, now and then a new one elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_teller()
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[told]}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=1.0, told="starting")

        def tell(progress: Progress) -> None:
            bar.update(task, completed=progress.share, description=progress.phase, told=describe(progress))

        yield tell


@contextmanager
def counting_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for `total` pictures, in a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=total, visible=False)
        yield lambda done: bar.update(task, completed=done, visible=done < total)


def _line_teller() -> Teller:
    told_at, told_phase = float("-inf"), ""

    def tell(progress: Progress) -> None:
        nonlocal told_at, told_phase
        now = perf_counter()
        if progress.phase == told_phase and now - told_at < _SECONDS_A_LINE:
            return
        told_at, told_phase = now, progress.phase
        print(f"{progress.phase} {progress.share:4.0%}  {describe(progress)}", file=sys.stderr, flush=True)

    return tell


def describe(progress: Progress) -> str:
    """A run's figures in one line.

    Ctrl-C is answered here too: what happens next, and how to cut it short.
    """
    if progress.phase == "interrupted":
        return "validating, then saving; Ctrl-C again saves at once"
    validated = progress.validation_accuracy
    return (
        f"epoch {progress.epoch}  {progress.pictures_per_second:,.0f} pictures/s  loss {progress.loss:.3f}  "
        f"accuracy {progress.accuracy:.1%}"
        + (f" (validation {validated:.1%})" if validated is not None else "")
        + f"  {duration(progress.seconds_left)} left"
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
        (name, f"{count:,}", f"{right:,}", f"{right / count:.1%}" if count else "-")
        for name, count, right in report.per_class()
    ]
    return f"{aligned(('class', 'pictures', 'right', 'share'), rows)}\n\n{headline(report)}"


def headline(report: Report) -> str:
    """Accuracy, number of pictures and speed in one line."""
    top5 = f", top-5 {report.top(5):.2%}" if len(report.class_names) > 5 else ""
    views = " of ten views each" if report.views > 1 else ""
    rate = report.pictures / report.seconds if report.seconds else 0.0
    return f"top-1 {report.top(1):.2%}{top5} on {report.pictures:,} pictures{views}, {rate:,.0f} a second"


def prediction_table(predictions: Sequence[Prediction]) -> str:
    """A line a picture: its path, then its labels, the likeliest first."""
    ranks = max((len(each.labels) for each in predictions), default=0)
    rows = [
        (each.path, *(f"{label.name} {label.probability:.1%}" for label in each.labels))
        for each in predictions
    ]
    return aligned(("picture", *(f"{rank + 1}." for rank in range(ranks))), rows)


def csv_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    """A header, then a line a picture: its path, and each label with its probability."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")

    def line(cells: Sequence[object]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue().removesuffix("\n")

    for number, each in enumerate(predictions):
        if number == 0:
            ranks = range(1, len(each.labels) + 1)
            yield line(["path", *(name for rank in ranks for name in (f"label{rank}", f"probability{rank}"))])
        answers = (value for label in each.labels for value in (label.name, f"{label.probability:.6f}"))
        yield line([each.path, *answers])


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

"""`alexnet predict`."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alexnet.cli.options import device_option, engine_option, precision_option, workers_option
from alexnet.cli.printing import fail, note, show

ALIGNED = 100  # pictures whose columns are aligned before any is shown, where no list is waited for
PATIENCE = 0.1  # seconds that a picture of a list waits for more, to be answered together with it

if TYPE_CHECKING:
    from alexnet.inference.predict import Prediction


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--top", type=int, default=5, show_default=True, help="Labels a picture.")
@engine_option
@device_option
@precision_option
@workers_option
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "jsonl"]), help="[default: --output's, else table]"
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="FILE.csv or FILE.jsonl; gone on with if it is there.",
)
@click.option("--strict", is_flag=True, help="Exit with 2 where a picture could not be read.")
@click.option("--ray", is_flag=True, help="Over the Ray cluster of $RAY_ADDRESS, or one of this machine.")
def predict(
    weights: Path,
    paths: tuple[str, ...],
    top: int,
    engine: str,
    device: str,
    precision: str,
    workers: int,
    form: str | None,
    output: Path | None,
    strict: bool,
    ray: bool,
) -> None:
    """Say what WEIGHTS takes the pictures for: files, folders, globs, - for a list on standard input.

    A picture that cannot be read has the reason in its place. With --output, a file that is there is gone on
    with.
    """
    from alexnet.inference.engines import FEW, open_classifier
    from alexnet.inference.predict import check_paths, find_pictures
    from alexnet.inference.predict import predict as predict_pictures
    from alexnet.inference.predict_file import FORMS, lines, write_predictions
    from alexnet.terminal import counting_progress, prediction_lines

    asked = form or (output.suffix.removeprefix(".") if output is not None else "table")
    kind = next((each for each in FORMS if each == asked), None)
    if output is not None and kind is None:
        fail(f"{output}: is written as it comes; must end in .csv or .jsonl, or --format be one of them")
    if top < 1:
        fail(f"top: {top}; must be at least 1")
    found = find_pictures(each for path in paths for each in (_listed() if path == "-" else [path]))
    if ray and device != "auto":
        fail(f"device: {device}; with --ray the cluster's processes have processors; leave it out")
    first: list[Path] = []
    if "-" not in paths and not ray:  # a list is answered as it comes
        first = list(islice(found, FEW))
        found = chain(first, found)
    classifier = open_classifier(
        weights,
        engine=engine,
        device=device,
        precision=precision,
        pictures=len(first),
        on_fetch=note,
        on_note=note,
    )
    classifier.network.check_takes_colours()
    check_paths(path for path in paths if path != "-")
    shown = min(top, len(classifier.class_names))
    again = partial(predict_pictures, classifier, top=top, workers=workers)
    ask: Callable[[Iterable[Path]], Iterator[Prediction]]
    if ray:
        from alexnet.inference.predict_ray import predict_on_ray

        ask = partial(predict_on_ray, weights, top=top, engine=engine, precision=precision)
    else:
        patience = PATIENCE if "-" in paths else None
        ask = partial(again, patience=patience)
    if output is not None and kind is not None:
        with counting_progress(None) as tell:
            written = write_predictions(
                ask, found, output, form=kind, top=shown, on_progress=tell, again=again
            )
        before = f" after {written.before:,} that it had" if written.before else ""
        note(f"{output}: {written.pictures:,} pictures{before}")
        unreadable = written.unreadable
    else:
        unreadable = 0

        def answers() -> Iterator[Prediction]:
            nonlocal unreadable
            for each in ask(found):
                unreadable += each.error is not None
                yield each

        if kind is not None:
            told = lines(answers(), kind, top=shown)
        else:
            told = prediction_lines(answers(), labels=shown, together=1 if "-" in paths else ALIGNED)
        for line in told:
            show(line)
    if unreadable:
        note(f"{unreadable:,} picture{'' if unreadable == 1 else 's'} could not be read")
        if strict:
            sys.exit(2)


def _listed() -> Iterator[str]:
    """The paths on standard input as they come, a line each or NUL behind each, as `find -print0` has them.

    What is no UTF-8 in them is as in arguments; empty ones are left out.
    """
    if sys.stdin is None:
        fail("-: standard input is closed; must be a list of paths; give them as arguments")
    # Unbuffered: Python cannot end while a thread waits within the buffer of a list that does not.
    stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    rest, end = b"", b""
    while block := stream.read(65536):
        rest += block
        if not end and (end := next((each for each in (b"\0", b"\n") if each in rest), b"")):
            rest = rest.removeprefix(codecs.BOM_UTF8)
        if end:
            *whole, rest = rest.split(end)
            lines = (line if end == b"\0" else line.removesuffix(b"\r") for line in whole)
            yield from map(os.fsdecode, filter(None, lines))
    if rest := rest if end else rest.removeprefix(codecs.BOM_UTF8):
        yield os.fsdecode(rest)

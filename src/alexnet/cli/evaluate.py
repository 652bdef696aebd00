"""`alexnet evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from alexnet.cli.options import (
    device_option,
    engine_option,
    format_option,
    precision_option,
    split_seed_option,
    workers_option,
)
from alexnet.cli.printing import note, show


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("data")
@click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), help="[default: test, else validation]"
)
@click.option(
    "--views",
    type=click.Choice(["1", "5", "10"]),
    default="1",
    show_default=True,
    help="5: corners and centre, averaged; 10: with their mirror images, too (2012).",
)
@engine_option
@device_option
@precision_option
@workers_option
@split_seed_option
@format_option
def evaluate(
    weights: Path,
    data: str,
    split: str | None,
    views: str,
    engine: str,
    device: str,
    precision: str,
    workers: int,
    seed: int | None,
    form: str,
) -> None:
    """Judge WEIGHTS on DATA: top-1, top-5, every class."""
    from alexnet.images.datasets import is_undivided, keeps_class_mirrored
    from alexnet.inference.engines import is_exported, open_classifier
    from alexnet.learning.evaluate import evaluate as evaluate_classifier
    from alexnet.learning.runs import open_split_of_run
    from alexnet.terminal import counting_progress, report_table

    if engine == "auto" and not is_exported(weights):
        engine = "torch"  # weights are judged by what trained them, whatever is faster here
    classifier = open_classifier(
        weights, engine=engine, device=device, precision=precision, on_fetch=note, on_note=note
    )
    pictures = open_split_of_run(weights, data, classifier.class_names, split=split, seed=seed)
    for warning in pictures.warnings:
        note(warning)
    if split is None and is_undivided(data):
        note(f"{data}: all its pictures; --split validation takes those that training set apart")
    if views == "10" and not keeps_class_mirrored(data):
        note(f"{data}: not the same in a mirror, as half of the ten views are; --views 5 goes without")
    unreadable: list[str] = []
    with counting_progress(len(pictures)) as tell:
        report = evaluate_classifier(
            classifier,
            pictures,
            views_each=int(views),
            workers=workers,
            on_progress=tell,
            on_unreadable=lambda _, reason: unreadable.append(reason),
        )
    for reason in unreadable:
        note(f"left out: {reason}")
    if form == "json":
        click.echo(json.dumps(report.to_dict() | {"engine": classifier.engine}, indent=2))
    else:
        show(report_table(report))

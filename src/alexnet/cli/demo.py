"""`alexnet demo`."""

from __future__ import annotations

from pathlib import Path

import click

from alexnet.cli.options import Duration
from alexnet.cli.printing import note


@click.command()
@click.option("--data", default="fashion-mnist", show_default=True, help="fashion-mnist or digits.")
@click.option("--time-limit", type=Duration(), default="4m", show_default=True, help="Of the training.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/DATA-1, -2, ...]"
)
def demo(data: str, time_limit: float, output: Path | None) -> None:
    """The main job: train the notes' network on real pictures, evaluate, predict, report."""
    from alexnet.architecture.summary import summarize
    from alexnet.architecture.zoo import NOTES

    click.echo("1. The network of the notes\n")
    click.echo(summarize(NOTES).text())
    from alexnet.demo import judge, open_pictures, train_notes
    from alexnet.terminal import (
        counting_progress,
        duration,
        headline,
        picture_text,
        side_by_side,
        training_progress,
    )

    dataset = open_pictures(data, say=note)
    click.echo(
        f"2. Training it on {dataset.name} ({len(dataset.train):,} pictures) for {duration(time_limit)}\n"
    )
    with training_progress() as tell:
        history = train_notes(dataset, time_limit=time_limit, output=output, on_progress=tell)
    click.echo(f"trained on {history.pictures:,} pictures in {duration(history.seconds)}\n")
    with counting_progress(len(dataset.test or dataset.validation)) as count:
        result = judge(history, dataset, on_progress=count)
    click.echo(f"3. On pictures it has never seen: {headline(result.report)}\n")
    click.echo("4. A handful of them, and what it takes them for\n")
    blocks = []
    for truth, picture, prediction in result.predictions:
        first = prediction.labels[0]
        blocks.append([*picture_text(picture), f"is   {truth}", f"says {first.name} {first.probability:.0%}"])
    for start in range(0, len(blocks), 3):
        click.echo(side_by_side(blocks[start : start + 3]) + "\n")
    click.echo(f"5. The report: {result.page}")
    click.echo(f"   The weights: {history.output / 'best.safetensors'}")

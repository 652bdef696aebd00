"""`alexnet train`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import click

from alexnet.cli.options import (
    Duration,
    device_option,
    precision_option,
    trained_settings_option,
    workers_option,
)
from alexnet.cli.printing import INTERRUPTED, TERMINATED, fail, note


@click.command()
@click.argument("data")
@click.option("--network", help="A name, a TOML file or a weights file.  [default: notes, or that of --init]")
@trained_settings_option
@click.option(
    "--recipe",
    "recipe_name",
    default="default",
    show_default=True,
    help="default; long: for a hundred epochs and more; or paper: as in 2012.",
)
@click.option(
    "--with", "changes", multiple=True, metavar="WHAT=VALUE", help="Of the recipe: dropout=0.3. Repeatable."
)
@click.option("--epochs", type=int, help="Times through the pictures.  [default: 20; long: 200; paper: 90]")
@click.option("--time-limit", type=Duration(), help="Such as 3m or 1h30m; the schedule follows the clock.")
@click.option(
    "--patience",
    type=int,
    help="Epochs without a better validation accuracy that end the run, once pictures have full size.",
)
@click.option("--batch-size", type=int, help="Pictures a step, over all processes.")
@click.option("--lr", type=float, help="Peak of the learning rate.")
@click.option(
    "--balance",
    type=click.Choice(["none", "weights", "sampling"]),
    help="Of uneven classes: rare ones weigh more in the loss, or are drawn more often.",
)
@click.option("--init", type=click.Path(path_type=Path), help="Weights to start from, of any classes.")
@click.option(
    "--freeze", metavar="LAYER", help="With --init: leave this layer and all before it as they are."
)
@device_option
@precision_option
@workers_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option("--classes", type=click.Path(path_type=Path), help="With shards: a class name a line.")
@click.option("--validation", help="With shards: a folder of class folders, or a CSV, to judge by.")
@click.option("--pictures", type=int, help="With shards: how many are an epoch.")
@click.option(
    "--most-unreadable",
    type=float,
    default=0.05,
    show_default=True,
    help="Share of pictures; more is an error.",
)
@click.option(
    "--checkpoint", type=Duration(), default="5m", show_default=True, help="Time between saves of the state."
)
@click.option("--resume", is_flag=True, help="Go on where the run in --output stopped, if there is one.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/DATA-1, -2, ...]"
)
def train(
    data: str,
    network: str | None,
    settings: tuple[str, ...],
    recipe_name: str,
    changes: tuple[str, ...],
    epochs: int | None,
    time_limit: float | None,
    patience: int | None,
    batch_size: int | None,
    lr: float | None,
    balance: str | None,
    init: Path | None,
    freeze: str | None,
    device: str,
    precision: str,
    workers: int,
    seed: int,
    classes: Path | None,
    validation: str | None,
    pictures: int | None,
    most_unreadable: float,
    checkpoint: float,
    resume: bool,
    output: Path | None,
) -> None:
    """Train on DATA: a folder of class folders (or of train/ and val/), a CSV, fashion-mnist, or digits.

    DATA may also be tar shards, such as 'photos-{000..099}.tar'. Several processes, or machines, train
    together where torchrun starts them.
    """
    from alexnet.architecture.network import edit
    from alexnet.architecture.summary import summarize
    from alexnet.architecture.zoo import get_network
    from alexnet.learning.weights_file import is_weights_file

    if resume and output is None:
        fail("--resume: needs --output, the folder of the run to go on with")
    if any(each.partition("=")[0].strip() == "classes" for each in settings):
        fail("--set classes: a network is trained with the classes that the pictures have; leave it out")
    if freeze is not None and init is None:
        fail(f"--freeze {freeze}: needs --init, weights that are worth keeping")
    # Weights that do not say of which network they are: torchvision's.
    theirs = init is not None and network is None and not is_weights_file(init)
    if not theirs:
        described = edit(get_network(network or (str(init) if init else "notes")), *settings)
        summarize(described)  # a network that breaks is told of before anything heavy is loaded
    from alexnet.images.datasets import open_dataset
    from alexnet.images.shards import is_shards
    from alexnet.learning import runs
    from alexnet.learning.processes import processes
    from alexnet.learning.recipe import LONG_RUN, get_recipe
    from alexnet.learning.report import write_report
    from alexnet.learning.shard_feed import open_stream
    from alexnet.learning.torchvision import open_weights
    from alexnet.learning.train import Transfer
    from alexnet.learning.train import train as train_network
    from alexnet.terminal import headline, training_progress

    for_shards = {"--classes": classes, "--validation": validation, "--pictures": pictures}
    named = {"batch_size": batch_size, "learning_rate": lr, "balance": balance}
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    recipe = get_recipe(recipe_name, *changes, *given)
    if recipe_name == "long" and epochs is None and time_limit is None:
        epochs = LONG_RUN
    transfer = None
    if init is not None:
        transfer = Transfer(weights=open_weights(init, on_fetch=note), source=str(init), frozen=freeze)
        if theirs:
            described = edit(transfer.weights.model.network, *settings)
            summarize(described)
    with processes() as together, training_progress() as tell:
        stream = None
        if is_shards(data):
            if validation is None or pictures is None:
                fail(f"{data}: shards; --validation and --pictures must be given, too")
            dataset, stream = open_stream(data, classes, validation, pictures)
        elif given_for_shards := [name for name, value in for_shards.items() if value is not None]:
            fail(f"{data}: no shards; {given_for_shards[0]} is for them only; leave it out")
        else:
            dataset = open_dataset(data, seed=seed, on_fetch=tell.note)
        for warning in dataset.warnings:
            if together.leads:
                tell.note(warning)
        history = train_network(
            described,
            dataset,
            output=output,
            recipe=recipe,
            epochs=epochs,
            time_limit=time_limit,
            patience=patience,
            transfer=transfer,
            stream=stream,
            resume=resume,
            checkpoint_seconds=checkpoint,
            most_unreadable=most_unreadable,
            device=device,
            precision=precision,
            workers=workers,
            seed=seed,
            processes=together,
            on_progress=tell if together.leads else lambda _: None,
            on_notice=tell.note if together.leads else lambda _: None,
        )
    if not together.leads:
        return
    if history.terminated:
        note(f"stopped; its state is saved: the same command with --resume --output {history.output} goes on")
        sys.exit(TERMINATED)
    best = history.output / runs.BEST
    if not best.exists():
        best = history.output / runs.LAST
    if history.best is not None:
        click.echo(f"validation: {headline(history.best)}")
    click.echo(f"weights: {best}")
    if history.best is not None:
        write_report(
            history,
            history.best,
            dataset.validation,
            title=f"{described.name} on {dataset.name}",
            recipe=asdict(history.settings.recipe),
            skipped=history.skipped,
            warnings=history.warnings,
        )
    if history.skipped:
        note(f"{len(history.skipped)} pictures could not be read: {history.output / runs.SKIPPED}")
    judged_by = shlex.quote(validation or data)
    if dataset.divided and dataset.test is None:
        judged_by += " --split validation"
    quoted = shlex.quote(str(best))
    note(f"next: alexnet evaluate {quoted} {judged_by}\n      alexnet predict {quoted} PHOTO...")
    if history.interrupted:
        note(f"interrupted: {history.output / runs.LAST} holds the weights of its last step")
        sys.exit(INTERRUPTED)

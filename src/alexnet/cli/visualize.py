"""`alexnet visualize`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from alexnet.cli.options import device_option, format_option, workers_option
from alexnet.cli.printing import note, show


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="The folder for what is seen."
)
@click.option("--label", metavar="CLASS", help="What the answer is explained for.  [default: the likeliest]")
@click.option("--layer", help="Where Grad-CAM looks.  [default: the ReLU behind the last convolution]")
@click.option("--data", metavar="FOLDER", help="Pictures, for pieces of them that excite the filters most.")
@click.option("--filters", type=int, default=48, show_default=True, help="With --data: of each layer.")
@device_option
@workers_option
@format_option
def visualize(
    weights: Path,
    image: Path,
    output: Path,
    label: str | None,
    layer: str | None,
    data: str | None,
    filters: int,
    device: str,
    workers: int,
    form: str,
) -> None:
    """Look into WEIGHTS while they look at IMAGE: what the answer rests on, kernels, every layer's maps."""
    from alexnet.inference.predict import Prediction
    from alexnet.inside.visualize import visualize as look_inside
    from alexnet.learning.torchvision import open_weights
    from alexnet.terminal import counting_progress, prediction_lines

    opened = open_weights(weights, on_fetch=note)
    with counting_progress(None, doing="looking at pictures") as tell:
        result = look_inside(
            opened,
            image,
            output=output,
            label=label,
            layer=layer,
            data=data,
            filters=filters,
            device=device,
            workers=workers,
            on_note=note,
            on_progress=tell,
        )
    if result.unreadable:
        note(f"{result.unreadable:,} pictures could not be read")
    if form == "json":
        told = asdict(result) | {"output": str(output), "image": str(image)}
        click.echo(json.dumps(told, indent=2))
        return
    for line in prediction_lines(
        [Prediction(path=str(image), labels=result.labels)], labels=len(result.labels)
    ):
        show(line)
    for name in result.files:
        show(str(output / name))

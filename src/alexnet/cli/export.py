"""`alexnet export`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from alexnet.cli.options import format_option, split_seed_option, workers_option
from alexnet.cli.printing import fail, note, show


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="FILE.onnx, or FILE.xml (and .bin).",
)
@click.option("--int8", is_flag=True, help="In 8 bits: a quarter of the size, the fastest.")
@click.option("--calibrate", metavar="DATA", help="With --int8: pictures to learn the values' ranges from.")
@click.option("--check", metavar="DATA", help="Pictures to prove it on.  [default: those of --calibrate]")
@click.option(
    "--most-lost",
    type=float,
    help="With --int8: share of the pictures that 8 bits may lose.  [default: 0.005]",
)
@workers_option
@split_seed_option
@format_option
def export(
    weights: Path,
    output: Path,
    int8: bool,
    calibrate: str | None,
    check: str | None,
    most_lost: float | None,
    workers: int,
    seed: int | None,
    form: str,
) -> None:
    """Write WEIGHTS as ONNX or OpenVINO's IR, and prove that it answers as torch does."""
    if int8 and calibrate is None:
        fail("--int8: needs --calibrate DATA, pictures such as the network was trained on")
    for name, value in (("--calibrate", calibrate), ("--most-lost", most_lost)):
        if value is not None and not int8:
            fail(f"{name}: is for --int8; give both")
    from alexnet.images.datasets import is_undivided
    from alexnet.inference.engines import read_weights
    from alexnet.inference.export import MOST_LOST
    from alexnet.inference.export import export as export_weights
    from alexnet.learning.runs import open_split_of_run
    from alexnet.terminal import agreement_table

    names = read_weights(weights, on_fetch=note)[0].class_names
    pictures = partial(open_split_of_run, weights, class_names=names, seed=seed)
    checked = check or calibrate
    apart = "validation" if checked is not None and is_undivided(checked) else None
    exported = export_weights(
        weights,
        output,
        calibration=pictures(calibrate, split="train") if calibrate is not None else None,
        check=pictures(checked, split=apart) if checked is not None else None,
        most_lost=MOST_LOST if most_lost is None else most_lost,
        workers=workers,
        on_progress=note,
    )
    if form == "json":
        click.echo(json.dumps(exported.to_dict(), indent=2))
        return
    show(agreement_table(exported.agreements))
    if exported.in_float:
        note(f"in float32, as 8 bits would cost too much there: {', '.join(exported.in_float)}")
    show(f"exported: {exported.path} ({exported.size / 2**20:.1f} MiB)")

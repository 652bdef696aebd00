"""`alexnet draw`."""

from __future__ import annotations

from pathlib import Path

import click

from alexnet.cli.options import settings_option
from alexnet.cli.printing import fail


@click.command()
@click.argument("network", default="notes")
@settings_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: standard output]",
)
def draw(network: str, settings: tuple[str, ...], output: Path | None) -> None:
    """Draw NETWORK as SVG, as papers do: volumes to scale, windows, towers.

    NETWORK is a name, a TOML file or a weights file.
    """
    from alexnet.architecture.diagram import diagram
    from alexnet.architecture.network import edit
    from alexnet.architecture.summary import MisfitError, Summary, summarize
    from alexnet.architecture.zoo import get_network
    from alexnet.writing import write_whole

    if output is not None and output.suffix.lower() not in (".svg", ""):
        fail(f"{output}: SVG is what is drawn; must end in .svg")

    def result(figures: Summary) -> None:
        if output is None:
            click.echo(diagram(figures), nl=False)
        else:
            write_whole(output, diagram(figures))

    try:
        figures = summarize(edit(get_network(network), *settings))
    except MisfitError as error:
        result(error.summary)
        raise
    result(figures)

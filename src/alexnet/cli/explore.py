"""`alexnet explore`."""

from __future__ import annotations

from pathlib import Path

import click

from alexnet.cli.options import LOOPBACK
from alexnet.cli.printing import note


@click.command()
@click.argument("weights", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WEIGHTS...")
@click.option(
    "--picture",
    "pictures",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file, folder or glob to begin with. Repeatable.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the page as files, instead, that open from a disk or any web host.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: any that is free.")
def explore(
    weights: tuple[Path, ...], pictures: tuple[Path, ...], output: Path | None, host: str, port: int
) -> None:
    """See the network of WEIGHTS, every layer's arithmetic, and what it makes of pictures, in a browser.

    Several WEIGHTS are compared. The name of a network, or a TOML file, shows it untrained.
    """
    from alexnet.explorer.explore import explore as explore_gallery
    from alexnet.explorer.explore import open_gallery
    from alexnet.explorer.site import write_site

    gallery = open_gallery(weights, pictures, on_fetch=note)
    if output is not None:
        if not pictures:
            note("no --picture: the page will show the network alone")
        files = write_site(gallery, output, on_progress=note)
        click.echo(f"{output / 'index.html'}, with {len(files) - 1} files of data")
        return
    if host not in LOOPBACK:
        note(f"{host}: whoever reaches this machine may see the weights, and ask")
    explore_gallery(gallery, host=host, port=port, on_listening=lambda address: note(f"open {address}"))

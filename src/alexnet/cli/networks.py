"""`alexnet networks`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from alexnet.cli.options import format_option


@click.command()
@click.option("--diff", nargs=2, metavar="A B", help="What differs between two of them, or two TOML files.")
@format_option
def networks(diff: tuple[str, str] | None, form: str) -> None:
    """List the networks that go by a name, a line each."""
    from alexnet.architecture import compare
    from alexnet.architecture.zoo import NETWORKS, get_network

    if diff is not None:
        first, second = map(get_network, diff)
        if form == "table":
            click.echo(compare.differences_text(first, second, names=diff), nl=False)
        else:
            click.echo(json.dumps([asdict(each) for each in compare.differences(first, second)], indent=2))
    elif form == "table":
        click.echo(compare.list_text(NETWORKS.values()), nl=False)
    else:
        click.echo(json.dumps([compare.line(network) for network in NETWORKS.values()], indent=2))

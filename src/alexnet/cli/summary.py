"""`alexnet summary`."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from alexnet.cli.options import settings_option
from alexnet.cli.printing import fail


@click.command()
@click.argument("network", default="notes")
@settings_option
@click.option("--input", "size", metavar="3x224x224", help="What a torch module takes, depth first.")
@click.option("--formulas", is_flag=True, help="Show the arithmetic of every figure.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "html", "csv", "json", "toml"]),
    default="table",
    show_default=True,
    help="toml: the network itself, to edit and read back.",
)
def summary(network: str, settings: tuple[str, ...], size: str | None, formulas: bool, form: str) -> None:
    """Show every figure of NETWORK: a name, a TOML file, a weights file, or package.module:Net of torch."""
    if ":" in network and not os.path.isfile(network):  # noqa: PTH113  # Path.is_file may raise
        refused = {"--set": settings, "--formulas": formulas, f"--format {form}": form in ("toml", "html")}
        module_summary(network, size, form, [option for option, given in refused.items() if given])
        return
    if size is not None:
        fail(f"--input {size}: is for torch modules; of the network '{network}' set it: --set input=224")
    from alexnet.architecture.network import edit, to_toml
    from alexnet.architecture.summary import MisfitError, summarize
    from alexnet.architecture.zoo import get_network

    edited = edit(get_network(network), *settings)
    if form == "toml":
        click.echo(to_toml(edited), nl=False)
        return
    try:
        figures = summarize(edited)
    except MisfitError as error:
        if form == "table":
            click.echo(error.summary.text(formulas=formulas))
        raise
    match form:
        case "table":
            click.echo(figures.text(formulas=formulas), nl=False)
        case "markdown":
            click.echo(figures.markdown(formulas=formulas), nl=False)
        case "html":
            click.echo(figures.html(formulas=formulas), nl=False)
        case "csv":
            click.echo(figures.csv(), nl=False)
        case _:
            click.echo(figures.json(), nl=False)


def module_summary(spec: str, size: str | None, form: str, refused: list[str]) -> None:
    """Print the figures of a torch module; its own prints go to stderr."""
    if refused or size is None:
        given = f"{refused[0]}: not for a torch module" if refused else "--input: not given"
        fail(f"{spec}: {given}; must be such as: alexnet summary {spec} --input 3x224x224")
    from alexnet.learning.module_loading import load_module, parse_input
    from alexnet.learning.modules import ModuleMisfitError, summarize_module

    try:
        with contextlib.redirect_stdout(sys.stderr):
            figures = summarize_module(load_module(spec), parse_input(size), name=spec)
    except ModuleMisfitError as error:
        if form == "table":
            click.echo(error.summary.text())
        raise
    forms = {"table": figures.text, "markdown": figures.markdown, "csv": figures.csv, "json": figures.json}
    click.echo(forms[form](), nl=False)

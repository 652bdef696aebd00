"""What commands print, and how they end."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from alexnet.writing import in_a_line

INTERRUPTED = 130  # what a shell gives for Ctrl-C
TERMINATED = 143  # and for SIGTERM


def fail(message: str) -> NoReturn:
    """Print one line on stderr and exit with 2."""
    click.echo(f"alexnet: {in_a_line(' '.join(message.split()))}", err=True)
    sys.exit(2)


def show(text: str) -> None:
    """Print a result. A file's name may be of any script: what cannot be printed is shown as \\udcff."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # there is no stdout where it was closed
    # color: click would leave out what steers a terminal, also of the names in a CSV.
    click.echo(text.encode(encoding, errors="backslashreplace").decode(encoding), color=True)


def note(message: str) -> None:
    """Print to stderr: what is said about a result, not the result."""
    click.echo("\n".join(map(in_a_line, message.split("\n"))), err=True)

"""`alexnet audit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from alexnet.cli.options import format_option
from alexnet.cli.printing import fail


@click.command()
@click.argument("claims", type=click.Path(path_type=Path))
@click.option("--network", help="The one they are about; alexnet: any of the AlexNets.")
@click.option("--all", "everything", is_flag=True, help="Show the claims that are right, too.")
@format_option
def audit(claims: Path, network: str | None, everything: bool, form: str) -> None:
    """Check the figures of CLAIMS, a TOML, Markdown or CSV table: exit 1 where errors are found.

    CLAIMS may be notes, the lecture notes' own.
    """
    from alexnet.architecture.audit import audit as audit_claims
    from alexnet.architecture.claim_files import read_claims

    findings = audit_claims(read_claims(claims), network)
    if not findings.findings:
        fail(f"{claims}: no claims; must have a figure of a layer at least; look into the file")
    if form == "table":
        click.echo(findings.text(everything=everything), nl=False)
    else:
        click.echo(json.dumps(findings.to_dict(), indent=2, ensure_ascii=False))
    if findings.errors:
        sys.exit(1)

"""`alexnet serve`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from alexnet.cli.options import LOOPBACK, device_option, engine_option, precision_option
from alexnet.cli.printing import note
from alexnet.server.limits import Limits, option_name


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each of the server's limits."""
    for each in reversed(fields(Limits)):
        command = click.option(
            f"--{option_name(each)}",
            type=type(each.default),
            default=each.default,
            show_default=True,
            help=each.metadata["help"],
        )(command)
    return command


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: whoever reaches this machine.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: one that is free.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="A key that clients must send.  [default: $ALEXNET_API_KEY, if set]",
)
@click.option("--processes", type=int, default=1, show_default=True, help="That share the port.")
@engine_option
@device_option
@precision_option
@limit_options
def serve(
    weights: Path,
    host: str,
    port: int,
    api_key_file: Path | None,
    processes: int,
    engine: str,
    device: str,
    precision: str,
    **limits: Any,
) -> None:
    """Answer for WEIGHTS over HTTP; http://HOST:PORT/ shows how to ask.

    SIGTERM finishes what was begun.
    """
    from alexnet.server.serving import read_api_key
    from alexnet.server.serving import serve as serve_weights

    api_key = read_api_key(api_key_file, os.environ)

    def tell_address(address: str) -> None:
        if api_key is None and host not in LOOPBACK:
            note(f"{host}: whoever reaches this machine may ask; --api-key-file makes them send a key")
        note(f"serving {weights} at {address}")

    serve_weights(
        weights,
        host=host,
        port=port,
        limits=Limits(**limits),
        api_key=api_key,
        processes=processes,
        engine=engine,
        device=device,
        precision=precision,
        on_note=note,
        on_listening=tell_address,
    )

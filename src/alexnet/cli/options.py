"""Options that several commands have."""

from __future__ import annotations

import re
from functools import partial

import click

LOOPBACK = ("127.0.0.1", "::1", "localhost")  # hosts that only this machine reaches


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in click's newest release only
    """90, 90s, 3m, 1h30m: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, as a float."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text)
        if parts is None or not any(parts.groups()):
            self.fail(f"{value!r} is no duration; write 90s, 3m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds


device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
precision_option = click.option(
    "--precision",
    default="auto",
    show_default=True,
    help="auto, bf16 or fp32; auto is bf16 where the device computes in it natively.",
)
engine_option = click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="torch, onnxruntime, openvino, or auto: the fastest here, measured once.",
)
split_seed_option = click.option(
    "--seed", type=int, help="The training's, where it split the folder.  [default: the run's, else 0]"
)
timed_network_option = click.option(
    "--network", default="notes", show_default=True, help="A name, a TOML file or a weights file."
)
workers_option = click.option(
    "--workers", type=int, default=2, show_default=True, help="Threads that decode pictures."
)
_set = partial(click.option, "--set", "settings", multiple=True, metavar="WHAT=VALUE")
settings_option = _set(help="What if: pool1.stride=4, input=224, classes=10. Repeatable.")
trained_settings_option = _set(help="Another network: pool1.stride=4, input=224. Repeatable.")
format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)

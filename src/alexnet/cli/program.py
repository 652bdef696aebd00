"""The program: its commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from traceback import walk_tb
from typing import Any

import click

from alexnet import __version__
from alexnet.cli.audit import audit
from alexnet.cli.benchmark import benchmark
from alexnet.cli.demo import demo
from alexnet.cli.draw import draw
from alexnet.cli.evaluate import evaluate
from alexnet.cli.explore import explore
from alexnet.cli.export import export
from alexnet.cli.networks import networks
from alexnet.cli.predict import predict
from alexnet.cli.printing import INTERRUPTED, fail, note
from alexnet.cli.serve import serve
from alexnet.cli.summary import summary
from alexnet.cli.train import train
from alexnet.cli.visualize import visualize
from alexnet.errors import AlexNetError, MissingExtraError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXTRAS = {"torch": "train", "numpy": "train", "PIL": "train", "safetensors": "train", "matplotlib": "train"}
EXTRAS |= {"onnx": "deploy", "onnxruntime": "deploy", "openvino": "deploy"}
EXTRAS |= {"fastapi": "serve", "uvicorn": "serve", "python_multipart": "serve", "prometheus_client": "serve"}
EXTRAS |= {"captum": "inside"}


class OneLineErrors(click.Group):
    """A group whose commands end in one line and exit code 2 where the input was wrong."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as a program: click's own errors become one line too."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            code: Any = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            fail(error.format_message())
        except click.Abort:
            note("alexnet: interrupted")
            sys.exit(INTERRUPTED)
        except OSError as error:
            if not _was_printing(error):
                raise
            # What is still to be flushed at exit would fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            fail(f"standard output: cannot be written: {error.strerror}")
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an AlexNetError becomes one line."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            if missing.name not in EXTRAS:
                raise
            fail(str(MissingExtraError(missing.name, EXTRAS[missing.name])))
        except AlexNetError as error:
            if ctx.params.get("debug"):
                raise
            fail(str(error))
        except OSError as error:
            if ctx.params.get("debug") or _was_printing(error):
                raise
            if error.filename is None:
                fail(f"{error.strerror or error}; run `alexnet --debug ...` to see where")
            fail(f"{error.filename}: {error.strerror}; check the path and who may read and write there")
        except KeyboardInterrupt:
            raise click.Abort from None


def _was_printing(error: OSError) -> bool:
    """Whether it came of click's echo, with which all results are printed."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == "click.utils"


@click.group(cls=OneLineErrors, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="alexnet")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:  # read from the context by OneLineErrors
    """AlexNet from one description: every figure explained, trained on your pictures."""


for command in (
    *(summary, draw, networks, audit),
    *(train, evaluate, predict, visualize, export),
    *(serve, explore, benchmark, demo),
):
    app.add_command(command)

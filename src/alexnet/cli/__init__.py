"""The command line: parse, import the verb when it runs, call, print. No logic."""

from alexnet.cli.program import app

__all__ = ["app"]

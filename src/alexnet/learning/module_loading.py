"""From a command line's "package.module:attribute" and "3x224x224" to a torch module and its input."""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import reduce

from torch import nn

from alexnet.architecture.network import Shape
from alexnet.errors import NetworkError
from alexnet.learning.modules import one_line


def load_module(spec: str) -> nn.Module:
    """The torch module that "package.module:attribute" names, the working folder's modules included.

    The attribute is a module, or a class or function that makes one without arguments. Importing and making
    it runs its code. Raises NetworkError, in a line, where anything of that fails.
    """
    match = re.fullmatch(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)", spec)
    if match is None:
        raise NetworkError(
            f"{spec}: no such file, and not package.module:attribute; write such as mynets:Net"
        )
    folder = os.getcwd()  # noqa: PTH109  # sys.path holds texts
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as python -m does; it stays, as a module may import while it runs
    try:
        found = reduce(getattr, match[2].split("."), importlib.import_module(match[1]))
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{spec}: cannot be imported: {one_line(error)}; mend it or check the name"
        ) from error
    if not isinstance(found, nn.Module) and callable(found):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise NetworkError(
                f"{spec}: calling it without arguments failed: {one_line(error)}; name a module, or a "
                "class or function that makes one without arguments"
            ) from error
    if not isinstance(found, nn.Module):
        raise NetworkError(
            f"{spec}: gives {type(found).__name__}; must be a torch.nn.Module, or a class or function that "
            "makes one"
        )
    return found


def parse_input(text: str) -> Shape:
    """The input that a command line gives, as (height, width, depth).

    Depth comes first, as torch has it, unless of three sizes the last is a picture's depth (1 to 4) and
    neither of the others is.

    >>> parse_input("3x224x320"), parse_input("224x320x3"), parse_input("100x1x1")
    ((224, 320, 3), (224, 320, 3), (1, 1, 100))

    Raises NetworkError for anything else.
    """
    parts = text.lower().split("x")
    if len(parts) == 4 and parts[0] == "1":
        raise NetworkError(f"--input {text}: has a batch; must be of one picture; write {text[2:]}")
    if not all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) for part in parts):
        raise NetworkError(f"--input {text}: must be sizes such as 3x224x224, depth x height x width")
    first, *rest = (int(part) for part in parts)
    if len(rest) == 2 and min(first, rest[0]) > 4 >= rest[-1]:
        return (first, *rest)
    return (*rest, first)

"""Imports point one way; what must start fast loads nothing heavy; each guard is shown to be able to fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import alexnet
from alexnet import errors
from alexnet.learning.modules import ModuleMisfitError
from alexnet.server.batching import BusyError

PACKAGE = Path(alexnet.__file__).parent
Start = tuple[list[str], dict[str, str]]

# A room may import those before it, and itself. `alexnet` is __init__.py: the standard-library names.
ORDER = [
    ("errors",),
    ("writing",),
    ("architecture",),
    ("alexnet",),
    ("images",),
    ("learning",),
    ("inside",),
    ("inference",),
    ("server",),
    ("explorer",),
    ("demo", "terminal"),
    ("cli",),
    ("__main__",),
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

PICTURES = {"numpy", "PIL"}
# What a room may import besides the standard library and this package.
THIRD_PARTY: dict[str, set[str]] = {
    "errors": set(),
    "writing": set(),
    "architecture": set(),
    "alexnet": set(),
    "images": PICTURES | {"sklearn", "webdataset"},
    "learning": PICTURES | {"torch", "safetensors", "matplotlib", "tensorboardX"},
    "inside": PICTURES | {"torch", "captum", "matplotlib"},
    "inference": PICTURES | {"torch", "onnx", "onnxruntime", "openvino", "ray"},
    "server": PICTURES
    | {"fastapi", "python_multipart", "starlette", "pydantic", "uvicorn", "h11", "prometheus_client"},
    "explorer": PICTURES | {"torch", "fastapi", "starlette"},
    "demo": PICTURES,
    "terminal": PICTURES | {"rich"},
    "cli": {"click"},
    "__main__": set(),
}


def room_of(module: str) -> str:
    """alexnet.images.decode is in the room images; alexnet itself is a room of its own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "alexnet"


def imported(source: str, *, package: str) -> Iterator[str]:
    """Every module that a file's text imports, in functions and under TYPE_CHECKING as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*inside, *([node.module] if node.module else [])])
            # "from alexnet import errors" imports a room, "from alexnet import Conv" what __init__.py has.
            yield from (f"{module}.{alias.name}" if module == "alexnet" else module for alias in node.names)


def faults(room: str, source: str, *, package: str = "alexnet") -> list[str]:
    """What a file of that room imports and may not."""
    found = []
    for module in imported(source, package=package):
        top = module.split(".")[0]
        if top == "alexnet":
            if RANK[room_of(module)] > RANK[room] or (
                RANK[room_of(module)] == RANK[room] and room_of(module) != room
            ):
                found.append(module)
        elif top not in sys.stdlib_module_names and top not in THIRD_PARTY[room]:
            found.append(module)
    return found


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", package_files(), ids=relative)
def test_imports_point_down_the_list_only(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = "alexnet" if parts == ("__init__",) else parts[0]
    package = ".".join(["alexnet", *parts[:-1]])
    assert room in RANK, f"{relative(path)}: a new room; give it its place in ORDER"
    assert faults(room, path.read_text(encoding="utf-8"), package=package) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("architecture", "import numpy"),
        ("architecture", "def f():\n    import numpy.linalg"),
        ("architecture", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("architecture", "from alexnet.images.views import View"),
        ("architecture", "from alexnet import learning"),
        ("architecture", "from ..images import views"),
        ("architecture", "import alexnet"),
        ("images", "def f():\n    from torch import Tensor"),
        ("images", "import alexnet.learning.train"),
        ("learning", "import click"),
        ("learning", "from alexnet.inference.predict import predict"),
        ("inside", "from alexnet.inference.predict import predict"),
        ("terminal", "import click"),
        ("terminal", "from alexnet.cli import app"),
        ("demo", "from alexnet.terminal import duration"),
        ("errors", "from alexnet.writing import write_whole"),
        ("cli", "import torch"),
    ],
)
def test_the_guard_of_imports_can_fail(room: str, source: str) -> None:
    assert faults(room, source, package=f"alexnet.{room}")


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("learning", "import torch\nfrom alexnet.images import views\nimport alexnet\nimport json"),
        ("images", "from alexnet.images.decode import decode\nfrom .views import View"),
        ("terminal", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import alexnet.learning.runs"),
        ("cli", "import click\nfrom alexnet import __version__"),
    ],
)
def test_the_guard_of_imports_lets_pass_what_points_down(room: str, source: str) -> None:
    assert faults(room, source, package=f"alexnet.{room}") == []


HEAVY = ("torch", "numpy", "PIL", "rich", "matplotlib", "sklearn", "safetensors")


def heavy_after(statement: str, start: Start) -> list[str]:
    """Which heavy packages a new Python has loaded after the statement."""
    command, environment = start
    told = f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    script = f"import sys\n{statement}\n{told}"
    done = subprocess.run([*command, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(ast.literal_eval(done.stderr.splitlines()[-1]))


RUN = "from alexnet.cli import app\napp({!r}, prog_name='alexnet', standalone_mode=False)"


@pytest.mark.parametrize(
    "statement",
    [
        "import alexnet",
        RUN.format(["--help"]),
        RUN.format(["train", "--help"]),
        RUN.format(["summary"]),
        RUN.format(["summary", "notes", "--format", "json", "--set", "classes=10"]),
        RUN.format(["draw", "paper"]),
    ],
    ids=["import", "--help", "train --help", "summary", "summary json", "draw"],
)
def test_what_must_start_fast_loads_nothing_heavy(statement: str, python: Start) -> None:
    assert heavy_after(statement, python) == []


def test_the_guard_of_a_fast_start_can_fail(python: Start) -> None:
    assert heavy_after("import alexnet.images.views", python) == ["numpy", "PIL"]


def test_looking_inside_loads_captum_only_when_asked(python: Start) -> None:
    command, environment = python
    rooms = ", ".join(f"alexnet.inside.{path.stem}" for path in (PACKAGE / "inside").glob("[!_]*.py"))
    script = f"import sys\nimport {rooms}\nassert 'captum' not in sys.modules"
    done = subprocess.run([*command, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_does_nothing_but_define(python: Start, tmp_path: Path) -> None:
    command, environment = python
    imports = "import alexnet, alexnet.cli, alexnet.terminal"
    script = f"import os\nbefore = dict(os.environ)\n{imports}\nassert before == os.environ"
    done = subprocess.run(
        [*command, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_exported_names_are_the_public_names() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir()} | {"annotations"}
    public = {name for name in vars(alexnet) if not name.startswith("_")} - rooms
    assert set(alexnet.__all__) == public
    assert len(alexnet.__all__) == len(set(alexnet.__all__))


@pytest.mark.parametrize("name", [name for name in alexnet.__all__ if name not in ("NETWORKS", "Layer")])
def test_every_exported_name_says_what_it_is(name: str) -> None:
    value = getattr(alexnet, name)
    text = value.__doc__
    assert text
    assert text.strip()[0].isupper() or text.strip()[0].isdigit()
    # A dataclass without a docstring is given its signature for one.
    assert not text.startswith(f"{name}(")


def drawn() -> dict[str, str]:
    """The tree at the head of errors.py: each class and the one it hangs from."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([\s│├└─]*)(\w+Error)  ", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        above = [each for each in above if each[0] < depth]
        parents[name] = above[-1][1] if above else "Exception"
        above.append((depth, name))
    return parents


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    elsewhere = [alexnet.MisfitError, ModuleMisfitError, BusyError]
    tree = {each.__name__: each.__bases__[0].__name__ for each in [*classes, *elsewhere]}
    assert drawn() == tree


def test_every_error_of_the_package_is_of_the_tree() -> None:
    for path in package_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                assert node.name in drawn(), f"{relative(path)}: {node.name}"

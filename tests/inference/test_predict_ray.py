"""predict --ray on a cluster of this machine: the same lines in the same order as without."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet.cli import app

pytestmark = pytest.mark.slow
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: pip install 'alexnet[ray]'"
)
USAGE = """
from alexnet.inference.predict_ray import _ray
_ray()
from ray._common.usage import usage_lib
print(usage_lib.usage_stats_enabled())
"""


def predicted(*arguments: str | Path, environment: dict[str, str]) -> list[list[str]]:
    command = [sys.executable, "-m", "alexnet", "predict", *map(str, arguments), "--format", "csv"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "1 picture could not be read"  # after what Ray says
    return list(csv.reader(done.stdout.splitlines()))


@needs_ray
def test_the_lines_are_those_of_one_process(
    weights_file: Path, coloured: Path, tmp_path: Path, python: tuple[list[str], dict[str, str]]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("none")
    asked = (weights_file, coloured, broken, "--engine", "torch")
    plain, spread = (predicted(*asked, *more, environment=python[1]) for more in ((), ("--ray",)))
    assert len(plain) == len(spread) == 1 + 24 + 1
    for one, other in zip(plain, spread, strict=True):
        assert [cell for cell in one if not is_number(cell)] == [
            cell for cell in other if not is_number(cell)
        ]
        numbers = [[float(cell) for cell in line if is_number(cell)] for line in (one, other)]
        assert numbers[1] == pytest.approx(numbers[0], abs=1e-3)


@needs_ray
def test_an_exported_file_travels_with_what_lies_beside_it(
    weights_file: Path, coloured: Path, tmp_path: Path, python: tuple[list[str], dict[str, str]]
) -> None:
    model = tmp_path / "model.xml"
    done = CliRunner().invoke(app, ["export", str(weights_file), "-o", str(model)])
    assert done.exit_code == 0, done.output
    broken = tmp_path / "broken.png"
    broken.write_text("none")
    plain, spread = (
        predicted(model, coloured, broken, *more, environment=python[1]) for more in ((), ("--ray",))
    )
    assert [line[:2] for line in spread] == [line[:2] for line in plain]  # the path and the likeliest label


def is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


@needs_ray
def test_ray_is_told_not_to_report_its_use() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    told = subprocess.run(
        [sys.executable, "-c", USAGE], env=environment, capture_output=True, text=True, timeout=120
    )
    assert told.stdout.strip() == "False", told.stderr


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_extra_is_named(weights_file: Path, coloured: Path) -> None:
    asked = ["predict", str(weights_file), str(coloured), "--ray"]
    result = CliRunner().invoke(app, asked, prog_name="alexnet")
    assert result.exit_code == 2
    assert "alexnet[ray]" in result.stderr
    assert len(result.stderr.splitlines()) == 1

"""Cores: those that the process may run on, as the system's own command counts them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

CODE = "from alexnet.images.cores import available_cores; print(available_cores())"


@pytest.mark.skipif(shutil.which("taskset") is None, reason="util-linux's taskset is not installed")
def test_a_process_bound_to_one_core_has_one(python: tuple[list[str], dict[str, str]]) -> None:
    command, environment = python
    done = subprocess.run(
        ["taskset", "--cpu-list", "0", *command, "-c", CODE], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr


@pytest.mark.skipif(shutil.which("nproc") is None or sys.platform != "linux", reason="no nproc")
def test_there_are_as_many_as_nproc_says(python: tuple[list[str], dict[str, str]]) -> None:
    command, environment = python
    environment = {name: value for name, value in environment.items() if not name.startswith("OMP_")}
    told = subprocess.run(["nproc"], env=environment, capture_output=True, text=True).stdout
    done = subprocess.run([*command, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.stdout == told, done.stderr

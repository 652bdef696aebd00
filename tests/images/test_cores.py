"""Cores: those that the process may run on, as the system's own command counts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet.images.cores import quota_of

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


# What the files of control groups hold: Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.


def group_files(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"cpu.{name}").write_text(text)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("5000 100000\n", 1),
        ("max 100000\n", None),
        ("", None),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, limit: str, cores: int | None) -> None:
    group_files(tmp_path, max=limit)
    assert quota_of("0::/\n", tmp_path) == cores


def test_the_smallest_quota_of_all_groups_around_counts(tmp_path: Path) -> None:
    group_files(tmp_path / "user.slice", max="300000 100000\n")
    group_files(tmp_path / "user.slice/a b.scope", max="max 100000\n")
    assert quota_of("0::/user.slice/a b.scope\n", tmp_path) == 3


def test_the_quota_of_the_first_version(tmp_path: Path) -> None:
    group_files(tmp_path / "cpu,cpuacct", cfs_quota_us="-1\n", cfs_period_us="100000\n")
    groups = "4:memory:/docker/8f\n3:cpu,cpuacct:/docker/8f\n0::/docker/8f\n"
    assert quota_of(groups, tmp_path) is None
    group_files(tmp_path / "cpu,cpuacct", cfs_quota_us="400000\n")
    assert quota_of(groups, tmp_path) == 4


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A control group of this machine with half a core, whose file takes the processes."""
    first, name, period = Path("/sys/fs/cgroup/cpu"), f"alexnet-test-{os.getpid()}", "100000"
    group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / name
    try:
        group.mkdir()
        if first.is_dir():
            (group / "cpu.cfs_period_us").write_text(period)
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            (group / "cpu.max").write_text(f"50000 {period}")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield group / "cgroup.procs"
    group.rmdir()


def test_what_uses_the_processor_keeps_to_the_quota(
    half_a_core: Path, python: tuple[list[str], dict[str, str]]
) -> None:
    code = """
import os, sys
from pathlib import Path
Path(sys.argv[1]).write_text(str(os.getpid()))
from alexnet.images.cores import available_cores
import torch
from alexnet.learning.devices import prepare
torch.set_num_threads(2)
prepare(torch.device("cpu"))
print(available_cores(), torch.get_num_threads())
"""
    command, environment = python
    done = subprocess.run(
        [*command, "-c", code, str(half_a_core)], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "1 1\n", done.stderr

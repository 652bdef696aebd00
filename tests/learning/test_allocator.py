"""What keeping freed memory changes: how much the system counts as given back."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.learning.allocator import keep_freed_memory

# Resident memory before, with and after 64 MB that are allocated by the C library and freed again.
MEASURE = """
import ctypes, sys
from alexnet.learning.allocator import keep_freed_memory

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident()
block = libc.malloc(64 << 20)
ctypes.memset(block, 1, 64 << 20)
libc.free(block)
print(resident() - before)
"""

on_glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's allocator only"
)


def megabytes_kept(how: str) -> int:
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-c", MEASURE, how]
    return int(
        subprocess.run(command, env={"PYTHONPATH": str(source)}, capture_output=True, check=True).stdout
    )


@on_glibc
def test_freed_memory_stays_with_the_process() -> None:
    assert megabytes_kept("keep") >= 60


@on_glibc
def test_without_it_freed_memory_is_given_back() -> None:
    assert megabytes_kept("give back") <= 8


def test_where_the_c_library_is_another_one_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False

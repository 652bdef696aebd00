"""The C library's memory allocator, told to keep what a training step frees for the next one."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters and our values (glibc: malloc.h, mallopt(3)).
_SETTINGS = (
    (-4, 0),  # M_MMAP_MAX: no block gets a mapping of its own, which freeing would give back
    (-1, -1),  # M_TRIM_THRESHOLD: the heap's end is never given back either
    (-2, 1 << 28),  # M_TOP_PAD: the heap grows by 256 MiB at a time
)


def keep_freed_memory() -> bool:
    """Have this process keep freed memory; whether the C library could be told so.

    A step frees and allocates the same few hundred MB of activations. By default glibc hands each large
    block back to the system, which then zeroes it page by page for the next step. For the rest of its life
    the process keeps its peak memory. Elsewhere than on glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library than glibc
        return False
    return all(mallopt(parameter, value) for parameter, value in _SETTINGS)

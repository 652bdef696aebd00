"""How many processor cores there are for this process."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores that this process may use: fewer than it sees where it is bound to some, or has a quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, core_quota() or bound)


def threads_within_quota(threads: int | None) -> int | None:
    """What to tell a library that takes a thread for each core it sees, however few it may use.

    That is `threads`, or those of a quota; None where there is neither.
    """
    return available_cores() if threads is None and core_quota() is not None else threads


def core_quota() -> int | None:
    """Cores whose time a control group leaves this process, rounded up; None where there is no such limit.

    That is how containers (`docker run --cpus 2`), Kubernetes and systemd hold a process to a share of a
    large machine. It sees all cores then, and threads that were made for all of them wait for each other.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_*).
    """
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return None
    return quota_of(groups, _GROUPS)


def quota_of(groups: str, mounted: Path) -> int | None:
    """`core_quota` of a process in `groups`, as /proc/PID/cgroup lists them, whose files are in `mounted`.

    A group has no more than the groups that it is in. In a container, those of the host are out of sight, and
    what the list calls a group may lie at the top.
    """
    quotas = []
    for line in groups.splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0":  # version 2
            top, files = mounted, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            top, files = mounted / controllers, ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        for each in (path, *path.parents):
            quotas += _quota(*(top / each / name for name in files))
    return min(quotas, default=None)


def _quota(*files: Path) -> list[int]:
    """Of one group: [] where it has none; "max" or -1 stand for none."""
    try:
        quota, period = map(float, " ".join(each.read_text(encoding="ascii") for each in files).split())
    except (OSError, ValueError):
        return []
    return [ceil(quota / period)] if quota > 0 and period > 0 else []

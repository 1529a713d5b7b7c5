"""How many compute threads suit this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def default_threads() -> int:
    """Physical cores that this process may use: its CPU affinity, sibling hyper-threads counted once, and no
    more than a container's CPU quota. At least 1."""
    cpus = _allowed_cpus()
    count = len({_siblings(cpu) for cpu in cpus}) if cpus else os.cpu_count() or 1
    return max(1, min(count, _quota() or count))


def _allowed_cpus() -> set[int]:
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set()


def _siblings(cpu: int) -> str:
    """The hyper-threads of the core that ``cpu`` belongs to, as the kernel lists them; itself where it does
    not tell."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _quota() -> int | None:
    """CPUs that a container (cgroup v2) may use at once, rounded up; None without a limit."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return None if quota == "max" else max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        return None

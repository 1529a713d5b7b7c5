"""What a stage costs: wall time and peak resident memory.

Layer 1: standard library only. Linux lets a process reset its own peak (``/proc/self/clear_refs``), so there
each stage has a peak of its own; elsewhere the peak is that of the process so far, and later stages inherit
it.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgefoley.types import Stage

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
# Of both versions: where the groups' folders are, and their files of limit and charge.
_GROUP_FILES = {
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("", "memory.max", "memory.current"),
}
_M_MMAP_THRESHOLD = -3  # mallopt(3)
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): set the peak to the present resident size; touches no page flags


def reset_peak_rss() -> bool:
    """Start a new peak measurement. False where the system does not allow it (the old peak then stays)."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def peak_rss_mb() -> float:
    """Peak resident memory in 10^6 bytes since the last reset (or the process' start); NaN where nobody
    tells."""
    if sys.platform == "win32":
        return _windows_peak_mb()
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    import resource  # POSIX only, so not at the top

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def available_bytes() -> int | None:
    """Memory that this process can have, what it has already included: what the system, a container or
    another control group leaves it. None where nobody tells."""
    try:
        left = [_field(_MEMINFO, "MemAvailable:"), *_left_by_groups()]
        return max(0, min(left)) + _field(_STATUS, "VmRSS:")
    except (OSError, ValueError):
        return None


def _left_by_groups() -> Iterator[int]:
    """What each control group that this process is in has left; pages of files are given up when memory is
    wanted. Inside a container the path of the group may be that of the host: then its root is the group."""
    for line in _GROUP.read_text(encoding="ascii").splitlines() if _GROUP.exists() else ():
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        place, limit_name, used_name = _GROUP_FILES[1 if kinds else 2]
        top = _GROUPS / place
        here = top / path.lstrip("/")
        for folder in (here, *here.parents):
            if (folder / limit_name).is_file() and folder.is_relative_to(top):
                limit = (folder / limit_name).read_text(encoding="ascii").strip()
                if limit != "max":
                    used = int((folder / used_name).read_text(encoding="ascii"))
                    yield int(limit) - used + _field(folder / "memory.stat", "inactive_file", 1)


def _field(path: Path, name: str, unit: int = 1024) -> int:
    """The number after ``name`` in a file of one such pair per line, in bytes."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.split()[:1] == [name]:
            return int(line.split()[1]) * unit
    raise ValueError(f"{path} has no {name}")


def hold_little() -> None:
    """Have the C library (glibc) take every block of 1 MiB or more from the system and return it when it is
    freed, instead of keeping it among small ones. The peak of a network's run is then that of its living
    values: 107 MB of values took 460 MB before and 130 MB since, at the same speed."""
    if sys.platform == "linux":
        tune = getattr(ctypes.CDLL(None), "mallopt", None)
        if tune is not None:
            tune(_M_MMAP_THRESHOLD, 1 << 20)


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it for later (glibc): after a large
    network was closed up to half of its size."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _windows_peak_mb() -> float:
    class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS of psapi.h
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("rest", ctypes.c_size_t * 7),
        )

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    query = kernel.K32GetProcessMemoryInfo
    query.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    if not query(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        return math.nan
    return float(counters.PeakWorkingSetSize) / 1e6


class Stopwatch:
    """Measures stages one after the other: ``with watch.stage("encode"): ...``; then ``watch.stages``."""

    def __init__(self) -> None:
        self.stages: tuple[Stage, ...] = ()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block and append it to ``stages`` (also when it raises)."""
        reset_peak_rss()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages += (Stage(name, time.perf_counter() - start, peak_rss_mb()),)


def most_living(made: Iterable[Iterable[str]], sizes: Mapping[str, int], last: Mapping[str, int]) -> int:
    """Largest sum of ``sizes`` (bytes) that live at once while nodes run in order: ``made``, the names that
    each node puts out, live until node number ``last`` has read them; names without a size do not count."""
    living = peak = 0
    leaving: dict[int, int] = {}
    for index, names in enumerate(made):
        for name in names:
            if name in sizes:
                living += sizes[name]
                leaving[last[name]] = leaving.get(last[name], 0) + sizes[name]
        peak = max(peak, living)
        living -= leaving.get(index, 0)
    return peak

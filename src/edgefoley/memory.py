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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgefoley.types import Stage

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
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

"""What this computer is: processor, its features, cores and memory.

Layer 3: ``edgefoley doctor``, the benchmark and the advice look here.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from edgefoley.backends.processor import processor, sysctl, system_file

# What speeds up inference: the kernel's names, on x86 and ARM.
FEATURES = (
    "sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """``features``: those of ``FEATURES`` that the processor has, None where the system does not tell;
    ``cores``: logical ones that this process may use; ``memory_mb`` and ``available_mb`` (10^6 bytes), None
    where unknown."""

    system: str
    processor: str
    features: tuple[str, ...] | None
    cores: int
    memory_mb: float | None
    available_mb: float | None


def this_machine() -> Machine:
    """Look at the computer; never raises."""
    model, flags = processor()
    memory, available = _memory()
    return Machine(
        system=f"{platform.platform()}, Python {platform.python_version()}",
        processor=model or platform.processor() or platform.machine(),
        features=None if flags is None else tuple(name for name in FEATURES if name in flags),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_mb=memory,
        available_mb=available,
    )


def _memory() -> tuple[float | None, float | None]:
    if sys.platform == "linux":
        sizes = {}
        for line in system_file("/proc/meminfo").splitlines():
            name, _, value = line.partition(":")
            if value.strip().endswith("kB"):
                sizes[name] = int(value.split()[0]) * 1024 / 1e6
        return sizes.get("MemTotal"), sizes.get("MemAvailable")
    if sys.platform == "darwin":
        size = sysctl("-n", "hw.memsize").strip()
        return (int(size) / 1e6 if size.isdigit() else None), None
    return None, None

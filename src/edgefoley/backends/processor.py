"""What the processor is and can do, as the system tells it; never raises."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

_X86 = ("x86_64", "amd64")


def processor() -> tuple[str | None, set[str] | None]:
    """Model name and feature flags (the Linux kernel's names); None for what the system does not tell."""
    if sys.platform == "linux":
        return parse_cpuinfo(system_file("/proc/cpuinfo"))
    if sys.platform == "darwin":
        known = sysctl("-a")
        flags = set()
        for line in known.splitlines():
            name, _, value = line.partition(":")
            if name in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
                flags |= {flag.lower().replace(".", "_") for flag in value.split()}
            elif name.startswith("hw.optional.") and value.strip() == "1":
                short = name.rpartition(".")[2].lower()
                flags |= {
                    {"feat_dotprod": "asimddp", "neon": "asimd"}.get(short, short.removeprefix("feat_"))
                }
        return sysctl("-n", "machdep.cpu.brand_string").strip() or None, flags if known else None
    return None, None


def parse_cpuinfo(text: str) -> tuple[str | None, set[str] | None]:
    """Model name and feature flags of the first processor in /proc/cpuinfo; None for what it lacks."""
    model, flags = None, None
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name in ("model name", "Model") and model is None:
            model = value
        if name in ("flags", "Features") and flags is None:
            flags = set(value.split())
    return model, flags


def sums_of_16_bits() -> bool:
    """Whether products of uint8 and int8 are added in pairs in 16 bits here, which numbers of all 8 bits
    overflow: x86 without VNNI (Intel before Ice Lake, AMD before Zen 4). False where the system does not tell
    what the processor has."""
    flags = processor()[1] if platform.machine().lower() in _X86 else None
    return flags is not None and not has_vnni(flags)


def has_vnni(flags: Collection[str]) -> bool:
    """Whether an x86 processor adds products of 8 bits in 32 bits: as part of AVX-512 or of AVX."""
    return any("vnni" in flag for flag in flags)


def system_file(path: str) -> str:
    """Text of a file that the kernel keeps; "" where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def sysctl(*arguments: str) -> str:
    """What the command of that name prints; "" where it fails."""
    try:
        return subprocess.run(
            ["sysctl", *arguments], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""

"""The machine on which something was measured, as far as it tells: what a figure is worth depends on it.

Standard library only; every part reads files of the system below ``root``, so that it can be tested
elsewhere.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from edgefoley._version import __version__
from edgefoley.backends.processor import processor
from edgefoley.backends.threads import default_threads
from edgefoley.machine import this_machine

PACKAGES: Final = ("onnxruntime", "openvino", "numpy", "av", "tokenizers")
ROOT: Final = Path("/")


def card(root: Path = ROOT) -> dict[str, Any]:
    """Device, processor, features, memory, governor, clock, temperature, load and versions; None for what the
    system does not tell."""
    machine = this_machine()
    return {
        "device": device_name(root) or machine.processor,
        "processor": machine.processor,
        "features": None if machine.features is None else list(machine.features),
        "virtual": is_virtual(),
        "cores": machine.cores,
        "threads": default_threads(),
        "memory_mb": machine.memory_mb,
        "available_mb": machine.available_mb,
        "system": machine.system,
        "governor": governor(root),
        "clock_mhz": clock_mhz(root),
        "temperature_c": temperature_c(root),
        "throttled": throttled(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "edgefoley": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def device_name(root: Path = ROOT) -> str | None:
    """What the board or computer calls itself: the device tree's model, or maker and product of the BIOS."""
    for name in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if model := _text(root / name):
            return model
    words = [_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word) or None


def is_virtual() -> bool | None:
    """Whether this is a virtual machine, as x86 processors say; None where nobody does."""
    flags = processor()[1]
    return None if flags is None or platform.machine().lower() not in ("x86_64", "amd64") else (
        "hypervisor" in flags
    )  # fmt: skip


def governor(root: Path = ROOT) -> str | None:
    """How the system chooses clocks: the governors of all cores, each once."""
    found = [_text(path) for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")]
    return ", ".join(dict.fromkeys(sorted(filter(None, found)))) or None


def clock_mhz(root: Path = ROOT) -> dict[str, float] | None:
    """The highest clock of any core now, and the highest that its hardware allows."""
    clocks = {}
    for name, file in (("now", "scaling_cur_freq"), ("most", "cpuinfo_max_freq")):
        values = [_text(p) for p in root.glob(f"sys/devices/system/cpu/cpu[0-9]*/cpufreq/{file}")]
        numbers = [int(value) / 1e3 for value in values if value.isdigit()]
        if numbers:
            clocks[name] = max(numbers)
    if not clocks:
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo"), re.MULTILINE)
        clocks = {"now": max(map(float, found))} if found else {}
    return clocks or None


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest thermal zone in degrees Celsius."""
    values = [_text(path) for path in root.glob("sys/class/thermal/thermal_zone*/temp")]
    degrees = [int(value) / 1000 for value in values if re.fullmatch(r"-?\d+", value)]
    return max((value for value in degrees if -50 < value < 200), default=None)


def throttled() -> str | None:
    """What a Raspberry Pi's firmware says about low voltage and heat; None elsewhere."""
    if shutil.which("vcgencmd") is None:
        return None
    try:
        told = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        return throttling_words(int(told.partition("=")[2].strip(), 16))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def throttling_words(bits: int) -> str:
    """The firmware's bits in words (Raspberry Pi documentation, vcgencmd get_throttled)."""
    names = {0: "low voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
    words = [name for bit, name in names.items() if bits >> bit & 1]
    words += [f"{name} since boot" for bit, name in names.items() if bits >> (bit + 16) & 1]
    return ", ".join(words) or "no"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""

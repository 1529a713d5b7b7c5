"""How much memory and time a conversion takes: ``python benchmarks/convert.py SOURCE BUNDLE``.

SOURCE is a folder of `edgefoley models random xl` or `models download xl`. Converts in a process of its own
and samples it every 50 ms: anonymous memory (RssAnon: what has to stay in memory) and all of its resident
memory (VmRSS, with pages of mapped files, which the system takes back when it needs them). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

INTERVAL = 0.05  # seconds


def fields(process: int) -> dict[str, int]:
    """RssAnon and VmRSS of a process in bytes; empty when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS") if name in found}


def measure(command: list[str]) -> dict[str, float]:
    """Run ``command`` and sample it; its stderr passes through. Raises CalledProcessError."""
    started, peaks, samples = time.monotonic(), {"RssAnon": 0, "VmRSS": 0}, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for name, value in fields(process.pid).items():
                peaks[name] = max(peaks[name], value)
            samples += 1
            time.sleep(INTERVAL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    used = os.times()
    return {
        "anonymous_peak_bytes": peaks["RssAnon"],
        "resident_peak_bytes": peaks["VmRSS"],
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(used.children_user + used.children_system, 1),
        "samples": samples,
    }


def size(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--storage", default="bf16", choices=["bf16", "fp16", "fp32"])
    parser.add_argument("--group", type=int, default=2)
    given = parser.parse_args()
    arguments = [str(given.source), "-o", str(given.bundle), "--storage", given.storage]
    command = [
        sys.executable, "-m", "edgefoley", "models", "convert", *arguments, "--group", str(given.group),
    ]  # fmt: skip
    result = measure(command) | {"source_bytes": size(given.source), "bundle_bytes": size(given.bundle)}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}")
    for name, value in result.items():
        print(f"{name:22} {value / 1e9:.3f} GB" if name.endswith("bytes") else f"{name:22} {value}")
    print(json.dumps({"storage": given.storage, "group": given.group, **result}))


if __name__ == "__main__":
    main()

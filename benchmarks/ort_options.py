"""What each ONNX Runtime option costs or saves on this machine: python benchmarks/ort_options.py [--model
NAME|DIR]

Every variant changes one option of ``edgefoley.backends.ort.DEFAULT_OPTIONS`` and runs in a process of its
own: a clip of noise pictures is encoded, denoised and decoded once cold (opening the graphs included), then
``--repeats`` times warm. Variants are taken in turn, ``--rounds`` times, so that a busy moment of the machine
does not fall on one of them; the table shows medians of cold and warm time and the highest peak memory.
Prints a card of the machine, the table, and one last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ort import DEFAULT_OPTIONS, OrtBackend, OrtOptions
from edgefoley.backends.threads import default_threads
from edgefoley.bundle import open_bundle
from edgefoley.memory import peak_rss_mb
from edgefoley.pipeline import Memory, Pipeline
from edgefoley.timeline import grid_count
from edgefoley.types import Clip, FrameView, VideoInfo

CHANGES: dict[str, dict[str, Any]] = {
    "as chosen": {},
    "arena": {"arena": not DEFAULT_OPTIONS.arena},
    "mem_pattern": {"mem_pattern": not DEFAULT_OPTIONS.mem_pattern},
    "prepack": {"prepack": not DEFAULT_OPTIONS.prepack},
    "spinning": {"spinning": not DEFAULT_OPTIONS.spinning},
    "optimise": {"optimise": "extended" if DEFAULT_OPTIONS.optimise == "all" else "all"},
    "optimise basic": {"optimise": "basic"},
    "memory low": {"memory": "low"},
    "one thread": {"threads": 1},
    "twice the threads": {"threads": 2 * default_threads()},
}


def noise_clip(views: Any, seconds: Fraction) -> Clip:
    """A clip of noise pictures; the networks' cost does not depend on what they see."""
    random, made = np.random.default_rng(0), {}
    for name, view in views.items():
        count = grid_count(seconds, view.rate)
        shape = (count, *view.size, 3) if view.pixel == "rgb" else (count, *view.size)
        made[name] = FrameView(
            random.integers(0, 256, shape, dtype=np.uint8), np.zeros(count, dtype=np.float32)
        )
    info = VideoInfo(Path("noise"), seconds, Fraction(25), (1280, 720), 0, "", None)
    return Clip(info, Fraction(0), seconds, made)


def measure(model: str, seconds: Fraction, repeats: int, change: dict[str, Any]) -> dict[str, Any]:
    """One variant in this process."""
    memory: Memory = change.pop("memory", "fast")
    threads = change.pop("threads", None)
    options: OrtOptions = replace(DEFAULT_OPTIONS, **change)
    bundle = open_bundle(model)
    bundle.verify()  # hashing is not what is compared
    clip = noise_clip(bundle.views(), seconds)
    pipeline = Pipeline(bundle, OrtBackend(options), LoadOptions(threads=threads), memory)
    times, peak = [], 0.0
    for _ in range(1 + repeats):
        start = time.perf_counter()
        foley = pipeline.generate(clip, "footsteps on gravel")
        times.append(time.perf_counter() - start)
        peak = max(peak, foley.stats.peak_rss_mb, peak_rss_mb())
    return {"cold": times[0], "warm": times[1:], "peak_rss_mb": peak}


def in_own_process(arguments: argparse.Namespace, change: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--model", arguments.model, "--seconds", str(arguments.seconds),
               "--repeats", str(arguments.repeats), "--variant", json.dumps(change)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"variant {change} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def card(arguments: argparse.Namespace) -> dict[str, Any]:
    import onnxruntime

    bundle = open_bundle(arguments.model)
    return {
        "model": f"{bundle.name} {bundle.version}",
        "seconds": float(arguments.seconds),
        "repeats": arguments.repeats,
        "rounds": arguments.rounds,
        "threads": default_threads(),
        "cpu": cpu_name(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "options": asdict(DEFAULT_OPTIONS),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10))
    parser.add_argument("--repeats", type=int, default=3, help="warm runs per process")
    parser.add_argument("--rounds", type=int, default=2, help="processes per variant")
    parser.add_argument("--only", nargs="*", choices=list(CHANGES), help="these variants instead of all")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant is not None:
        change = json.loads(arguments.variant)
        print(json.dumps(measure(arguments.model, arguments.seconds, arguments.repeats, change)))
        return
    about = card(arguments)
    for key, value in about.items():
        print(f"{key:14} {value}")
    names = arguments.only or list(CHANGES)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            runs[name].append(in_own_process(arguments, CHANGES[name]))
    print(f"\n{'changed':20} {'to':24} {'cold s':>8} {'warm s':>8} {'peak MB':>8}")
    rows = []
    for name, found in runs.items():
        row = {
            "changed": name,
            "to": CHANGES[name],
            "cold_s": statistics.median(run["cold"] for run in found),
            "warm_s": statistics.median(warm for run in found for warm in run["warm"]),
            "peak_rss_mb": max(run["peak_rss_mb"] for run in found),
        }
        rows.append(row)
        to = ", ".join(f"{key}={value}" for key, value in CHANGES[name].items())
        print(f"{name:20} {to:24} {row['cold_s']:8.3f} {row['warm_s']:8.3f} {row['peak_rss_mb']:8.0f}")
    print(json.dumps({"card": about, "rows": rows}))


if __name__ == "__main__":
    main()

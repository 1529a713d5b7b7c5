"""What a clip costs on this machine: python benchmarks/speed.py [--model NAME|DIR] [--only CASE ...]

The clip is that of `edgefoley bench` (10 s, 720p, 30 frames/s, H.264), and so is the way of measuring: each
case in processes of its own, taken in turn, so that a busy moment of the machine does not fall on one of
them.

process     from the start of a process to its first result: imports, opening the model, one clip, both files
warm        the next clip in the same process; per stage
one thread  warm, one thread
guidance 1  warm, without the second pass of each denoising step
sound       warm, text only, the same length, in the Python API
reading     decoding and scaling alone, with and without --max-height 480, for a 720p and a 2160p clip; what
            the limit changes is the mean difference of the encoders' pictures in grey levels of 255
install     size of a fresh environment with `pip install .` and nothing else (needs a package index)

Peak memory is the highest of the stages' own peaks (10^6 bytes). Prints a card of the machine, the tables,
and one last line of JSON. Runs in a runtime-only environment: numpy and PyAV, no torch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
from outcome import put_out

from edgefoley import api, media
from edgefoley.backends.threads import default_threads
from edgefoley.bench import session, summary
from edgefoley.bench.clip import PROMPT, SECONDS, study_clip
from edgefoley.bundle import open_bundle
from edgefoley.machine import this_machine
from edgefoley.memory import peak_rss_mb, reset_peak_rss
from edgefoley.pipeline import Pipeline

ROOT = Path(__file__).resolve().parent.parent
RATE = 30
CASES_OF: dict[str, dict[str, Any]] = {
    "warm": {}, "one thread": {"threads": 1}, "guidance 1": {"guidance_scale": 1.0},
}  # fmt: skip
READING = ((720, None), (720, 480), (2160, None), (2160, 480))
CASES = ("process", *CASES_OF, "sound", "reading", "install")


def render_clip(path: Path, height: int, seconds: int) -> Path:
    """A textured room, slowly panned, with a bouncing disc: ordinary detail and motion. Nothing when it is
    there."""
    if path.exists():
        return path
    width = height * 16 // 9
    random, unit = np.random.default_rng(4), height / 720
    coarse = random.integers(40, 220, (height // 24 + 2, width // 16 + 8, 3)).astype(np.uint8)
    wide = av.VideoFrame.from_ndarray(np.ascontiguousarray(coarse), "rgb24").reformat(
        width=width + 2 * seconds * RATE // 2, height=height
    )
    noise = random.integers(-12, 13, (height, wide.width, 1), dtype=np.int16)
    room = np.clip(wide.to_ndarray(format="rgb24") + noise, 0, 255).astype(np.uint8)
    radius = round(60 * unit)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "21"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * RATE):
            picture = room[:, number : number + width].copy()
            up = abs(np.sin(np.pi * number / RATE / 0.7)) * 400 * unit
            top, left = round(height * 0.9 - up) - 2 * radius, round(width * (0.2 + 0.05 * number / RATE))
            picture[top : top + 2 * radius + 1, left : left + 2 * radius + 1][disc] = (230, 90, 40)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


# --- in a process of its own -------------------------------------------------------------------------------


def sound_runs(task: dict[str, Any]) -> dict[str, Any]:
    """One warm-up, then ``repeats`` timed sounds; times and peaks per stage."""
    runs, times = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Pipeline.open(task["model"], task["backend"], None) as pipeline,
    ):
        for _ in range(1 + task["repeats"]):
            start = time.perf_counter()
            takes = api.sound(PROMPT, task["seconds"], output=folder, model=pipeline, seed=1, overwrite=True)
            runs.append(takes[0].foley.stats)
            times.append(time.perf_counter() - start)
    names = [stage.name for stage in runs[0].stages]
    peaks = {n: max(s.peak_rss_mb for run in runs for s in run.stages if s.name == n) for n in names}
    return {
        "first_s": times[0],
        "warm_s": times[1:],
        "stages_s": {
            n: statistics.median(s.seconds for run in runs[1:] for s in run.stages if s.name == n)
            for n in names
        },
        "stages_mb": peaks,
        "peak_rss_mb": max([*peaks.values(), peak_rss_mb()]),
    }


def reading_run(task: dict[str, Any]) -> dict[str, Any]:
    """Decode the clip for the model's encoders; what ``max_height`` costs, saves and changes."""
    views, limit = open_bundle(task["model"]).views(), task["max_height"]
    times = []
    reset_peak_rss()
    for _ in range(task["repeats"]):
        start = time.perf_counter()
        clip = media.read_clip(task["clip"], views, max_height=limit)
        times.append(time.perf_counter() - start)
    peak, change = peak_rss_mb(), {}
    if limit is not None:
        whole = media.read_clip(task["clip"], views)
        for name, view in clip.views.items():
            difference = view.frames.astype(np.int16) - whole.views[name].frames
            change[name] = float(np.abs(difference).mean())
    return {"read_s": times, "peak_rss_mb": peak, "change": change}


WORKERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"sound": sound_runs, "reading": reading_run}


# --- here ---------------------------------------------------------------------------------------------------


def in_own_process(work: str, task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--work", work, "--task", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{work} {task} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(names: list[str], clip: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the cases that `edgefoley bench` measures: "process", and those of ``CASES_OF``."""
    asked = [name for name in CASES_OF if name in names or (name == "warm" and "process" in names)]
    if not asked:
        return []
    cases = [session.Case(arguments.model, arguments.backend, **CASES_OF[name]) for name in asked]
    found = session.bench(
        cases, session.Subject(clip, PROMPT), arguments.rounds, lambda words: print(words, file=sys.stderr)
    )
    rows = []
    for name, case in zip(asked, found["cases"], strict=True):
        figures, first = summary.summary(case), case["runs"][0]["cold"]
        if name == "warm" and "process" in names:
            # The first one may have waited for the disk; it is told apart, not left out.
            rows.append({
                "case": "process", "seconds": figures["cold_s"]["median"], "first_s": first["seconds"],
                "peak_rss_mb": max(summary.values(case, "peak_mb")),
            })  # fmt: skip
        if name in names:
            stages = figures["stages"]["warm"]
            rows.append({
                "case": name, "seconds": figures["warm_s"]["median"], "least_s": figures["warm_s"]["least"],
                "cpu_s": figures["warm_cpu_s"]["least"],
                "first_s": statistics.median(run["cold"]["run_seconds"] for run in case["runs"]),
                "stages_s": {stage: one["seconds"] for stage, one in stages.items()},
                "stages_mb": {stage: one["peak_mb"] for stage, one in stages.items() if "peak_mb" in one},
                "peak_rss_mb": max(summary.values(case, "peak_mb")),
            })  # fmt: skip
    return rows


def installed_size() -> dict[str, Any]:
    """Install this folder into a fresh environment and weigh its site-packages: with compiled bytecode, but
    without what the environment has of itself (pip, setuptools)."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, *("Scripts", "python.exe") if os.name == "nt" else ("bin", "python"))
        start = time.perf_counter()
        subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT)], check=True)
        seconds = time.perf_counter() - start
        where = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        parts: dict[str, float] = {}
        for path in Path(where).rglob("*"):
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(where).parts[0]
                if name.split("-")[0] in ("pip", "setuptools", "pkg_resources", "_distutils_hack"):
                    continue
                parts[name] = parts.get(name, 0.0) + path.stat().st_size / 1e6
        has_torch = (Path(where) / "torch").exists()
    largest = dict(sorted(parts.items(), key=lambda item: -item[1])[:8])
    return {"install_mb": sum(parts.values()), "seconds": seconds, "torch": has_torch, "largest_mb": largest}


def card(arguments: argparse.Namespace) -> dict[str, Any]:
    bundle, machine = open_bundle(arguments.model), this_machine()
    return {
        "model": f"{bundle.name} {bundle.version}",
        "bundle_mb": sum(artefact.bytes for artefact in bundle.files) / 1e6,
        "steps": bundle.defaults.steps,
        "guidance": bundle.defaults.guidance,
        "clip": f"{SECONDS} s, 1280x720, {RATE} frames/s, H.264",
        "rounds": arguments.rounds,
        "repeats": arguments.repeats,
        "threads": default_threads(),
        "cores": machine.cores,
        "processor": machine.processor,
        "features": " ".join(machine.features or ()),
        "memory_mb": machine.memory_mb,
        "system": machine.system,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **{name: version(name) for name in ("edgefoley", "onnxruntime", "av", "numpy")},
        "python": platform.python_version(),
    }


def run_cases(arguments: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The other cases in turn, ``rounds`` times; a list of findings per case."""
    found: dict[str, list[dict[str, Any]]] = {}
    clips = {}
    if "reading" in arguments.only:
        clips = {height: render_clip(folder / f"{height}.mp4", height, min(5, arguments.seconds))
                 for height in (720, 2160)}  # fmt: skip
    base = {"model": arguments.model, "backend": arguments.backend, "repeats": arguments.repeats,
            "seconds": arguments.seconds}  # fmt: skip
    for _ in range(arguments.rounds):
        if "sound" in arguments.only:
            found.setdefault("sound", []).append(in_own_process("sound", base))
        if "reading" in arguments.only:
            for height, limit in READING:
                task = base | {"clip": str(clips[height]), "max_height": limit}
                found.setdefault(f"{height}p, limit {limit}", []).append(in_own_process("reading", task))
    if "install" in arguments.only:
        found["install"] = [installed_size()]
    return found


def rows_of(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per case: medians over rounds and repeats, highest peaks."""
    median, rows = statistics.median, []
    for name, runs in found.items():
        row: dict[str, Any] = {"case": name}
        first = runs[0]
        if "warm_s" in first:
            row["seconds"] = median(t for r in runs for t in r["warm_s"])
            row["first_s"] = median(r["first_s"] for r in runs)
            row["stages_s"] = {k: median(r["stages_s"][k] for r in runs) for k in first["stages_s"]}
            row["stages_mb"] = {k: max(r["stages_mb"][k] for r in runs) for k in first["stages_mb"]}
        elif "read_s" in first:
            row["seconds"] = median(t for r in runs for t in r["read_s"])
            row["change"] = first["change"]
        else:
            row |= first
        if "peak_rss_mb" in first:
            row["peak_rss_mb"] = max(r["peak_rss_mb"] for r in runs)
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'case':20} {'seconds':>8} {'first s':>8} {'peak MB':>8}  details")
    for row in rows:
        if "install_mb" in row:
            largest = ", ".join(f"{name} {size:.0f}" for name, size in row["largest_mb"].items())
            torch = "IS there" if row["torch"] else "is not there"
            print(f"\ninstalled: {row['install_mb']:.0f} MB, torch {torch} (largest: {largest})")
            continue
        first = f"{row['first_s']:8.2f}" if "first_s" in row else " " * 8
        peaks = row.get("stages_mb", {})
        details = [f"{n} {s:.2f} s {peaks.get(n, 0):.0f} MB" for n, s in row.get("stages_s", {}).items()]
        details += [f"{n} differs by {value:.2f}" for n, value in row.get("change", {}).items()]
        line = f"{row['case']:20} {row['seconds']:8.2f} {first} {row['peak_rss_mb']:8.0f}"
        print(f"{line}  {', '.join(details)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--seconds", type=int, default=10, help="of the cases sound and reading")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs per process (sound, reading)")
    parser.add_argument("--rounds", type=int, default=3, help="processes per case")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--json", type=Path, help="write card and rows here too")
    parser.add_argument("--work", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        print(json.dumps(WORKERS[arguments.work](arguments.task)))
        return
    about = card(arguments)
    for key, value in about.items():
        print(f"{key:14} {value}")
    if about["load_average"] is not None and about["load_average"] > 0.5:
        print("Something else is running on this machine; times will be too long.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(arguments.only, study_clip(Path(folder)), arguments)
        rows += rows_of(run_cases(arguments, Path(folder)))
    show(rows)
    result = {"card": about, "rows": rows}
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()

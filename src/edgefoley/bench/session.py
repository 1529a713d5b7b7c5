"""A benchmark: several cases (model, back end, threads), each measured in processes of its own, in turn.

A round runs every case once; the order is turned round from one round to the next. So a busy moment of the
machine, or its slow warming up, falls on all cases alike, and the rounds of one case are spread over the
whole time. What is compared later are rounds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from edgefoley import media
from edgefoley.bench.card import card, temperature_c
from edgefoley.bench.operations import count_run
from edgefoley.bench.power import Sampler, Trace, find_reader, read_csv
from edgefoley.bench.shapes import UnknownShapeError
from edgefoley.bench.watch import Watched, watched
from edgefoley.bench.workload import Workload
from edgefoley.bundle import Bundle, open_bundle, sha256
from edgefoley.errors import BundleError, UsageError
from edgefoley.plan import Run
from edgefoley.types import VideoInfo

SCHEMA: Final = 1
WORKER: Final = "edgefoley.bench.worker"
IDLE_SECONDS: Final = 2.0  # how long the machine's power at rest is read before the first round


@dataclass(frozen=True)
class Case:
    """What is measured. ``model``: a name or a folder; ``threads`` None: the engine's choice."""

    model: str
    backend: str = "ort"
    threads: int | None = None
    num_steps: int | None = None
    guidance_scale: float | None = None


@dataclass(frozen=True)
class Subject:
    """What all cases are measured with."""

    clip: Path
    prompt: str


Say = Callable[[str], None]


def bench(
    cases: Sequence[Case], subject: Subject, rounds: int, say: Say = lambda words: None
) -> dict[str, Any]:
    """Measure and return the results as one object that JSON can hold; ``say`` hears what is going on.

    Raises BundleError, the reader's errors for the clip, and WorkerError when a process fails.
    """
    bundles = [open_bundle(case.model) for case in cases]
    names = _names(cases, bundles)
    info = media.probe(subject.clip)
    reader, words = find_reader()
    sampler = None if reader is None else Sampler(reader)
    about = card()
    idle = None if sampler is None else _idle_watts(sampler)
    runs: list[list[dict[str, Any]]] = [[] for _ in cases]
    for number in range(rounds):
        order = range(len(cases)) if number % 2 == 0 else reversed(range(len(cases)))
        for index in order:
            say(f"round {number + 1} of {rounds}: {names[index]}")
            seen = watched(_command(cases[index], subject), sampler)
            runs[index].append({"round": number, **_measured(seen)})
            if sampler is not None:
                _add_joules(runs[index][-1], sampler.trace)
    about["temperature_after_c"] = temperature_c()
    return {
        "schema": SCHEMA, "kind": "bench", "card": about, "energy": {"source": words, "idle_watts": idle},
        "clip": _clip(info), "prompt": subject.prompt, "rounds": rounds,
        "cases": [
            {"name": name, **asdict(case), **_of_bundle(bundle), **_counted(bundle, case, info), "runs": each}
            for name, case, bundle, each in zip(names, cases, bundles, runs, strict=True)
        ],
    }  # fmt: skip


def _command(case: Case, subject: Subject) -> list[str]:
    task = {**asdict(case), "clip": str(subject.clip), "prompt": subject.prompt}
    return [sys.executable, "-m", WORKER, json.dumps(task)]


def _names(cases: Sequence[Case], bundles: Sequence[Bundle]) -> list[str]:
    """A name for every case: model, recipe, back end and threads, with a number where two would be equal."""
    names = []
    for case, bundle in zip(cases, bundles, strict=True):
        recipe = recipe_of(bundle)
        words = [bundle.name, *([] if recipe is None else [recipe]), case.backend]
        words.append("threads by default" if case.threads is None else f"{case.threads} threads")
        names.append(", ".join(words).replace("1 threads", "1 thread"))
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def recipe_of(bundle: Bundle) -> str | None:
    """Name of the recipe that a bundle was quantised by, None for one that was not."""
    recipe = (bundle.manifest.get("quantization") or {}).get("recipe")
    if isinstance(recipe, dict):
        return str(recipe.get("name"))
    return None if recipe is None else str(recipe)


def _measured(seen: Watched) -> dict[str, Any]:
    """Both runs of a process: seconds, processor seconds and memory, whole and by stage; and when (seconds
    since the epoch) each stage began and ended."""
    result, parts = seen.result, dict[str, dict[str, Any]]()
    for name in ("cold", "warm"):
        run = result[name]
        stages = {stage: dict(values) for stage, values in run["stages"].items()}
        spans = [(mark, end) for mark, end in seen.spans() if mark.run == name and mark.stage != "end"]
        for mark, end in spans:
            into = stages.setdefault(mark.stage, {"seconds": end - mark.begin})
            into |= {**mark.peaks, "begin": mark.begin, "end": end, "joules": None}
        parts[name] = {
            "seconds": run["seconds"], "cpu_seconds": run["cpu_seconds"],
            "audio_seconds": run["audio_seconds"], "stages": stages, "begin": spans[0][0].begin,
            "end": spans[-1][1], "joules": None,
            **{kind: _highest(stages, kind) for kind in ("anonymous_mb", "total_mb", "peak_mb")},
        }  # fmt: skip
    # A command's cold latency is that of the whole: start of the process and imports too.
    cold = parts["cold"]
    cold["run_seconds"], cold["seconds"] = cold["seconds"], cold["end"] - seen.started
    cold["cpu_seconds"] += result["imports_cpu_s"]
    return {"num_steps": result["num_steps"], "guidance": result["guidance"], **parts}


def _add_joules(run: dict[str, Any], trace: Trace) -> None:
    for part in (run["cold"], run["warm"]):
        for span in (part, *part["stages"].values()):
            if "begin" in span:
                span["joules"] = trace.between(span["begin"], span["end"])


def add_energy(found: dict[str, Any], path: Path, start: str | None = None) -> None:
    """Put into results what a meter's own file says of the time of their runs (``power.read_csv``). Raises
    UsageError where it cannot be read, or covers none of them."""
    trace = read_csv(path, start)
    runs = [run for case in found["cases"] for run in case["runs"]]
    for run in runs:
        _add_joules(run, trace)
    if not any(run[part]["joules"] for run in runs for part in ("cold", "warm")):
        raise UsageError(f"{path} covers no run of this benchmark: compare its times with those of the runs.")
    found["energy"]["source"] = trace.name


def _highest(stages: dict[str, dict[str, Any]], kind: str) -> float | None:
    return max((values[kind] for values in stages.values() if kind in values), default=None)


def _idle_watts(sampler: Sampler) -> float | None:
    begin = time.time()
    while time.time() < begin + IDLE_SECONDS:
        sampler.sample()
        time.sleep(0.02)
    sampler.sample(now=True)
    trace = sampler.trace
    joules = trace.between(trace.times[0], trace.times[-1]) if len(trace.times) > 1 else None
    return None if joules is None else joules / (trace.times[-1] - trace.times[0])


def _clip(info: VideoInfo) -> dict[str, Any]:
    return {
        "name": info.path.name, "sha256": sha256(info.path), "seconds": float(info.duration),
        "width": info.size[0], "height": info.size[1], "frame_rate": float(info.frame_rate),
        "codec": info.video_codec,
    }  # fmt: skip


def _of_bundle(bundle: Bundle) -> dict[str, Any]:
    return {
        "bundle": bundle.name, "version": bundle.version, "recipe": recipe_of(bundle),
        "bundle_mb": sum(artefact.bytes for artefact in bundle.files) / 1e6,
    }  # fmt: skip


def run_of(bundle: Bundle, case: Case, info: VideoInfo) -> Run:
    """What a case makes of a clip, as ``plan`` and ``workload`` count it."""
    guidance = bundle.defaults.guidance if case.guidance_scale is None else case.guidance_scale
    steps = bundle.defaults.steps if case.num_steps is None else case.num_steps
    return Run(Fraction(info.duration), True, info.size, 1 if guidance <= 1 else 2, steps)


def _counted(bundle: Bundle, case: Case, info: VideoInfo) -> dict[str, Any]:
    """Operations and bytes by component, counted from the graphs; why not, where they cannot be."""
    try:
        counts = count_run(Workload(bundle, case.backend, run_of(bundle, case, info)).passes())
    except (UnknownShapeError, BundleError) as error:
        return {"counted": None, "not_counted": str(error)}
    return {
        "counted": {
            name: {"operations": dict(one.operations), "bytes": one.total_bytes}
            for name, one in counts.items()
        }
    }


def load(path: Path) -> dict[str, Any]:
    """Results that ``bench`` returned, from a file: the whole file, or its last line. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    for part in (text, (text.strip().splitlines() or [""])[-1]):
        try:
            found = json.loads(part)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict) and found.get("kind") == "bench" and found.get("schema") == SCHEMA:
            return found
    raise UsageError(f"{path} holds no results of `edgefoley bench --json`.")


def components_of(case: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(component, operations, bytes) of a case's counts; nothing where they could not be counted."""
    for name, one in (case.get("counted") or {}).items():
        yield name, sum(one["operations"].values()), one["bytes"]

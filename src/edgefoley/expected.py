"""What a run will take, told before it begins: from the last run here, or very roughly from the model's size.

A finished run's stages are kept in the user's cache as seconds per unit of work (per second of clip;
denoising per second, step and pass), so that another length, other steps or guidance can be told from them.
Where nothing was run yet, arithmetic is estimated from the networks' sizes and the processor's class: that is
right to a factor of three at best, and said to be rough. Nothing is measured for the purpose, nothing opened
but one small file.

Layer 3.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from edgefoley.backends.processor import processor
from edgefoley.backends.threads import default_threads
from edgefoley.bundle import CONTRACT, Bundle
from edgefoley.hub import cache_folder
from edgefoley.plan import Run
from edgefoley.timeline import grid_count
from edgefoley.types import Stats
from edgefoley.velocity import Spans

SCHEMA: Final = 1
KEPT: Final = 64  # entries of the file, the newest ones
_PATCH: Final = 16  # pixels: what encoders of pictures do per square of that side
_BASE_MB: Final = 200.0  # of the program, as ``plan`` counts with
# Operations per second of one core, by the best that its processor has: products, conversions and moves
# together.
_CLASSES: Final[tuple[tuple[str, float], ...]] = (
    ("avx512f", 60e9), ("fma", 30e9), ("asimddp", 15e9), ("asimd", 6e9),
)  # fmt: skip
_SLOWEST: Final = 5e9


@dataclass(frozen=True)
class Expected:
    """``seconds`` of work and ``memory_mb`` (10^6 bytes); ``known``: from a run on this machine."""

    seconds: float
    memory_mb: float
    known: bool

    @property
    def words(self) -> str:
        """For people; "about" in any case."""
        time = f"{self.seconds:.0f} s" if self.seconds >= 10 else f"{self.seconds:.1f} s"
        if self.seconds >= 120:
            time = f"{self.seconds / 60:.0f} min"
        words = f"about {time} and {self.memory_mb:.0f} MB of memory"
        return words if self.known else f"{words}, very roughly: nothing was run here yet"


def expected(bundle: Bundle, backend: str, threads: int | None, run: Run, takes: int = 1) -> Expected:
    """What ``takes`` results of ``run`` will take."""
    known = _entries().get(_key(bundle, backend, threads))
    if isinstance(known, Mapping):
        try:
            return Expected(_seconds(known, run, takes), float(known["peak_mb"]), True)
        except (KeyError, TypeError, ValueError):
            pass  # a file of another version, or changed by hand
    return _rough(bundle, threads, run, takes)


def remember(bundle: Bundle, backend: str, threads: int | None, run: Run, stats: Stats) -> None:
    """Keep what the first take of a finished run took. Never raises: a cache that cannot be written is
    none."""
    per = {stage.name: stage.seconds / float(run.duration) for stage in stats.stages}
    if "denoise" not in per or not stats.peak_rss_mb > 0:
        return
    per["denoise"] /= run.steps * run.branches
    entries = _entries()
    key = _key(bundle, backend, threads)
    entries.pop(key, None)  # the newest last
    entries[key] = {"per_second": per, "peak_mb": stats.peak_rss_mb}
    kept = dict(list(entries.items())[-KEPT:])
    path = _path()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"schema": SCHEMA, "runs": kept}, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _seconds(known: Mapping[str, Any], run: Run, takes: int) -> float:
    per = {name: float(value) for name, value in known["per_second"].items()}
    once = per.get("read", 0.0) + per.get("encode", 0.0)
    again = per["denoise"] * run.steps * run.branches
    again += sum(per.get(name, 0.0) for name in ("decode", "level", "write"))
    return float(run.duration) * (once + takes * again)


def _rough(bundle: Bundle, threads: int | None, run: Run, takes: int) -> Expected:
    """From the networks' sizes: every weight meets every row once."""
    numbers = {name: _numbers(bundle, name) for name in CONTRACT}
    places, timeline = Spans(bundle, run.duration), bundle.timeline
    tokens = sum(stop - start for start, stop in places.spans)
    once = 0.0
    if run.video:
        for name, view in bundle.views().items():
            rows = grid_count(run.duration, view.rate) * view.size[0] * view.size[1] / _PATCH**2
            once += rows * numbers[name]
    again = tokens * run.steps * run.branches * numbers["denoiser"]
    again += timeline.latents(run.duration) * numbers["decoder"]
    flags = processor()[1] or set()
    rate = next((rate for flag, rate in _CLASSES if flag in flags), _SLOWEST)
    rate *= (threads or default_threads()) ** 0.9
    beside = 0.1 * float(run.duration)  # seconds of reading, levelling, writing
    memory = _BASE_MB + 4.7e-6 * sum(numbers.values())
    return Expected(2 * (once + takes * again) / rate + beside * (1 + takes), memory, False)


def _numbers(bundle: Bundle, name: str) -> float:
    """Weights of a network: as its manifest states, else one for each byte of its files; a chain has those of
    its parts."""
    component = bundle.components[name]
    if component.parts:
        return sum(_numbers(bundle, part) for part in component.parts)
    stated = component.attributes.get("weights", {})
    files = next(iter(component.artefacts.values())).files
    return float(sum(stated.values()) or sum(file.bytes for file in files))


def _key(bundle: Bundle, backend: str, threads: int | None) -> str:
    model = processor()[0] or "?"
    digests = "".join(sorted(file.sha256 for file in bundle.files))
    files = hashlib.sha256(digests.encode()).hexdigest()[:8]
    return f"{bundle.name} {bundle.version} {files} {backend} {threads or default_threads()} {model}"


def _path() -> Path:
    return cache_folder() / "runs.json"


def _entries() -> dict[str, Any]:
    try:
        data = json.loads(_path().read_text(encoding="utf-8"))
        return dict(data["runs"]) if data["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def run_of(
    bundle: Bundle,
    duration: Fraction,
    size: tuple[int, int] | None,
    steps: int | None,
    guidance: float | None,
) -> Run:
    """What is to be run, with the model's own steps and guidance where none are given; ``size`` None: no
    video."""
    guided = bundle.defaults.guidance if guidance is None else guidance
    number = bundle.defaults.steps if steps is None else steps
    return Run(duration, size is not None, size or (0, 0), 1 if guided <= 1 else 2, number)

"""What this machine's kernels do, measured once and kept; and the reference that comes with the package.

A calibration holds the kernels' points (``kernels``), what a core of the machine is (``Core``, to carry the
points over to another machine), what a clip costs beside the networks, and how far predictions were off on
networks that were measured with it. It belongs to a processor and a version of the engine; it is kept in the
user's cache.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgefoley import media, mix, output
from edgefoley.backends.processor import has_vnni, processor, system_file
from edgefoley.bench import kernels
from edgefoley.bench.clip import study_clip
from edgefoley.bench.components import timed
from edgefoley.bench.roofline import Roofline
from edgefoley.bench.session import recipe_of
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.errors import UsageError
from edgefoley.hub import cache_folder
from edgefoley.plan import Run
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.types import Audio, FloatArray

SCHEMA: Final = 1
REFERENCE: Final = Path(__file__).parent / "profiles" / "reference.json"
REACH: Final = 0.95  # of the arithmetic peak that the best matrix product reaches here
CHECKED: Final = Fraction(10)  # seconds of sound that networks are checked with


@dataclass(frozen=True)
class Core:
    """One core: see ``devices.Device``; ``clock_ghz`` follows from the best product that was measured."""

    clock_ghz: float
    fp32_per_cycle: float
    int8_per_cycle: float
    decode: float
    simd_bytes: float


@dataclass(frozen=True)
class Checked:
    """A network measured and predicted: processor seconds of one run on one thread."""

    model: str
    component: str
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


@dataclass(frozen=True)
class Calibration:
    """``rest``: processor seconds per second of a 720p clip for reading it, setting the level, and writing
    both files; ``load``: how many programs wanted the processor meanwhile; ``reference``: it is the
    package's, of another machine."""

    processor: str
    onnxruntime: str
    date: str
    load: float | None
    core: Core
    roofline: Roofline
    rest: Mapping[str, float]
    checked: tuple[Checked, ...]
    reference: bool = False

    def to_json(self) -> dict[str, Any]:
        roofline = self.roofline
        return {
            "schema": SCHEMA, "kind": "calibration", "processor": self.processor,
            "onnxruntime": self.onnxruntime, "date": self.date, "load": self.load, "core": asdict(self.core),
            "base": {"call": roofline.call, "node": roofline.node, "bandwidth": roofline.bandwidth,
                     "touch": roofline.touch},
            "rest": dict(self.rest), "checked": [asdict(one) for one in self.checked],
            "points": [point.to_json() for point in roofline.points],
        }  # fmt: skip

    @property
    def miss(self) -> tuple[float, float] | None:
        """Median and largest factor by which predictions of this machine's networks were off, 1 for none."""
        factors = [max(one.ratio, 1 / one.ratio) for one in self.checked]
        return (statistics.median(factors), max(factors)) if factors else None


def read_calibration(path: Path, reference: bool = False) -> Calibration:
    """Raises UsageError for a file that is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA or data["kind"] != "calibration":
            raise ValueError("another kind of file")
        roofline = Roofline(tuple(kernels.as_points(data["points"])), **data["base"])
        return Calibration(
            data["processor"], data["onnxruntime"], data["date"], data["load"], Core(**data["core"]),
            roofline, data["rest"], tuple(Checked(**one) for one in data["checked"]), reference,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no calibration: {type(error).__name__} {error}") from error


def cache_path() -> Path:
    """Where this machine's calibration is kept."""
    return cache_folder() / "calibration.json"


def own_calibration() -> Calibration | None:
    """This machine's, if one was made with its processor and the engine that is installed now."""
    try:
        found = read_calibration(cache_path())
    except UsageError:
        return None
    same = found.processor == processor_name() and found.onnxruntime == version("onnxruntime")
    return found if same else None


def calibration() -> Calibration:
    """This machine's own, else the package's reference."""
    return own_calibration() or read_calibration(REFERENCE, reference=True)


def save(found: Calibration, path: Path) -> None:
    """Replace ``path`` as a whole. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(_text(found.to_json()), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _text(data: dict[str, Any]) -> str:
    """JSON with a line for each kernel and network, so that two calibrations can be compared by eye."""
    lists = {name: data.pop(name) for name in ("checked", "points")}
    body = json.dumps(_short(data), indent=1)[:-2]
    for name, entries in lists.items():
        body += f',\n "{name}": [\n  ' + ",\n  ".join(json.dumps(_short(entry)) for entry in entries) + "\n ]"
    return body + "\n}\n"


def _short(value: Any) -> Any:
    """Four digits of every fraction: more mean nothing here."""
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def processor_name() -> str:
    return processor()[0] or platform.processor() or platform.machine()


def calibrate(
    models: Sequence[str],
    rounds: int = 5,
    seconds: float = 0.04,
    say: Callable[[str], None] = lambda words: None,
) -> Calibration:
    """Measure kernels, what is beside the networks, and the networks of ``models`` to check with.
    ``seconds``: how long each kernel is tried. Raises BundleError and the engine's errors."""
    bundles = [open_bundle(model) for model in models]
    say("kernels")
    points, base = kernels.measure(seconds)
    roofline = Roofline(tuple(points), **base)
    say("reading and writing a clip")
    rest = rest_of_run(study_clip(cache_folder() / "bench"))
    checked: list[Checked] = []
    for bundle in bundles:
        say(f"networks of {bundle.name}")
        checked += check(roofline, bundle, rounds)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    date = time.strftime("%Y-%m-%d")
    core = core_of(roofline)
    engine = version("onnxruntime")
    return Calibration(processor_name(), engine, date, load, core, roofline, rest, tuple(checked))


def check(roofline: Roofline, bundle: Bundle, rounds: int) -> list[Checked]:
    """Every network of a bundle as a clip of ``CHECKED`` seconds runs it: measured on one thread, the least
    processor time of ``rounds``, and predicted."""
    run = Run(CHECKED, True, (1280, 720), 2, bundle.defaults.steps)
    passes = Workload(bundle, "ort", run).passes()
    timings = timed(bundle, "ort", passes, 1, rounds)
    model = " ".join(filter(None, (bundle.name, recipe_of(bundle))))
    return [
        Checked(model, name, min(timing.cpu), roofline.seconds_of(one))
        for name, one, timing in zip(_names(passes), passes, timings, strict=True)
    ]


def _names(passes: Sequence[Pass]) -> list[str]:
    """Network and shape of its first input; numbered where a network runs on the like of it twice, with
    and without the picture."""
    names = [f"{one.component} {'x'.join(map(str, next(iter(one.shapes.values()))))}" for one in passes]
    return [name + ", without picture" * (name in names[:i]) for i, name in enumerate(names)]


def rest_of_run(clip: Path) -> dict[str, float]:
    """Processor seconds per second of clip: reading it for nano's encoders, level, both files."""
    views, found = open_bundle("nano").views(), dict[str, float]()

    def took(name: str, work: Callable[[], Any]) -> Any:
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            made = work()
            best = min(best, time.process_time() - start)
        found[name] = best
        return made

    whole = took("read", lambda: media.read_clip(clip, views, threads=1))
    seconds = float(whole.duration)
    steps = _steps(round(seconds * SAMPLE_RATE))
    audio = took("level", lambda: mix.normalise_with_report(Audio(steps, SAMPLE_RATE), -23.0)[0])
    with tempfile.TemporaryDirectory() as folder:

        def write() -> None:
            output.write_wav(Path(folder, "x.wav"), audio, {}, overwrite=True)
            tracks = [output.Track(audio, "Foley")]
            output.write_video(Path(folder, "x.mp4"), clip, tracks, {}, False, overwrite=True)

        took("write", write)
    return {name: value / seconds for name, value in found.items()}


def _steps(count: int) -> FloatArray:
    """Bursts of noise that die away, two a second: sharp attacks are what makes writing longer, since the
    coded sound's peaks are checked."""
    time_s = np.arange(count) / SAMPLE_RATE
    envelope = np.exp(-12 * (time_s % 0.5))
    return np.asarray(np.random.default_rng(0).normal(0, 0.3, count) * envelope, np.float32)


# Arithmetic of one core per cycle by what Arm calls the part in /proc/cpuinfo: (fp32, int8, decode, SIMD
# bytes).
_ARM: Final[Mapping[int, tuple[int, int, int, int]]] = {
    0xD04: (4, 8, 2, 8), 0xD03: (8, 16, 2, 16), 0xD05: (8, 32, 2, 16), 0xD07: (8, 16, 3, 16),
    0xD08: (8, 16, 3, 16), 0xD09: (8, 16, 2, 16), 0xD0A: (8, 32, 3, 16), 0xD0B: (16, 64, 4, 16),
    0xD0D: (16, 64, 4, 16), 0xD41: (16, 64, 4, 16), 0xD42: (16, 64, 4, 16), 0xD44: (32, 128, 5, 16),
    0xD0C: (16, 64, 4, 16), 0xD40: (32, 128, 8, 32), 0xD4D: (16, 64, 5, 16),
}  # fmt: skip


def core_of(roofline: Roofline) -> Core:
    """What a core of this machine can do per cycle, by its features; its clock from the best product."""
    model, flags = processor()
    fp32, int8, decode, simd = per_cycle(model or "", flags or set(), system_file("/proc/cpuinfo"))
    best = max(p.operations / p.seconds for p in roofline.points if p.kind == "matmul")
    return Core(best / (REACH * fp32) / 1e9, fp32, int8, decode, simd)


def per_cycle(model: str, flags: set[str], cpuinfo: str) -> tuple[int, int, int, int]:
    """Multiplications and additions per cycle in float32 and INT8, decode width, bytes of a vector."""
    if "asimd" in flags or platform.machine().lower() in ("arm64", "aarch64"):
        if "apple" in model.lower():
            return 32, 128, 8, 16
        parts = [int(part, 16) for part in re.findall(r"CPU part\s*:\s*(0x[0-9a-f]+)", cpuinfo)]
        known = [_ARM[part] for part in parts if part in _ARM]
        return max(known, default=(16, 64, 4, 16) if "asimddp" in flags else (8, 16, 3, 16))
    if "avx512f" in flags:
        fp32 = 32 if "amd" in model.lower() else 64  # Zen 4 does 512 bits in two halves
        return fp32, 4 * fp32 if has_vnni(flags) else 86, 6, 64
    if "fma" in flags:
        return 32, 128 if has_vnni(flags) else 43, 6 if has_vnni(flags) else 4, 32
    return 8, 16, 4, 16

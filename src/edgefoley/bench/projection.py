"""What a model would take on another machine: projected, never measured.

The kernels that were measured (``calibration``) are carried over to the device: what computes by the ratio of
arithmetic peaks (cores' width and clock), what moves by the width of vectors and clock, bounded by the
device's memory; what is neither (starting nodes, moving single numbers, the system's pages) by clock and
decode width. The best kernel is taken to reach ``ARM_REACH`` (or ``calibration.REACH``) of the device's peak,
and every other kernel to be as far below the best as it is here. Then a network's nodes are summed up as on
this machine.

How far this is off on another machine nobody here knows. How far the same sum is off on this one is stored
with the calibration, and shown with every projection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from edgefoley.backends.threads import default_threads
from edgefoley.bench.calibration import REACH, Calibration, calibration
from edgefoley.bench.devices import Device, read_device
from edgefoley.bench.kernels import Point
from edgefoley.bench.needs import with_needs
from edgefoley.bench.roofline import Roofline
from edgefoley.bench.session import recipe_of
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.memory import available_bytes
from edgefoley.plan import Run, gigabytes, plans

ARM_REACH: Final = 0.75  # assumed: of the peak of a small Arm core that its best kernel reaches
SCALAR: Final = frozenset({"Where", "Scatter", "Step", "Expand", "Gather"})
CURVES: Final = frozenset({"Exp", "Sin", "Sigmoid", "Tanh", "Erf", "Gelu", "Pow", "Softmax"})


def carried(found: Calibration, device: Device) -> Roofline:
    """One thread's roofline on ``device``."""
    core, here = found.core, found.roofline
    reach = REACH if device.architecture in ("x86_64", "arm64") else ARM_REACH
    clock = device.clock_ghz.value
    best = {
        kind: max(point.operations / point.seconds for point in here.points if point.kind == kind)
        for kind in ("matmul", "matmul_int8")
    }
    ratios = {
        "float": clock * device.fp32_per_cycle.value * 1e9 * reach / best["matmul"],
        "int8": clock * device.int8_per_cycle.value * 1e9 * reach / best["matmul_int8"],
        "vector": clock * device.simd_bytes.value / (core.clock_ghz * core.simd_bytes),
        "scalar": clock * device.decode.value / (core.clock_ghz * core.decode),
    }
    memory = device.bandwidth_gbs.value * 1e9
    points = tuple(_carried(point, ratios, device.cache_kb.value * 1e3, memory) for point in here.points)
    scalar = ratios["scalar"]
    return Roofline(points, here.call / scalar, here.node / scalar, memory, here.touch * min(scalar, 1.0))


def _carried(point: Point, ratios: Mapping[str, float], cache: float, memory: float) -> Point:
    if point.operations:
        ratio = ratios["int8" if point.kind.endswith("int8") else "float"]
        return replace(point, seconds=point.seconds / ratio)
    kind = "scalar" if point.op in SCALAR else "float" if point.op in CURVES else "vector"
    seconds = point.seconds / ratios[kind]
    return replace(point, seconds=max(seconds, point.bytes / memory) if point.bytes > cache else seconds)


@dataclass(frozen=True)
class Estimate:
    """Seconds of a warm run: each network's in all its passes, and the ``rest`` beside the networks."""

    components: Mapping[str, float]
    rest: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return sum(self.components.values()) + sum(self.rest.values())

    @property
    def denoising(self) -> float:
        """What is done again at every step."""
        return self.components.get("denoiser", 0.0)


def estimate(
    roofline: Roofline, passes: Sequence[Pass], threads: int, rest: Mapping[str, float], duration: Fraction
) -> Estimate:
    """A whole run: ``rest`` in processor seconds per second of clip (reading shares its threads, at 0.7
    each)."""
    components: dict[str, float] = {}
    for one in passes:
        name = one.component.partition(".")[0]
        components[name] = components.get(name, 0.0) + one.times * roofline.seconds_of(one, threads)
    shared = min(threads, 4) ** 0.7  # threads of the video decoder
    beside = {
        name: float(duration) * value / (shared if name == "read" else 1.0) for name, value in rest.items()
    }
    return Estimate(components, beside)


def rest_on(found: Calibration, device: Device) -> dict[str, float]:
    """``Calibration.rest`` on a device: half of it vectors, half of it not."""
    core, clock = found.core, device.clock_ghz.value
    scalar = clock * device.decode.value / (core.clock_ghz * core.decode)
    vector = clock * device.simd_bytes.value / (core.clock_ghz * min(core.simd_bytes, 32))
    return {name: value / 2 / scalar + value / 2 / vector for name, value in found.rest.items()}


@dataclass(frozen=True)
class Projection:
    """A model on a device. ``device`` None: this machine, from its own calibration. ``memory_bytes``: the
    most that the plan in ``memory_words`` needs, None where no plan fits. ``miss``: see
    ``Calibration.miss``."""

    model: str
    recipe: str | None
    device: Device | None
    threads: int
    seconds_of_clip: float
    num_steps: int
    guidance: float
    estimate: Estimate
    memory_bytes: int | None
    memory_words: str
    calibrated_on: str
    reference: bool
    miss: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "projected": True, "model": self.model, "recipe": self.recipe,
            "device": None if self.device is None else self.device.key, "threads": self.threads,
            "clip_seconds": self.seconds_of_clip, "num_steps": self.num_steps, "guidance": self.guidance,
            "seconds": self.estimate.seconds, "rtf": self.estimate.seconds / self.seconds_of_clip,
            "components": dict(self.estimate.components), "rest": dict(self.estimate.rest),
            "memory_mb": None if self.memory_bytes is None else self.memory_bytes / 1e6,
            "memory": self.memory_words, "calibrated_on": self.calibrated_on, "reference": self.reference,
            "miss_median": None if self.miss is None else self.miss[0],
            "miss_largest": None if self.miss is None else self.miss[1],
        }  # fmt: skip


def project(
    model: str, device: str, duration: Fraction, threads: int | None = None, steps: int | None = None,
    guidance: float | None = None,
) -> Projection:  # fmt: skip
    """``model`` (name or folder) on ``device`` (``devices.read_device``; "this": this machine) for
    ``duration`` seconds of a 720p clip; None: as many threads as cores, the model's own steps and guidance.

    Raises UsageError, BundleError, and UnknownShapeError for a graph that cannot be counted.
    """
    there = None if device == "this" else read_device(device)
    bundle = with_needs(open_bundle(model), "ort")
    guided = bundle.defaults.guidance if guidance is None else guidance
    number = bundle.defaults.steps if steps is None else steps
    run = Run(duration, True, (1280, 720), 1 if guided <= 1 else 2, number)
    return on_device(bundle, there, run, guided, threads)


def on_device(
    bundle: Bundle, device: Device | None, run: Run, guidance: float, threads: int | None = None
) -> Projection:
    """The same for a bundle with its needs (``needs.with_needs``)."""
    found = calibration()
    roofline = found.roofline if device is None else carried(found, device)
    rest = found.rest if device is None else rest_on(found, device)
    if threads is None:
        threads = default_threads() if device is None else round(device.cores.value)
    limit = (available_bytes() or 0) if device is None else device.usable_bytes
    plan = next((plan for plan in plans(bundle, "ort", run) if plan.peak <= limit or limit == 0), None)
    least = min(plans(bundle, "ort", run), key=lambda plan: plan.peak)
    words = f"does not fit: needs {gigabytes(least.peak)} at least, has {gigabytes(limit)}"
    return Projection(
        bundle.name, recipe_of(bundle), device, threads, float(run.duration), run.steps, guidance,
        estimate(roofline, Workload(bundle, "ort", run).passes(), threads, rest, run.duration),
        None if plan is None else plan.peak, words if plan is None else plan.words,
        f"{found.processor}, ONNX Runtime {found.onnxruntime}, {found.date}", found.reference, found.miss,
    )  # fmt: skip

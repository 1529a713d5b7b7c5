"""One case of ``hunyuan.py``, in the process that was started for it: open, warm up, time guided steps, watch
memory."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgefoley.memory import peak_rss_mb, reset_peak_rss
from edgefoley.sampling import noise, sigmas
from edgefoley.types import Conditioning

FloatArray = npt.NDArray[np.float32]
SCHEDULE, GUIDANCE, SEED = 50, 4.5, 1
PERIOD = 0.02  # seconds between two looks at anonymous memory


@dataclass(frozen=True)
class Case:
    """``form``: "plain" computes as published, "savings" as we do. ``products``: PyTorch's convolutions as
    products of matrices, else as convolutions; the engines' graphs hold products."""

    engine: str
    precision: str
    form: str
    products: bool
    words: str


CASES: Mapping[str, Case] = {
    "torch-fp32-plain": Case("torch", "fp32", "plain", False, "PyTorch eager, as published"),
    "torch-fp32-savings": Case("torch", "fp32", "savings", False, "PyTorch eager, exact savings"),
    "torch-fp32-plain-products": Case(
        "torch", "fp32", "plain", True, "PyTorch eager, as published but convolutions as products"
    ),
    "torch-fp32-savings-products": Case(
        "torch", "fp32", "savings", True, "PyTorch eager, exact savings, convolutions as products"
    ),
    "torch-bf16-plain": Case("torch", "bf16", "plain", False, "PyTorch eager, as published"),
    "torch-bf16-plain-products": Case(
        "torch", "bf16", "plain", True, "PyTorch eager, as published but convolutions as products"
    ),
    "ort-fp32": Case("ort", "fp32", "savings", True, "ONNX Runtime, our bundle"),
    "ov-fp32": Case("ov", "fp32", "savings", True, "OpenVINO, our bundle"),
    "ov-bf16": Case("ov", "bf16", "savings", True, "OpenVINO, our bundle"),
}


@dataclass(frozen=True)
class Lengths:
    """Rows of a clip: sound tokens, pictures, sync rows of the conditional branch, text tokens of either
    branch; ``segment``: the sync rows that differ without a video."""

    tokens: int
    pictures: int
    sync: int
    words: int
    segment: int = 8


class Pass(NamedTuple):
    """A guided step: the velocity, None of a shortened network; seconds of the wall's clock and of all
    processors; those that went into opening graphs."""

    velocity: FloatArray | None
    wall: float
    busy: float
    opening: float = 0.0


class Stepper(Protocol):
    """What is timed. ``about``: what a row should say besides."""

    about: dict[str, Any]

    def warm_up(self, latents: FloatArray, sigma: float) -> Pass: ...

    def step(self, latents: FloatArray, sigma: float) -> Pass: ...


class RefusedError(Exception):
    """This machine cannot run the case; why, in words."""


class Memory:
    """Peaks of this process, phase by phase, in 10^6 bytes: all that is resident as the system keeps it,
    anonymous memory as seen every ``PERIOD``. Linux."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self._phase, self._stop = "", threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begin(self, phase: str) -> None:
        self._end()
        reset_peak_rss()
        self._phase = phase
        self.phases[phase] = {"anonymous_mb": anonymous_mb(), "total_mb": 0.0}
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._end()

    def _end(self) -> None:
        if self._phase:
            now = self.phases[self._phase]
            now["anonymous_mb"] = max(now["anonymous_mb"], anonymous_mb())
            now["total_mb"] = peak_rss_mb()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            now = self.phases[self._phase]
            now["anonymous_mb"] = max(now["anonymous_mb"], anonymous_mb())


def anonymous_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def features(dims: Mapping[str, int], n: Lengths) -> dict[str, FloatArray]:
    """What the encoders would say of a clip and of two texts of equal length; the same for every case.
    ``dims``: channels of text, visual and sync."""
    random = np.random.default_rng(SEED)
    rows = {"text": (n.words, dims["text"]), "negative": (n.words, dims["text"]),
            "visual": (n.pictures, dims["visual"]), "sync": (n.sync, dims["sync"])}  # fmt: skip
    return {name: random.standard_normal((1, *shape), dtype=np.float32) for name, shape in rows.items()}


def run_case(task: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the case ``task["case"]``; what ``hunyuan.py`` makes a row of."""
    case, n = CASES[task["case"]], Lengths(**task["lengths"])
    latents = np.ascontiguousarray(noise(SEED, (n.tokens, task["dims"]["latent"])).T[None])
    memory = Memory()
    memory.begin("open")
    start = time.perf_counter()
    try:
        stepper = stepper_of(case)(task, case, n)
    except RefusedError as refused:
        return {"refused": str(refused)}
    opened = time.perf_counter() - start
    found = timed(stepper, latents, task["steps"], memory)
    memory.close()
    velocity = found.pop("velocity")
    if velocity is not None:
        np.save(task["velocity"], velocity)
    return found | {"open_s": opened, "memory": memory.phases, **stepper.about}


def stepper_of(case: Case) -> Callable[..., Stepper]:
    """PyTorch is imported where it is measured, not beside the engines, whose memory is measured too."""
    if case.engine != "torch":
        return Engine
    import hunyuan_torch

    return hunyuan_torch.TorchPlain if case.form == "plain" else hunyuan_torch.TorchSavings


def timed(stepper: Stepper, latents: FloatArray, steps: int, memory: Memory) -> dict[str, Any]:
    """A warm-up and ``steps`` Euler steps; ``velocity``: that of the first noise level."""
    levels = sigmas(SCHEDULE)
    memory.begin("first")
    first = stepper.warm_up(latents, levels[0])
    memory.begin("step")
    velocity, passes = first.velocity, []
    begin = 0 if velocity is None else 1
    if first.velocity is not None:
        latents = latents + np.float32(levels[1] - levels[0]) * first.velocity
    for here, there in zip(levels[begin : begin + steps], levels[begin + 1 :], strict=False):
        made = stepper.step(latents, here)
        passes.append(made)
        if made.velocity is not None:
            velocity = made.velocity if velocity is None else velocity
            latents = latents + np.float32(there - here) * made.velocity
    return {
        "velocity": velocity,
        "first_s": first.wall,
        "wall_s": [made.wall for made in passes],
        "cpu_s": [made.busy for made in passes],
        "opening_s": [made.opening for made in passes],
    }


# --- the engines --------------------------------------------------------------------------------------------


class Watched:
    """A back end that notes how long opening graphs takes, and what OpenVINO says it compiled them for."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.name = backend, backend.name
        self.seconds, self.hints = 0.0, set[str]()

    def available(self) -> str | None:
        reason: str | None = self.backend.available()
        return reason

    def load(self, path: Path, options: Any) -> Any:
        start = time.perf_counter()
        session = self.backend.load(path, options)
        self.seconds += time.perf_counter() - start
        if self.name == "ov":  # the contract of back ends does not tell; the request knows its graph
            compiled = session._request.get_compiled_model()
            self.hints.add(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        return session


class Engine:
    """Our bundle through the pipeline's plan, its graphs and ``VelocityField``, as generate runs it. The
    conditions and all modulations are made within the warm-up."""

    def __init__(self, task: Mapping[str, Any], case: Case, n: Lengths) -> None:
        from edgefoley.backends.base import LoadOptions
        from edgefoley.bundle import open_bundle
        from edgefoley.pipeline import Pipeline
        from edgefoley.plan import parse_size
        from edgefoley.velocity import VelocityField

        self.watched = Watched(backend_of(case))
        bundle, seconds = open_bundle(task["bundle"]), Fraction(task["seconds"])
        options, limit = LoadOptions(threads=task["threads"]), task["memory_limit"]
        self.pipeline = Pipeline(bundle, self.watched, options, "low", limit and parse_size(limit))
        plan = self.pipeline.prepare(seconds, None, SCHEDULE, GUIDANCE)
        self.about: dict[str, Any] = {"warm_up": "one whole step"}
        if plan is not None:
            self.about |= {"plan": plan.words, "streamed": sorted(plan.streamed)}
        given = features(task["dims"], n)
        conditioning = Conditioning(seconds, given["text"], given["negative"], given["visual"], given["sync"])
        self.field = VelocityField(self.pipeline.graphs, conditioning, GUIDANCE, sigmas(SCHEDULE)[:-1])
        if len(self.field.places.spans) > 1:
            raise SystemExit("the clip is longer than the model's window; take fewer --seconds.")

    def warm_up(self, latents: FloatArray, sigma: float) -> Pass:
        return self.step(latents, sigma)

    def step(self, latents: FloatArray, sigma: float) -> Pass:
        before = self.watched.seconds
        wall, busy = time.perf_counter(), time.process_time()
        velocity = self.field(latents, sigma)
        made = Pass(velocity, time.perf_counter() - wall, time.process_time() - busy)
        if self.watched.hints:
            self.about["compiled_for"] = sorted(self.watched.hints)
        return made._replace(opening=self.watched.seconds - before)


def backend_of(case: Case) -> Any:
    """Raises RefusedError where the engine is not installed, or the processor lacks the precision."""
    from edgefoley.backends.ort import OrtBackend
    from edgefoley.backends.ov import OvBackend, OvOptions

    short = {"fp32": "f32", "bf16": "bf16"}[case.precision]
    backend = OrtBackend() if case.engine == "ort" else OvBackend(OvOptions(precision=short))  # type: ignore[arg-type]
    reason = backend.available()
    if reason is not None:
        raise RefusedError(reason)
    if short != "f32":
        able, hint = asked_of_openvino(short)
        if hint != short:
            raise RefusedError(
                f"this processor has no {case.precision} units: OpenVINO lists {', '.join(able)}, and a "
                f"product compiled with INFERENCE_PRECISION_HINT={short} reads back {hint}; edgefoley "
                "refuses what the processor lacks instead of computing in another precision unasked"
            )
    return backend


def asked_of_openvino(precision: str) -> tuple[list[str], str]:
    """What OpenVINO says the processor can compute in, and the precision that a product of matrices compiled
    with the hint ``precision`` says it got."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # else the import reports itself
    import openvino
    from openvino import opset13

    weight = opset13.constant(np.ones((64, 64), np.float32))
    rows = opset13.parameter([8, 64], np.float32)
    model = openvino.Model([opset13.matmul(rows, weight, False, False)], [rows])
    core = openvino.Core()
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")), str(hint)

"""What to use on a device: model, precision, steps, threads, how long a clip; and what will not work there.

Times are projected (``projection``), on this machine from its own calibration where there is one. What is not
measured in this project, as how much fewer steps cost in sound, is said to be so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from edgefoley.api import list_models
from edgefoley.backends.processor import has_vnni, processor
from edgefoley.bench.calibration import calibration
from edgefoley.bench.devices import Device, Note, read_device
from edgefoley.bench.edge_tpu import Verdict, judge
from edgefoley.bench.needs import longest_clip, with_needs
from edgefoley.bench.projection import Projection, carried, on_device
from edgefoley.bench.roofline import SHARED
from edgefoley.bench.session import recipe_of
from edgefoley.bench.workload import Workload
from edgefoley.bundle import PUBLISHED, Bundle, open_bundle
from edgefoley.errors import UsageError
from edgefoley.machine import this_machine
from edgefoley.memory import available_bytes
from edgefoley.plan import Run

Quality = Literal["fast", "balanced", "best"]
QUALITIES: Final[tuple[Quality, ...]] = ("fast", "balanced", "best")
LONGEST: Final = 3600  # seconds of clip up to which is looked
PATIENT: Final = 10.0  # seconds of work per second of clip that "balanced" puts up with
_PUBLISHED: Final = Path(__file__).parent / "published.toml"


@dataclass(frozen=True)
class Choice:
    """A model as it would be run. ``projection`` None: it is not installed, and ``seconds`` is a coarse
    figure from counted operations (None: not even that). ``longest``: seconds of the longest clip that fits.
    ``fits``: into memory. ``remark``: what speaks for or against it."""

    model: str
    num_steps: int
    guidance: float
    seconds: float | None
    fits: bool
    remark: str
    projection: Projection | None = None
    longest: int | None = None


@dataclass(frozen=True)
class Advice:
    """``chosen`` None: nothing fits. ``precision``: what to quantise to, in words; ``notes``: what will not
    work there and why; ``verdicts``: of an Edge TPU, by network."""

    device: Device | None
    name: str
    quality: Quality
    clip_seconds: float
    chosen: Choice | None
    others: tuple[Choice, ...]
    precision: str
    notes: tuple[Note, ...]
    verdicts: tuple[Verdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "advice", "device": "this" if self.device is None else self.device.key, "name": self.name,
            "quality": self.quality, "clip_seconds": self.clip_seconds,
            "chosen": None if self.chosen is None else _choice_json(self.chosen),
            "others": [_choice_json(choice) for choice in self.others], "precision": self.precision,
            "will_not_work": [vars(note) for note in self.notes],
            "edge_tpu": [{**vars(verdict), "possible": verdict.possible} for verdict in self.verdicts],
        }  # fmt: skip


def _choice_json(choice: Choice) -> dict[str, Any]:
    found = {name: value for name, value in vars(choice).items() if name != "projection"}
    return found | {"projection": None if choice.projection is None else choice.projection.to_json()}


def advise(device: str, clip_seconds: Fraction, quality: Quality) -> Advice:
    """Raises UsageError for an unknown device or quality, or a clip without length."""
    if quality not in QUALITIES:
        raise UsageError(f"quality must be one of {', '.join(QUALITIES)}, not {quality!r}.")
    if not 0 < clip_seconds <= LONGEST:
        raise UsageError(
            f"the clip must last above 0 and up to {LONGEST} seconds, not {float(clip_seconds):g}."
        )
    there = None if device == "this" else read_device(device)
    bundles = {
        info.name: with_needs(open_bundle(info.name), "ort") for info in list_models()
        if info.problem is None and "ort" in info.backends
    }  # fmt: skip
    choices = [_choice(bundle, there, clip_seconds, quality) for bundle in bundles.values()]
    choices += [_published(name, there, clip_seconds) for name in PUBLISHED if name not in bundles]
    chosen = _chosen(choices, quality, float(clip_seconds))
    others = tuple(choice for choice in choices if choice is not chosen)
    bundle = None if chosen is None else bundles[chosen.model]
    verdicts = () if there is None or not there.edge_tpu or bundle is None else _verdicts(bundle)
    name = this_machine().processor if there is None else there.name
    return Advice(
        there, name, quality, float(clip_seconds), chosen, others, _precision(there, bundle),
        _notes(there, verdicts), verdicts,
    )  # fmt: skip


def _choice(bundle: Bundle, device: Device | None, clip: Fraction, quality: Quality) -> Choice:
    """An installed model: "fast" takes half of its steps and no guidance, the others what the model asks
    for."""
    steps, guidance = bundle.defaults.steps, bundle.defaults.guidance
    remark = "steps and guidance that the model asks for"
    if quality == "fast":
        steps, guidance = max(1, -(-steps // 2)), min(guidance, 1.0)
        remark = "half the steps and one pass per step; what that costs in sound is not measured"
    run = Run(clip, True, (1280, 720), 1 if guidance <= 1 else 2, steps)
    found = on_device(bundle, device, run, guidance)
    limit = _limit(device)
    longest = None if limit is None else longest_clip(bundle, "ort", run, limit, LONGEST)
    fits = found.memory_bytes is not None
    return Choice(
        bundle.name, steps, guidance, found.estimate.seconds, fits,
        remark if fits else found.memory_words, found, longest,
    )  # fmt: skip


def _published(name: str, device: Device | None, clip: Fraction) -> Choice:
    """A model that is not converted here: what is known of it, and a coarse time from its counted
    operations."""
    with _PUBLISHED.open("rb") as file:
        facts: Mapping[str, Mapping[str, Any]] = tomllib.load(file)[name]
    value = {key: float(figure["value"]) for key, figure in facts.items()}
    found = calibration()
    roofline = found.roofline if device is None else carried(found, device)
    threads = this_machine().cores if device is None else round(device.cores.value)
    seconds = None
    if "step_tflop" in value:
        rate = roofline.rate("matmul", (500, 1536, 1536)) * threads ** SHARED["compute"]
        seconds = value["steps"] * value["step_tflop"] * 1e12 * max(1.0, float(clip) / 10) / rate
    limit = _limit(device)
    least = value.get("memory_gb", value["resident_gb"]) * 1e9
    fits = limit is None or limit >= least
    remark = (
        f"not installed: a download of {value['download_gb']:g} GB to convert (docs/hunyuan.md; its licence "
        f"excludes the EU, the UK and South Korea); {value['bundle_gb']:g} GB on the disk"
    )
    if limit is not None and limit < value["resident_gb"] * 1e9:
        remark += (
            f"; with less than {value['resident_gb']:g} GB of memory its parts are read again at every step"
            if fits else f"; needs {least / 1e9:g} GB of memory at least"
        )  # fmt: skip
    return Choice(name, int(value["steps"]), 4.5, seconds, fits, remark)


def _limit(device: Device | None) -> int | None:
    return available_bytes() if device is None else device.usable_bytes


def _chosen(choices: list[Choice], quality: Quality, clip: float) -> Choice | None:
    """Of installed models that fit: for "fast" the quickest, for "best" the largest, for "balanced" the
    largest that works at most ``PATIENT`` times as long as the clip lasts (the quickest where none does)."""
    there = [choice for choice in choices if choice.projection is not None and choice.fits]
    if not there:
        return None
    quickest = min(there, key=lambda choice: choice.seconds or 0.0)
    if quality == "fast":
        return quickest
    soon = [choice for choice in there if (choice.seconds or 0.0) <= PATIENT * clip]
    wanted = there if quality == "best" else soon or [quickest]
    return max(wanted, key=lambda choice: choice.seconds or 0.0)


def _precision(device: Device | None, bundle: Bundle | None) -> str:
    """Which recipe suits the processor, and what the model at hand has."""
    if device is None:
        flags = processor()[1] or set()
        dots = "asimddp" in flags or has_vnni(flags)
        arm = "asimd" in flags or this_machine().processor.lower().startswith("apple")
    else:
        dots, arm = device.dot_products, device.architecture != "x86_64"
    if dots:
        words = "INT8 (recipe int8-dynamic): the processor has 8-bit dot products"
    elif arm:
        words = "INT8 (recipe int8-dynamic): without 8-bit dot products it saves memory and some time"
    else:
        words = (
            "INT8 (recipe x86-avx2): without VNNI 8-bit weights of full range overflow or take slow kernels"
        )
    own = None if bundle is None else recipe_of(bundle)
    if bundle is None:
        return words
    if own in (None, "fp32"):
        return (
            f"{words}; {bundle.name} is in float32: edgefoley quantize {bundle.name} (docs/quantization.md)"
        )
    return f"{words}; {bundle.name} comes in {own}"


def _verdicts(bundle: Bundle) -> tuple[Verdict, ...]:
    """Every network once."""
    work = Workload(bundle, "ort", Run(Fraction(10), True, (1280, 720), 1, bundle.defaults.steps))
    names = dict.fromkeys(one.component for one in work.passes())
    return tuple(judge(work.single(name)) for name in names)


_NO_GPU: Final = Note(
    "GPU", "there is no GPU back end in this version: everything runs on the processor", "edgefoley doctor"
)
_NO_TPU: Final = Note(
    "Edge TPU",
    "there is no back end for it, and no export to TensorFlow Lite; what its compiler would make of each "
    "network is listed, so that nobody has to find out",
    "edgefoley doctor",
)


def _notes(device: Device | None, verdicts: tuple[Verdict, ...]) -> tuple[Note, ...]:
    if device is None:
        return (_NO_GPU,)
    notes = list(device.notes)
    if not any(note.topic == "GPU" for note in notes):
        notes.append(replace(_NO_GPU))
    if verdicts:
        notes.append(_NO_TPU)
    return tuple(notes)

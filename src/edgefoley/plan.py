"""Whether a run fits into a limit of memory, and how: computed before anything is opened.

A stage needs the process itself, the clip's frames or features, the weights of the networks that are open at
once, and what those compute with. The manifest says how many numbers a network's file holds in which type
(``weights``) and, for some lengths, the largest sum of its intermediate values (``activations``, counted from
the graph when it was exported); what an engine makes of both was measured (``ENGINES``). The parts of a plan
are tried in this order:

    1. every network stays open, for the next clip
    2. each stage's networks are opened, used and freed
    3. long clips are read and encoded in pieces of ``PIECE`` seconds instead of at once
    4. parts of the transformer, as few as possible, are opened one after the other, at every step

None changes a result by a single bit. What does not fit even so is refused, with what would fit.

Layer 3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from edgefoley.bundle import Bundle
from edgefoley.encoders import PIECE, SYNC_CHUNK, can_encode_pieces
from edgefoley.errors import UsageError
from edgefoley.shots import BATCH as SHOT_BATCH
from edgefoley.shots import THUMB
from edgefoley.timeline import DECODE_CHUNK, grid_count, segment_count
from edgefoley.velocity import Spans

DECODER_PICTURES = 24  # pictures that a video decoder and its threads hold, 1.5 bytes per pixel
SOUND_COPIES = 10  # of 4 bytes per sample, where loudness is set and the sound is written; 9 were measured
SHORTEST = Fraction(3, 10)  # seconds; no shorter clip is suggested


@dataclass(frozen=True)
class Engine:
    """What a back end needs, measured with benchmarks/memory.py on networks of XL's width: ``base`` bytes of
    the process with the engine and no network; bytes in memory for each number stored, by its type; what a
    run takes for each byte of intermediate values; what opening a network takes on the way, for each number,
    at the most (it is high where one tensor is most of a network), and ``widening`` besides for each that is
    widened from 8 bits in two operations."""

    base: int
    weights: Mapping[str, float]
    activations: float
    opening: float
    widening: float = 4.0


ENGINES: Mapping[str, Engine] = {
    "ort": Engine(200_000_000, {"fp32": 4.7, "bf16": 4.9, "fp16": 4.9, "int8": 1.2}, 1.4, 1.3),
    "ov": Engine(300_000_000, {"fp32": 9.6, "bf16": 9.6, "fp16": 9.6}, 1.4, 0.0),
    "fake": Engine(200_000_000, {"fp32": 4.7, "bf16": 4.9, "fp16": 4.9}, 1.4, 1.3),
}


@dataclass(frozen=True)
class Run:
    """What is to be run: seconds of sound, whether there is a video and how large its pictures are (width,
    height), passes per step (2 with guidance), steps."""

    duration: Fraction
    video: bool = True
    picture: tuple[int, int] = (1920, 1080)
    branches: int = 2
    steps: int = 50


@dataclass(frozen=True)
class Stage:
    """Bytes of one stage at its peak, by what they are for."""

    name: str
    base: int
    weights: int
    activations: int
    data: int

    @property
    def total(self) -> int:
        return self.base + self.weights + self.activations + self.data


@dataclass(frozen=True)
class Plan:
    """How to run: ``keep`` networks open between stages; parts of chains that are ``streamed``, see
    ``graphs.Graphs``; read and encode in ``pieces``. ``stages``: what each needs."""

    keep: bool
    streamed: frozenset[str]
    pieces: bool
    stages: tuple[Stage, ...]

    @property
    def peak(self) -> int:
        """Bytes of the stage that needs most."""
        return max(stage.total for stage in self.stages)

    @property
    def words(self) -> str:
        """How it runs and what it needs at most, for people."""
        worst = max(self.stages, key=lambda stage: stage.total)
        ways = ["all networks stay open" if self.keep else "networks are opened and freed stage by stage"]
        parts = sum(name.startswith("denoiser") for name in self.streamed)
        ways += [f"{parts} parts of the transformer are opened one at a time, at every step"] * bool(parts)
        ways += ["the clip is read in pieces"] * self.pieces
        return f"{gigabytes(self.peak)} at most ({worst.name}): {', '.join(ways)}"


def states_its_needs(bundle: Bundle) -> bool:
    """Whether the manifest says enough of every network to plan with."""
    graphs = [component for component in bundle.components.values() if not component.parts]
    return all({"weights", "activations"} <= component.attributes.keys() for component in graphs)


def make_plan(bundle: Bundle, backend: str, run: Run, limit: int, keep: bool = True) -> Plan:
    """The first plan of those above that needs no more than ``limit`` bytes; ``keep`` False: from the second
    on. Raises UsageError when none does, or when the model does not state what it needs."""
    if not states_its_needs(bundle):
        raise UsageError(
            f"model {bundle.name!r} does not state what memory its networks need, so no limit can be kept. "
            "Leave the memory limit out."
        )
    tried = list(plans(bundle, backend, run))
    for plan in tried:
        if plan.peak <= limit and (keep or not plan.keep):
            return plan
    raise UsageError(_refusal(bundle, backend, run, limit, min(tried, key=lambda plan: plan.peak)))


def plans(bundle: Bundle, backend: str, run: Run) -> Iterator[Plan]:
    """All plans, in the order in which they are tried."""
    needs = Needs(bundle, backend, run)
    yield needs.plan(True, frozenset(), False)
    once, parts = (bundle.components[name].parts for name in ("timestep", "denoiser"))
    # All that stays open, then all but two that take turns, three, …; what runs once is never kept.
    for turns in (0, *range(2, len(parts) + 1)):
        streamed = frozenset((*once, *parts[len(parts) - turns :]))
        yield needs.plan(False, streamed, False)
        if run.video and run.duration > PIECE and can_encode_pieces(bundle):
            yield needs.plan(False, streamed, True)


class Needs:
    """Counts what a run's graphs and stages need."""

    def __init__(self, bundle: Bundle, backend: str, run: Run) -> None:
        self.bundle, self.run = bundle, run
        self.engine = ENGINES.get(backend, ENGINES["ov"])  # the dearer one, where nothing was measured
        places = Spans(bundle, run.duration)
        self.count = places.count
        self.tokens = places.size
        self.passes = _full_windows(places) * run.branches
        timeline, sync = bundle.timeline, bundle.components["sync"].attributes
        seconds = self.tokens / places.per_second
        frames = math.ceil(seconds * timeline.sync_rate)
        if places.segmented:
            rows = sync["segment_rows"] * segment_count(
                frames, sync["segment_frames"], sync["segment_stride"]
            )
        else:
            rows = frames
        text = bundle.components["text"]
        self.sizes = {
            "token": self.tokens,
            "visual": grid_count(seconds, timeline.visual_rate) + 1,
            "sync": rows,
            "text": int(text.attributes.get("kept_tokens", text.attributes["activations"][-1][0])),
            "time": run.steps + 1,
        }

    def plan(self, keep: bool, streamed: frozenset[str], pieces: bool) -> Plan:
        run, base = self.run, self.engine.base
        frames = self._frames(min(PIECE + 1, run.duration) if pieces else run.duration) if run.video else 0
        decoding = DECODER_PICTURES * run.picture[0] * run.picture[1] * 3 // 2 if run.video else 0
        conditions, clocks = self._conditions(), self._bytes("timestep", "denoiser")
        sound = 4 * self.bundle.timeline.samples(run.duration)
        stages = [self._stage("encode", ["text"], streamed, 0 if pieces else frames)]
        if run.video and pieces:  # pieces take turns between the two encoders of pictures: both stay open
            stages.append(self._stage("encode", ["visual", "sync"], streamed, frames + decoding))
        elif run.video:
            stages.insert(0, Stage("read", base, 0, 0, frames + decoding))
            stages += [self._stage("encode", [name], streamed, frames) for name in ("visual", "sync")]
        stages += [
            self._stage("denoise", ["timestep"], streamed, clocks),
            self._stage("denoise", ["conditioner"], streamed, clocks + conditions),
            self._stage("denoise", ["denoiser"], streamed, clocks + conditions + self._passes()),
            self._stage("decode", ["decoder"], streamed, 2 * sound),
            Stage("write", base, 0, 0, SOUND_COPIES * sound),
        ]
        if keep:
            graphs = [name for name, component in self.bundle.components.items() if not component.parts]
            every = sum(self.weights_of(name) for name in graphs)
            stages = [replace(stage, weights=every) for stage in stages]
        kept = self._features() + self._thumbs()
        stages = [replace(stage, data=stage.data + kept) for stage in stages]
        return Plan(keep, streamed, pieces, tuple(stages))

    def sizes_of(self, graph: str) -> dict[str, int]:
        """Length of every free axis in the longest run of ``graph``, one component that is no chain."""
        attributes = self.bundle.components[graph].attributes
        name = graph.partition(".")[0]
        sizes = dict(self.sizes)
        if name == "text":
            sizes["text"] = int(attributes["activations"][-1][0])
        elif name in ("visual", "sync"):
            most = int(attributes.get("batch", SYNC_CHUNK + 2 * int(attributes.get("context_frames", 0))))
            sizes |= dict.fromkeys(("picture", "segment", "frame"), most)
        elif name == "decoder":
            most = DECODE_CHUNK + 2 * (int(attributes["context_latents"]) + 1)
            sizes["latent"] = min(self.count, most)
        return sizes

    def weights_of(self, graph: str) -> int:
        """Bytes of its weights as the engine holds them."""
        stored: Mapping[str, int] = self.bundle.components[graph].attributes["weights"]
        dear = max(self.engine.weights.values())  # for a type that was not measured
        return math.ceil(sum(self.engine.weights.get(kind, dear) * count for kind, count in stored.items()))

    def activations_of(self, graph: str) -> int:
        """Bytes of its longest run, with what the engine needs besides, or of opening it if that is more."""
        sizes, name = self.sizes_of(graph), graph.partition(".")[0]
        axis = {
            "text": "text",
            "visual": "picture",
            "sync": "segment",
            "timestep": "time",
            "decoder": "latent",
        }
        attributes = self.bundle.components[graph].attributes
        running = self.engine.activations * interpolated(
            attributes["activations"], sizes[axis.get(name, "token")]
        )
        stored: Mapping[str, int] = attributes["weights"]
        opening = self.engine.opening * sum(stored.values())
        opening += self.engine.widening * stored.get("int8 widened", 0)
        return math.ceil(max(running, opening))

    def _stage(self, name: str, components: Sequence[str], streamed: frozenset[str], data: int) -> Stage:
        weights, activations = 0, 0
        for component in components:
            graphs = self._graphs(component)
            turns = [self.weights_of(graph) for graph in graphs if graph in streamed]
            weights += sum(self.weights_of(graph) for graph in graphs if graph not in streamed)
            weights += max(turns, default=0)
            activations = max(activations, *(self.activations_of(graph) for graph in graphs))
        return Stage(name, self.engine.base, weights, activations, data)

    def _graphs(self, component: str) -> tuple[str, ...]:
        return self.bundle.components[component].parts or (component,)

    def _frames(self, seconds: Fraction) -> int:
        total = 0
        for view in self.bundle.views().values():
            channels = 3 if view.pixel == "rgb" else 1
            total += grid_count(seconds, view.rate) * view.size[0] * view.size[1] * channels
        return total

    def _features(self) -> int:
        """What the encoders said of the whole clip."""
        if not self.run.video:
            return 0
        timeline, condition = self.bundle.timeline, self.bundle.components["conditioner"]
        pictures = grid_count(self.run.duration, timeline.visual_rate) * condition.width("visual_feat")
        return 4 * (
            pictures + grid_count(self.run.duration, timeline.sync_rate) * condition.width("sync_feat")
        )

    def _thumbs(self) -> int:
        """The small pictures in which cuts are looked for, and what the search makes of some at a time."""
        run, timeline = self.run, self.bundle.timeline
        if not run.video or run.duration <= timeline.window:
            return 0
        pixels = (2 * THUMB) ** 2  # a side is at least THUMB and less than twice that
        return pixels * (grid_count(run.duration, timeline.sync_rate) + 6 * 4 * SHOT_BATCH)

    def _conditions(self) -> int:
        """The conditioner's outputs of all passes. What has a text axis is the same in all windows."""
        made = self.bundle.components["conditioner"].outputs
        total = 0
        for name, spec in self.bundle.components["denoiser"].inputs.items():
            if name in made:
                times = self.run.branches if "text" in spec.shape else self.passes
                total += times * self._tensor(spec.shape)
        return total

    def _bytes(self, source: str, taker: str) -> int:
        """What ``taker`` takes of the outputs of ``source``."""
        made, taken = self.bundle.components[source].outputs, self.bundle.components[taker].inputs
        return sum(self._tensor(spec.shape) for name, spec in made.items() if name in taken)

    def _passes(self) -> int:
        """What passes between the denoiser's parts, and the latents of all windows."""
        parts = [self.bundle.components[name] for name in self._graphs("denoiser")]
        between = max(sum(self._tensor(spec.shape) for spec in part.outputs.values()) for part in parts)
        return (self.passes + 1) * between + 4 * self.passes * self._tensor((self.tokens,))

    def _tensor(self, shape: Sequence[int | str]) -> int:
        """Bytes; an axis of unknown name counts as long as the longest."""
        longest = max(self.sizes.values())
        return 4 * math.prod(self.sizes.get(n, longest) if isinstance(n, str) else n for n in shape)


def _full_windows(places: Spans) -> int:
    """Windows of full length that hold as many tokens as all windows together can, wherever the video cuts:
    dividing at cuts makes no more tokens (``timeline.shot_windows``)."""
    return math.ceil(sum(stop - start for start, stop in places.spans) / places.size)


def interpolated(table: Sequence[Sequence[int]], length: int) -> float:
    """Value at ``length`` of a table of [length, value], straight between its rows (what grows faster than
    the length is never below that). Beyond the last row it grows with the square of the length."""
    if length <= table[0][0]:
        return float(table[0][1])
    for (left, low), (right, high) in pairwise(table):
        if length <= right:
            return low + (high - low) * (length - left) / (right - left)
    return float(table[-1][1] * (length / table[-1][0]) ** 2)


def _refusal(bundle: Bundle, backend: str, run: Run, limit: int, least: Plan) -> str:
    """What was asked, what it needs at least, and what would fit."""
    worst = max(least.stages, key=lambda stage: stage.total)
    ways = [f"a limit of {gigabytes(least.peak)} or more"]
    shorter = _longest_that_fits(bundle, backend, run, limit)
    if shorter is not None:
        ways.append(f"a clip of up to {float(shorter):.1f} s (--start, --end)")
    size = int(bundle.components["denoiser"].attributes.get("blocks_per_part", 1))
    if size > 1 and worst.name == "denoise" and least.peak - worst.weights * (size - 1) // size <= limit:
        ways.append("the model converted with smaller parts (models convert --group 1)")
    return (
        f"{float(run.duration):.1f} s of sound with model {bundle.name!r} need at least "
        f"{gigabytes(least.peak)} of memory ({worst.name}: weights {gigabytes(worst.weights)}, "
        f"intermediate values {gigabytes(worst.activations)}, clip and features {gigabytes(worst.data)}, "
        f"program {gigabytes(worst.base)}); the limit is {gigabytes(limit)}. What would fit: "
        + "; ".join(ways)
        + "."
    )


def _longest_that_fits(bundle: Bundle, backend: str, run: Run, limit: int) -> Fraction | None:
    """In tenths of a second; None when not even the shortest clip fits."""

    def fits(tenths: int) -> bool:
        shorter = replace(run, duration=Fraction(tenths, 10))
        return any(plan.peak <= limit for plan in plans(bundle, backend, shorter))

    low, high = math.ceil(10 * SHORTEST), math.floor(10 * run.duration)
    if low >= high or not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Fraction(low, 10)


def gigabytes(size: int) -> str:
    """Bytes in GB (10^9), rounded up to two digits after the point, so that what is printed is enough."""
    return f"{math.ceil(size / 1e7) / 100:.2f} GB"


def parse_size(text: str | int) -> int:
    """Bytes from a number, or from "4GB", "3.5 GiB", "800M". Raises UsageError."""
    if isinstance(text, int) and not isinstance(text, bool):
        size = text
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
        if match is None:
            raise UsageError(f"{text!r} is no amount of memory; write for example 4GB, 3.5GiB or 800MB.")
        unit = (1024 if match[3] else 1000) ** " kmgt".index(match[2].lower() or " ")
        size = int(Fraction(match[1]) * unit)
    if size <= 0:
        raise UsageError(f"a memory limit of {text!r} is nothing; write for example 4GB.")
    return size

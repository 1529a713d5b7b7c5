"""Rendered scenes with exact event times: what the sync encoder, and later the generator, learn timing from.

`render_scene(seed, ...)` is a pure function of its arguments. Frames are exposed at (centred on) their
timestamps; events come from analytic motion (scenes.motion), not from the frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.contacts import Collide, Drop, Impact, Program, Scrape
from edgefoley.train.scenes.draw import Canvas, Sensor, Shot, affine, chain
from edgefoley.train.scenes.motion import Event, Rng
from edgefoley.train.scenes.programs import Burst, Quiet, Step, Texture, Vocal

__all__ = ["ARCHETYPES", "FRAME_RATES", "Event", "Scene", "grid", "render_scene"]

FRAME_RATES = (12.0, 15.0, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0)
ACTIVITY_RATE = 50  # values per second of Scene.activity
RENDERER_VERSION = 2  # raised whenever the same seed would draw something else
_SHARES = {
    "impact": 0.34,
    "scrape": 0.06,
    "drop": 0.08,
    "bounce": 0.05,
    "collide": 0.05,
    "step": 0.10,
    "vocal": 0.12,
    "burst": 0.10,
    "texture": 0.04,
    "quiet": 0.06,
}
ARCHETYPES = tuple(_SHARES)


@dataclass(frozen=True)
class Scene:
    """frames (F, size, size) uint8 gray; timestamps (F,) float64 s; events in time order; activity (A,)
    float32 0..1 at 50 Hz.
    """

    frames: NDArray[np.uint8]
    timestamps: NDArray[np.float64]
    events: list[Event]
    activity: NDArray[np.float32]
    archetype: str
    seconds: float


def _program(rng: Rng, archetype: str, seconds: float) -> Program:
    if archetype == "bounce":
        return Drop(rng, seconds, dribble=True)
    kinds: dict[str, type[Program]] = {
        "impact": Impact,
        "scrape": Scrape,
        "drop": Drop,
        "collide": Collide,
        "step": Step,
        "vocal": Vocal,
        "burst": Burst,
        "texture": Texture,
        "quiet": Quiet,
    }
    return kinds[archetype](rng, seconds)  # type: ignore[call-arg]


def _clock(rng: Rng, seconds: float, fps: float) -> NDArray[np.float64]:
    """Frame timestamps: constant or variable rate, sometimes with dropped frames; the first is at 0 s."""
    times = np.arange(math.ceil(seconds * fps - 1e-9)) / fps
    if rng.random() < 0.12:
        times[1:] += rng.uniform(-0.35, 0.35, len(times) - 1) / fps
    if rng.random() < 0.12:
        keep = rng.random(len(times)) > rng.uniform(0.02, 0.2)
        keep[0] = True
        times = times[keep]
    return times


class _Stage:
    """Program, distractors and shots of one scene; `expose` gives the picture at one instant."""

    def __init__(self, rng: Rng, seconds: float, size: int, archetype: str) -> None:
        self.program = _program(rng, archetype, seconds)
        self.others = Quiet(rng, seconds, int(rng.integers(1, 3))) if rng.random() < 0.35 else None
        cuts = int(rng.integers(1, 4)) if rng.random() < 0.12 else 0
        self.starts = [0.0, *sorted(float(x) for x in rng.uniform(0.3, seconds, cuts))]
        self.shots = [Shot(rng, size) for _ in self.starts]
        self.canvas = Canvas(size)
        self.times = [e.time_s for e in self.program.events]
        self.strengths = [e.strength for e in self.program.events]

    def _jolt(self, t: float) -> float:
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        u = t - self.times[i] if i >= 0 else 1.0
        return self.strengths[i] * math.exp(-u / 0.06) * math.cos(50 * u) if u < 0.5 else 0.0

    def expose(self, t: float) -> NDArray[np.uint8]:
        shot = self.shots[max(0, int(np.searchsorted(self.starts, t, side="right")) - 1)]
        camera, canvas = shot.camera(t, self._jolt(t)), self.canvas
        shift = self.program.scroll(t) * abs(shot.place[0, 0])
        canvas.begin(shot.background, shot.cover, chain(camera, affine(-shift, 0)) if shift else camera)
        canvas.view = camera
        if self.others is not None:
            self.others.draw(canvas, t)
        canvas.view = chain(camera, shot.place)
        self.program.draw(canvas, t)
        return canvas.image


def scene_events(seed: int, seconds: float) -> tuple[list[Event], NDArray[np.float32]]:
    """Events and activity (50 Hz) of ``render_scene(seed, seconds)`` without drawing it, for its sound."""
    rng = np.random.default_rng(seed)
    rng.choice(FRAME_RATES)
    kind = str(rng.choice(ARCHETYPES, p=list(_SHARES.values())))
    program = _program(rng, kind, seconds)
    return program.events, _activity(program, seconds)


def _activity(program: Program, seconds: float) -> NDArray[np.float32]:
    return np.array(
        [program.activity(k / ACTIVITY_RATE) for k in range(math.ceil(seconds * ACTIVITY_RATE))], np.float32
    )


def render_scene(
    seed: int, seconds: float, fps: float | None = None, size: int = 112, archetype: str | None = None
) -> Scene:
    """Render one random scene.

    seed: any non-negative integer; the same arguments give the same bytes. seconds: 0.5 or more. fps:
    nominal source frame rate (None draws one of FRAME_RATES). archetype: one of ARCHETYPES (None draws one).
    Raises ValueError for an unknown archetype, or a duration or rate out of range.
    """
    if archetype is not None and archetype not in _SHARES:
        raise ValueError(f"unknown archetype {archetype!r}; known: {', '.join(ARCHETYPES)}")
    if not seconds >= 0.5 or (fps is not None and not 1 <= fps <= 240):
        raise ValueError(f"need seconds >= 0.5 and 1 <= fps <= 240, got {seconds} s and {fps} fps")
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    rate = float(rng.choice(FRAME_RATES)) if fps is None else float(fps)
    kind = str(rng.choice(ARCHETYPES, p=list(_SHARES.values())))
    kind = kind if archetype is None else archetype
    stage, sensor, times = _Stage(rng, seconds, size, kind), Sensor(rng, size), _clock(rng, seconds, rate)
    shutter = float(rng.uniform(0.0, 0.95)) / rate * (rng.random() < 0.7)
    parts = 1 if shutter < 0.004 else 2 if shutter < 0.012 else 3
    offsets = ((np.arange(parts) + 0.5) / parts - 0.5) * shutter
    repeat = float(rng.uniform(0.03, 0.25)) if rng.random() < 0.08 else 0.0  # frames a converter showed twice
    frames = np.zeros((len(times), size, size), np.uint8)
    for i, t in enumerate(times):
        if i and rng.random() < repeat:
            frames[i] = frames[i - 1]
            continue
        images = [stage.expose(float(t + d)) for d in offsets]
        image = (
            images[0]
            if parts == 1
            else np.asarray(np.mean(images, axis=0, dtype=np.float32)).astype(np.uint8)
        )
        frames[i] = sensor.develop(image, i, float(t))
    return Scene(frames, times, stage.program.events, _activity(stage.program, seconds), kind, seconds)


def grid_index(
    timestamps: NDArray[np.float64], count: int, rate: int = 25
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Newest frame at or before k / rate for k < count (the first frame before any) -> (indices (count,),
    ages (count,) s >= 0).
    """
    instants = np.arange(count) / rate
    index = np.clip(np.searchsorted(timestamps, instants + 1e-6, side="right") - 1, 0, len(timestamps) - 1)
    return index, np.maximum(instants - timestamps[index], 0.0).astype(np.float32)


def grid(scene: Scene, rate: int = 25) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The scene on the sync grid: frames (S, size, size) and their ages (S,) in seconds, S = ceil(seconds *
    rate).
    """
    index, ages = grid_index(scene.timestamps, math.ceil(scene.seconds * rate - 1e-9), rate)
    return scene.frames[index], ages

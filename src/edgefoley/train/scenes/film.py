"""Films of scenes: a stage from one of the engines, seen by a camera that cuts, shakes, blurs and compresses.

`film` is a pure function of its arguments; `plan` gives its truth without drawing. Places of contacts follow
the framing, and what a cut or a bar of the letterbox removes from the picture is outside 0..1 in the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes import flat
from edgefoley.train.scenes.animals import Quiet
from edgefoley.train.scenes.clock import FRAME_RATES, frame_times
from edgefoley.train.scenes.draw import Canvas, affine
from edgefoley.train.scenes.framing import Bars, Framing
from edgefoley.train.scenes.look import Image
from edgefoley.train.scenes.motion import Rng, Wobble
from edgefoley.train.scenes.program import Cast
from edgefoley.train.scenes.sensor import Sensor
from edgefoley.train.scenes.stage import Stage
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Contact, Film, Source, Truth

RENDERER_VERSION: Final = 5  # raised whenever the same seed would draw something else
QUIET: Final = "quiet"  # no source at all; not one of truth.ACTIONS, since nothing acts

_CONTACT_SHARES: Final = {
    "strike": 9, "hammer": 4, "chop": 4, "clap": 4, "punch": 3, "drop": 7, "bounce": 5, "roll": 2, "slide": 2,
    "stack": 3, "collide": 4, "walk": 6, "run": 4, "jump": 3, "gallop": 3, "keys": 4, "door": 3, "drawer": 2,
    "scrape": 4, "shake": 3, "vocal": 10, "burst": 6, "break": 4, "flap": 3,
}  # fmt: skip
_STREAM_SHARES: Final = {
    "pour": 2, "engine": 3, "rotor": 1, "flames": 2, "rain": 2, "waves": 1, "flow": 2, "wind": 1, "crowd": 2,
    "bubbles": 1, "steam": 1,
}  # fmt: skip
_REST_SHARES: Final = {QUIET: 3, "ambience": 2}


@dataclass(frozen=True)
class Engine:
    """A renderer of stages: which of truth.ACTIONS it can show, and how a stage is made."""

    actions: tuple[str, ...]
    stage: Callable[[Rng, float, int, str, str, str], Stage]


@cache
def engines() -> Mapping[str, Engine]:
    """The engines by name: "flat" (drawn) and "bodies" (simulated rigid bodies, needs pybullet)."""
    from edgefoley.train.scenes import bodies

    known = {"flat": Engine(flat.ACTIONS, flat.stage), "bodies": Engine(bodies.ACTIONS, bodies.stage)}
    return MappingProxyType(known)


def draw_action(rng: Rng) -> str:
    """An action at random: 68 % contacts, 22 % streams, 10 % ambience or "quiet" (no source)."""
    kind = rng.random()
    shares = _CONTACT_SHARES if kind < 0.68 else _STREAM_SHARES if kind < 0.9 else _REST_SHARES
    known = {QUIET}.union(*(engine.actions for engine in engines().values()))
    shown = {action: share for action, share in shares.items() if action in known}
    odds = np.array([*shown.values()], np.float64)
    return str(rng.choice([*shown], p=odds / odds.sum()))


@dataclass(frozen=True)
class _Segment:
    """A stage of the named engine that is seen from start to end (s of the film)."""

    start: float
    end: float
    stage: Stage
    engine: str


class _Script:
    """Everything that is decided before the first picture: segments, framings, and the truth."""

    def __init__(self, seed: int, seconds: float, size: int, cast: Cast | None) -> None:
        if not seconds >= 0.5:
            raise ValueError(f"need seconds >= 0.5, got {seconds}")
        rng = np.random.default_rng([seed, 0])
        drawn = draw_action(rng)
        self.cast = Cast(drawn) if cast is None or not cast.action else cast
        self.seconds, self.size = seconds, size
        self.layout = "alone"
        self.segments = self._segments(rng)
        self.framings = [
            Framing(
                rng,
                s.end - s.start,
                s.engine != "flat",
                [c.place for c in s.stage.truth.contacts],
            )
            for s in self.segments
        ]
        self.bars = Bars(rng)
        self.truth = self._truth()

    def _segment(self, rng: Rng, start: float, end: float, cast: Cast) -> _Segment:
        if cast.action == QUIET:
            return _Segment(start, end, flat.quiet(rng, end - start, self.size), "flat")
        able = [name for name, engine in engines().items() if cast.action in engine.actions]
        if not able:
            known = sorted({QUIET}.union(*(engine.actions for engine in engines().values())))
            raise ValueError(f"no engine shows {cast.action!r}; known: {', '.join(known)}")
        name = able[int(rng.integers(len(able)))]
        make = engines()[name].stage
        stage = make(rng, end - start, self.size, cast.action, cast.striker, cast.struck)
        return _Segment(start, end, stage, name)

    def _segments(self, rng: Rng) -> list[_Segment]:
        """Mostly one stage; sometimes a silent one before it, another after it, or two in one picture."""
        end, cast, fate = self.seconds, self.cast, rng.random()
        at = float(rng.uniform(0.3, 0.7)) * end
        if cast.action in _REST_SHARES or end < 2.0 or fate > 0.16:
            return [self._segment(rng, 0.0, end, cast)]
        if fate < 0.05:
            self.layout = "after silence"
            return [self._segment(rng, 0.0, at, Cast(QUIET)), self._segment(rng, at, end, cast)]
        other = Cast(draw_action(rng))
        while other.action in _REST_SHARES:
            other = Cast(draw_action(rng))
        if fate < 0.11 or cast.action not in flat.ACTIONS or other.action not in flat.ACTIONS:
            self.layout = f"then {other.action}"
            return [self._segment(rng, 0.0, at, cast), self._segment(rng, at, end, other)]
        self.layout = f"beside {other.action}"
        return [_Segment(0.0, end, flat.duet(rng, end, self.size, cast, other), "flat")]

    def _truth(self) -> Truth:
        sources: list[Source] = []
        contacts: list[Contact] = []
        rows: list[NDArray[np.float32]] = []
        count = math.ceil(self.seconds * ACTIVITY_RATE)
        for segment, framing in zip(self.segments, self.framings, strict=True):
            truth, span = segment.stage.truth, segment.end - segment.start
            for contact in truth.contacts:
                if contact.time_s < span:
                    place, zoom = framing.place(contact.place, contact.time_s)
                    contacts.append(
                        replace(
                            contact,
                            time_s=segment.start + contact.time_s,
                            source=len(sources) + contact.source,
                            place=self.bars.place(place),
                            distance_m=contact.distance_m / zoom,
                        )
                    )
            clock = np.arange(count) / ACTIVITY_RATE
            seen = (clock >= segment.start) & (clock < segment.end)
            for row in truth.activity:
                here = np.interp(clock - segment.start, np.arange(len(row)) / ACTIVITY_RATE, row)
                rows.append(np.where(seen, here, 0.0).astype(np.float32))
            sources += truth.sources
        contacts.sort(key=lambda c: c.time_s)
        activity = np.stack(rows) if rows else np.zeros((0, count), np.float32)
        return Truth(tuple(sources), tuple(contacts), activity, self.seconds)

    def expose(self, t: float) -> Image:
        """The picture at time t of the film, before the sensor."""
        k = max((i for i, s in enumerate(self.segments) if s.start <= t), default=0)
        segment = self.segments[k]
        return self.framings[k].apply(segment.stage.expose(t - segment.start), t - segment.start)

    def look(self) -> dict[str, str]:
        """What was drawn, in words."""
        looks = [s.stage.look for s in self.segments]
        keys = dict.fromkeys(k for look in looks for k in look)
        joined = {k: ", ".join(look[k] for look in looks if look.get(k)) for k in keys}
        engine = ", ".join(s.engine for s in self.segments)
        return {**joined, "engine": engine, "action": self.cast.action, "layout": self.layout}

    def close(self) -> None:
        for segment in self.segments:
            segment.stage.close()


def plan(seed: int, seconds: float, action: str | None = None, striker: str = "", struck: str = "") -> Truth:
    """The truth of `film` with the same arguments, without drawing it."""
    script = _Script(seed, seconds, 112, Cast(action or "", striker, struck))
    script.close()
    return script.truth


class _Passing:
    """Silent things in front of the stage, and lamps that are switched: both only in some films."""

    def __init__(self, rng: Rng, seconds: float, size: int, front: bool) -> None:
        self._front = Quiet(rng, 1) if front and rng.random() < 0.15 else None
        self._canvas, self._view = Canvas(size), affine((size - 1) / 2, (size - 1) / 2, size / 2)
        lamps = int(rng.integers(1, 4)) * bool(rng.random() < 0.06)
        self._switches = np.sort(rng.uniform(0, seconds, lamps))
        self._dark, self._ramp = float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.0, 0.3)) + 1e-3
        self._sway = Wobble.random(rng, 0.05 * (rng.random() < 0.1), 0.1, 1.0)

    def apply(self, image: Image, t: float) -> Image:
        """The picture (size, size, 3) with what passes at time t."""
        if self._front is not None:
            self._canvas.image, self._canvas.view = np.ascontiguousarray(image), self._view
            self._front.draw(self._canvas, t)
            image = self._canvas.image
        down = 0.0
        for k, switch in enumerate(self._switches):
            step = float(np.clip((t - switch) / self._ramp, 0.0, 1.0))
            down += step if k % 2 == 0 else -step
        gain = (1 - (1 - self._dark) * down) * (1 + self._sway.at(t))
        return image if gain == 1.0 else np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)


def film(
    seed: int,
    seconds: float,
    fps: float | None = None,
    size: int = 112,
    action: str | None = None,
    striker: str = "",
    struck: str = "",
) -> Film:
    """Render one film.

    seed: any non-negative integer; the same arguments give the same bytes. seconds: 0.5 or more. fps: nominal
    source frame rate, 1..240 (None draws one of FRAME_RATES). action: one of truth.ACTIONS that an engine
    shows, or "quiet" (None draws one). striker, struck: truth.MATERIALS ("": the engine chooses). Raises
    ValueError for an unknown action, or a duration or rate out of range.
    """
    if fps is not None and not 1 <= fps <= 240:
        raise ValueError(f"need 1 <= fps <= 240, got {fps}")
    script = _Script(seed, seconds, size, Cast(action or "", striker, struck))
    rng = np.random.default_rng([seed, 1])
    rate = float(rng.choice(FRAME_RATES)) if fps is None else float(fps)
    times = frame_times(rng, seconds, rate)
    shutter = float(rng.uniform(0.0, 0.95)) / rate * (rng.random() < 0.7)
    parts = 1 if shutter < 0.004 else 2 if shutter < 0.012 else 3
    offsets = (np.arange(parts) + 0.5) / parts * shutter + _readout(rng, rate) / 2
    repeat = float(rng.uniform(0.03, 0.25)) if rng.random() < 0.08 else 0.0  # frames a converter showed twice
    repeated = rng.random(len(times)) < repeat
    passing = _Passing(rng, seconds, size, script.segments[-1].engine != "flat")
    sensor = Sensor(rng, size)
    frames = np.zeros((len(times), size, size, 3), np.uint8)
    for i, t in enumerate(times):
        if i and repeated[i]:
            frames[i] = frames[i - 1]
            continue
        images = [passing.apply(script.expose(float(t + d)), float(t + d)) for d in offsets]
        frames[i] = script.bars.apply(sensor.develop(_blend(images), i, float(t)))
    script.close()
    return Film(frames, times, script.truth, {**script.look(), "fps": f"{rate:.2f}"})


def _readout(rng: Rng, rate: float) -> float:
    """Seconds between the exposures of a picture's first and last row. A frame's timestamp is the start of
    the first row's exposure (Android's SENSOR_TIMESTAMP), so its middle shows what happens later; one film in
    five has no such delay (drawn films, global shutters)."""
    return float(rng.uniform(0.005, min(0.03, 1 / rate))) * (rng.random() < 0.8)


def _blend(images: list[Image]) -> Image:
    """The mean of one to three pictures."""
    if len(images) == 1:
        return images[0]
    half = cv2.addWeighted(images[0], 0.5, images[1], 0.5, 0)
    if len(images) == 2:
        return np.asarray(half, np.uint8)
    return np.asarray(cv2.addWeighted(half, 2 / 3, images[2], 1 / 3, 0), np.uint8)

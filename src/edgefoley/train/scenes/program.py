"""What every drawn action is: a `Program` with its marks, its activity over time and a draw call.

An action is centred on the origin of its own units and about one unit large; the shot's placement puts it
into the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Point, direction, point
from edgefoley.train.scenes.look import palette, tint
from edgefoley.train.scenes.motion import Mark, Rng, pick, smoothstep
from edgefoley.train.scenes.truth import Source

LEVEL_RATE = 100  # values per second of a Level


@dataclass(frozen=True)
class Cast:
    """Who plays: the action, and the materials that were asked for ("": the program chooses)."""

    action: str
    striker: str = ""
    struck: str = ""


class Program:
    """One action: `source` (what sounds), `marks` in time order, `draw` for any instant, `activity` 0..1.

    metres: how long one of its units is in the world. wide: it fills the picture; upright: it stands on the
    ground. fit: how far down its origin goes and how much it shrinks, so that a placement of scale 1 shows
    all of it. strikers, struck: materials that fit when none was asked for.
    """

    metres: float = 0.5
    wide: ClassVar[bool] = False
    upright: ClassVar[bool] = False
    fit: ClassVar[tuple[float, float]] = (0.0, 1.0)
    strikers: ClassVar[tuple[str, ...]] = ("",)
    struck: ClassVar[tuple[str, ...]] = ("",)

    def __init__(self, rng: Rng, cast: Cast, size: float = 0.5) -> None:
        striker, struck = pick(rng, *self.strikers), pick(rng, *self.struck)
        self.source = Source(cast.action, cast.striker or striker, cast.struck or struck, round(size, 3))
        self.marks: list[Mark] = []
        self.shades = palette(rng, 6)
        self.skin = tint(rng, "flesh") if rng.random() < 0.75 else palette(rng, 1)[0]

    def draw(self, canvas: Canvas, t: float) -> None:
        """Draw the action at time t."""
        raise NotImplementedError

    def activity(self, t: float) -> float:
        """Loudness 0..1 of the continuous sound at time t."""
        return 0.0

    def scroll(self, t: float) -> float:
        """How far (units) the background has moved left under a camera that follows the action."""
        return 0.0

    def nearness(self, t: float) -> float:
        """How much nearer than at the start the action is (2: half the distance)."""
        return 1.0


class Level:
    """A loudness 0..1 over time that swells, fades, stops and starts again, and its integral; linear between
    `LEVEL_RATE` values per second.

    silences: how likely each turn of it is a stop. floor: the least value that is not a stop.
    quick: it changes within 0.15 s.
    """

    def __init__(
        self, rng: Rng, seconds: float, silences: float = 0.25, floor: float = 0.12, quick: bool = False
    ) -> None:
        inside = slice(LEVEL_RATE, LEVEL_RATE + math.ceil(seconds * LEVEL_RATE))
        self._fill(self._drawn(rng, seconds, silences, floor, quick))
        while self.values[inside].max() < 0.3:
            self._fill(self._drawn(rng, seconds, silences, floor, quick))

    @classmethod
    def _drawn(cls, rng: Rng, seconds: float, silences: float, floor: float, quick: bool) -> np.ndarray:
        times, heights = [-1.0], [0.0 if rng.random() < silences else float(rng.uniform(floor, 1.0))]
        t = 0.0
        while t < seconds + 1.0:
            ramp = math.exp(rng.uniform(math.log(0.06), math.log(0.15 if quick else 1.2)))
            height = 0.0 if rng.random() < silences else float(rng.uniform(floor, 1.0))
            times += [t, t + ramp]
            heights += [heights[-1], height]
            t += ramp + float(rng.uniform(0.4, 2.5))
        return np.interp(cls.grid(seconds), times, heights)

    @staticmethod
    def grid(seconds: float) -> np.ndarray:
        """The instants of `values`: from 1 s before the start to 1 s after the end."""
        return np.arange(-LEVEL_RATE, math.ceil((seconds + 1.0) * LEVEL_RATE) + 1) / LEVEL_RATE

    @classmethod
    def of(cls, values: np.ndarray) -> Level:
        """A level with the given values on `grid`."""
        out = cls.__new__(cls)
        out._fill(values)
        return out

    def _fill(self, values: np.ndarray) -> None:
        self.values = np.clip(values, 0.0, 1.0)
        steps = 0.5 * (self.values[1:] + self.values[:-1]) / LEVEL_RATE
        self._sums = np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, t: float) -> float:
        """The loudness at time t."""
        return self._read(self.values, t)

    def total(self, t: float) -> float:
        """The integral of the loudness up to time t, in seconds at full loudness."""
        return self._read(self._sums, t)

    def many(self, times: np.ndarray) -> np.ndarray:
        """The loudness at each of the times (N,)."""
        return np.interp((times + 1.0) * LEVEL_RATE, np.arange(len(self.values)), self.values)

    def onsets(self) -> list[float]:
        """The instants at which it leaves 0."""
        quiet = self.values <= 1e-9
        at = np.flatnonzero(quiet[:-1] & ~quiet[1:])
        return [float(i / LEVEL_RATE - 1.0) for i in at]

    def _read(self, values: np.ndarray, t: float) -> float:
        x = min(max((t + 1.0) * LEVEL_RATE, 0.0), len(values) - 1.001)
        i = int(x)
        return float(values[i] + (x - i) * (values[i + 1] - values[i]))


class Emitter:
    """Particles that leave at a steady clock and are there in proportion to a level at the moment they leave.

    rate: candidates per second; life: seconds a particle is seen. `tables` (count, 4): uniform 0..1
    numbers that belong to a particle.
    """

    def __init__(self, rng: Rng, rate: float, life: float, level: Level) -> None:
        self.rate, self.life, self.level = rate, life, level
        self.tables = rng.random((97, 4))
        self.chance = rng.random(89)

    def alive(self, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ages (N,) s, traits (N, 4), level (N,) at birth) of the particles seen at time t."""
        ks = np.arange(math.ceil((t - self.life) * self.rate), math.floor(t * self.rate) + 1)
        births = ks / self.rate
        levels = self.level.many(births)
        keep = levels > self.chance[ks % 89]
        return t - births[keep], self.tables[ks[keep] % 97], levels[keep]

    def first(self, after: float) -> float:
        """When the first particle leaves at or after a time (s); inf if none does within 2 s."""
        ks = np.arange(math.ceil(after * self.rate), math.floor((after + 2.0) * self.rate))
        left = ks[self.level.many(ks / self.rate) > self.chance[ks % 89]]
        return float(left[0] / self.rate) if len(left) else math.inf


class Spray:
    """Chips that fly off at each contact, under gravity."""

    def __init__(self, rng: Rng, count: int, colours: np.ndarray | None = None) -> None:
        self.velocity = rng.uniform(0.4, 2.5, count)[:, None] * np.stack(
            [np.cos(a := rng.uniform(-math.pi, 0, count)), np.sin(a)], 1
        )
        self.size = float(rng.uniform(0.02, 0.08))
        self.colour = palette(rng, 1)[0] if colours is None else colours[int(rng.integers(len(colours)))]
        self.life = float(rng.uniform(0.15, 0.5))

    def draw(self, canvas: Canvas, origin: Point, u: float) -> None:
        """Draw the chips `u` seconds after the contact at `origin`."""
        if 0.0 <= u < self.life:
            p = origin + self.velocity * u + point(0, 3.0 * u * u)
            canvas.streaks(p, p, self.size, self.colour)


def limb(canvas: Canvas, hip: Point, foot: Point, length: float, width: float, colour: np.ndarray) -> None:
    """Two bars from hip to foot; the knee bends forward where the leg of `length` is longer than the gap."""
    gap = 0.5 * math.hypot(*(foot - hip))
    bend = math.sqrt(max(0.0, (0.5 * length) ** 2 - gap**2))
    knee = (hip + foot) / 2 + point(bend, 0)
    canvas.bar(hip, knee, width, colour)
    canvas.bar(knee, foot, width, colour, 0.75)


def arm(
    canvas: Canvas, elbow: Point, grip: Point, width: float, sleeve: np.ndarray, skin: np.ndarray
) -> None:
    """A sleeved forearm that ends in a fist."""
    wrist = elbow + 0.75 * (grip - elbow)
    canvas.bar(wrist, grip, 0.7 * width, skin)
    canvas.bar(elbow, wrist, 1.3 * width, sleeve, 0.7)
    canvas.disc(grip, 0.55 * width, 0.55 * width, skin)


__all__ = [
    "Canvas",
    "Cast",
    "Level",
    "Point",
    "Program",
    "Spray",
    "arm",
    "direction",
    "limb",
    "point",
    "smoothstep",
]

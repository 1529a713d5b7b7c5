"""Analytic motions of the rendered scenes: every contact instant is a closed form, never read off a frame.

Positions are in world units (the undisturbed view spans -1..1 in both axes, y points down), times in
seconds. Each motion class knows the instants of its contacts and can be evaluated at any time, so frames may
be exposed anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

Rng = np.random.Generator

MIN_GAP_S = 0.08  # two contacts closer than this are one sound to the onset measures


@dataclass(frozen=True)
class Mark:
    """One sounding instant of a drawn action: time in seconds, strength in 0..1, and where: (x, y) in the
    action's own units at that instant.
    """

    time_s: float
    strength: float
    spot: tuple[float, float] = (0.0, 0.0)


def smoothstep(x: float) -> float:
    """0 below 0, 1 above 1, a C1 ramp between."""
    x = min(1.0, max(0.0, x))
    return x * x * (3.0 - 2.0 * x)


def pick(rng: Rng, *options: str) -> str:
    """One of the options, equally likely."""
    return options[int(rng.integers(len(options)))]


def rhythm(rng: Rng, seconds: float) -> list[float]:
    """Contact times in [0.05, seconds - 0.05]: singles, steady beats, irregular gaps, rolls, double hits,
    pauses.
    """
    times: list[float] = []
    t = float(rng.uniform(0.1, 1.2))
    while t < seconds - 0.05:
        style = pick(rng, "single", "steady", "irregular", "roll", "double", "pause", "irregular", "steady")
        if style == "pause":
            t += float(rng.uniform(0.4, 1.6))
            continue
        count = {
            "single": 1,
            "steady": int(rng.integers(3, 9)),
            "irregular": int(rng.integers(2, 6)),
            "roll": int(rng.integers(3, 9)),
            "double": 2,
        }[style]
        beat = float(
            {
                "single": 0.5,
                "steady": math.exp(rng.uniform(math.log(0.16), math.log(0.9))),
                "irregular": 0.4,
                "roll": rng.uniform(0.09, 0.16),
                "double": rng.uniform(0.09, 0.25),
            }[style]
        )
        for _ in range(count):
            times.append(t)
            spread = 0.9 if style == "irregular" else 0.06
            t += max(MIN_GAP_S, beat * math.exp(spread * float(rng.uniform(-1, 1))))
        t += float(rng.uniform(0.0, 0.9)) * (style != "steady")
    return [x for x in times if 0.05 <= x <= seconds - 0.05]


@dataclass(frozen=True)
class _Swing:
    """One gap between contacts: leave at 0 s, rise to `rebound` (`slowing` 1: at one speed, 2: slower and
    slower), move to `windup`, fall back to height 0."""

    dwell: float
    rise: float
    rebound: float
    windup: float
    fall: float
    power: float
    slowing: float
    feints: tuple[tuple[float, float, float], ...]  # (centre as absolute time, half width, depth 0..0.8)


class Strikes:
    """Height of a tool over its target: 0 exactly at the contacts, positive elsewhere (except while it
    dwells).

    The velocity reverses at each contact, mostly as in billiard-type impacts (an accelerating fall, a
    decelerating rise). Some hands let the tool lie on its target and lift it at a jerk, some turn it at the
    top as abruptly as at the bottom: neither makes a sound.
    """

    def __init__(self, rng: Rng, seconds: float, times: list[float] | None = None) -> None:
        self.times = rhythm(rng, seconds) if times is None else times
        self.reach = float(rng.uniform(0.5, 1.0))
        dwell = float(rng.uniform(0.0, 0.12)) * (rng.random() < 0.5)
        quick = float(rng.uniform(0.05, 0.2))
        rebound = float(rng.uniform(0.08, 1.0))
        manner = pick(rng, "free", "free", "lies", "turns")
        least = 1.0 if manner == "turns" else 1.6  # power of the fall, 1: at one speed
        self._edges = [-10.0, *self.times, seconds + 10.0]
        self._swings: list[_Swing] = []
        # people wave a tool about between strikes: reversals in the air that make no sound
        self._hover = Wobble.random(rng, float(rng.uniform(0.1, 0.6)) * (rng.random() < 0.6), 0.5, 5.0)
        for start, end in zip(self._edges, self._edges[1:], strict=False):
            gap = end - start - min(dwell, 0.15 * (end - start))
            fall = min(quick * float(rng.uniform(0.8, 1.6)), 0.5 * gap)
            rise = min(float(rng.uniform(0.06, 0.3)), 0.5 * gap)
            slowing = 2.0
            if manner != "free" and end - start < 3.0:
                slowing = float(rng.uniform(1.0, 2.0))
                if manner == "lies":
                    gap *= float(rng.uniform(0.35, 1.0))
                    rise, fall = min(rise, 0.4 * gap), min(fall, 0.5 * gap)
                elif gap < 1.2:
                    fall = gap * float(rng.uniform(0.3, 0.6))
                    rise = gap - fall
            crowd = min(1.0, gap / 0.3)
            windup = self.reach * crowd * float(rng.uniform(0.35, 1.0))
            feints = []
            if gap > 0.7 and rng.random() < 0.5:
                low, high = max(start, 0.0) + 0.25, min(end, seconds) - 0.25
                if high > low:
                    feints.append(
                        (
                            float(rng.uniform(low, high)),
                            float(rng.uniform(0.1, 0.25)),
                            float(rng.uniform(0.2, 0.95)),
                        )
                    )
            self._swings.append(
                _Swing(
                    end - start - gap,
                    rise,
                    windup if gap < 0.3 or rise + fall > 0.99 * gap else windup * rebound,
                    windup,
                    fall,
                    float(rng.uniform(least, 3.0 if least > 1 else 2.0)),
                    slowing,
                    tuple(feints),
                )
            )

    @property
    def strengths(self) -> list[float]:
        """Impact speed of each contact, squashed to 0.1..1."""
        return [
            min(1.0, max(0.1, s.windup * s.power / s.fall / 12.0)) for s in self._swings[: len(self.times)]
        ]

    def gap(self, t: float) -> tuple[int, float]:
        """Index of the gap that holds t (0: before the first contact) and how far through it t is, 0..1."""
        i = int(np.searchsorted(self._edges, t, side="right")) - 1
        i = min(max(i, 0), len(self._swings) - 1)
        return i, (t - self._edges[i]) / (self._edges[i + 1] - self._edges[i])

    def height(self, t: float) -> float:
        """Distance from the target at time t, >= 0."""
        i, _ = self.gap(t)
        s, start, end = self._swings[i], self._edges[i], self._edges[i + 1]
        if t >= end - s.fall:
            return s.windup * max(0.0, 1.0 - (1.0 - (end - t) / s.fall) ** s.power)
        u = t - start - s.dwell
        if u <= 0.0:
            return 0.0
        if u < s.rise:
            return s.rebound * (1.0 - (1.0 - u / s.rise) ** s.slowing)
        span = max(1e-6, end - s.fall - start - s.dwell - s.rise)
        level = s.rebound + (s.windup - s.rebound) * smoothstep(1.6 * (u - s.rise) / min(span, 1.5))
        free = min(1.0, (u - s.rise) / 0.1, (end - s.fall - t) / 0.1)
        level *= 1.0 + free * max(-0.75, self._hover.at(t))
        for centre, half, depth in s.feints:
            if abs(t - centre) < half:
                level *= 1.0 - depth * math.cos(0.5 * math.pi * (t - centre) / half) ** 2
        return level

    def since(self, t: float) -> tuple[float, int]:
        """Seconds since the newest contact (inf if none) and its index."""
        i, _ = self.gap(t)
        return (t - self.times[i - 1], i - 1) if i > 0 else (math.inf, -1)


class Bounce:
    """A body released at `release_s` from `height` under `gravity`, with restitution: contact times in
    closed form.
    """

    def __init__(
        self, release_s: float, height: float, gravity: float, restitution: float, up_speed: float = 0.0
    ) -> None:
        self.release_s, self.height0, self.gravity, self.up_speed = release_s, height, gravity, up_speed
        speed = math.sqrt(up_speed**2 + 2.0 * gravity * height)
        self.first_speed = speed
        t = release_s + (up_speed + speed) / gravity
        self.times, self.speeds, self._ups = [t], [speed], [restitution * speed]
        while 2.0 * self._ups[-1] / gravity >= MIN_GAP_S and len(self.times) < 40:
            t += 2.0 * self._ups[-1] / gravity
            self.times.append(t)
            self.speeds.append(self._ups[-1])
            self._ups.append(restitution * self._ups[-1])
        self._ups[-1] = 0.0  # bounces too fast to be heard apart: the body rests

    def height(self, t: float) -> float:
        """Height over the floor at time t."""
        if t < self.release_s:
            return self.height0
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        if i < 0:
            u = t - self.release_s
            return self.height0 + self.up_speed * u - 0.5 * self.gravity * u * u
        u = t - self.times[i]
        return max(0.0, self._ups[i] * u - 0.5 * self.gravity * u * u)

    def since(self, t: float) -> tuple[float, int]:
        """Seconds since the newest contact (inf if none) and its index."""
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        return (t - self.times[i], i) if i >= 0 else (math.inf, -1)


@dataclass
class Phase:
    """A piecewise linear phase in cycles (pieces of constant cadence, 0 while resting), so crossings are
    exact.
    """

    starts: list[float]
    rates: list[float]
    values: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        value, self.values = 0.0, [0.0]
        for i in range(1, len(self.starts)):
            value += self.rates[i - 1] * (self.starts[i] - self.starts[i - 1])
            self.values.append(value)

    @staticmethod
    def random(rng: Rng, seconds: float, low_hz: float, high_hz: float) -> Phase:
        """Pieces of about 1-3 s whose cadence lies in low_hz..high_hz, some of them rests."""
        starts, rates, t = [0.0], [], 0.0
        base = math.exp(rng.uniform(math.log(low_hz), math.log(high_hz)))
        while t < seconds:
            rates.append(0.0 if rng.random() < 0.15 else base * math.exp(float(rng.uniform(-0.15, 0.15))))
            t += float(rng.uniform(0.8, 3.0))
            starts.append(t)
        return Phase(starts[:-1], rates)

    def at(self, t: float) -> float:
        """Phase in cycles at time t."""
        i = max(0, int(np.searchsorted(self.starts, t, side="right")) - 1)
        return self.values[i] + self.rates[i] * (t - self.starts[i])

    def crossings(self, offset: float, seconds: float) -> list[float]:
        """Every time in [0, seconds] at which phase + offset reaches a whole number while it moves."""
        times = []
        for i, (start, rate) in enumerate(zip(self.starts, self.rates, strict=True)):
            end = self.starts[i + 1] if i + 1 < len(self.starts) else seconds
            if rate <= 0.0:
                continue
            k = math.floor(self.values[i] + offset) + 1
            while (t := start + (k - offset - self.values[i]) / rate) < min(end, seconds):
                times.append(t)
                k += 1
        return times


@dataclass(frozen=True)
class Calls:
    """Utterances: openness rises through one half exactly at each start time, holds `durations`, then
    closes.
    """

    times: tuple[float, ...]
    durations: tuple[float, ...]
    attack_s: float
    strengths: tuple[float, ...]

    @staticmethod
    def random(rng: Rng, seconds: float) -> Calls:
        """Barks in groups, long crows and howls, croaks."""
        long_call = rng.random() < 0.3
        times, durations, t = [], [], float(rng.uniform(0.1, 1.5))
        while t < seconds - 0.1:
            for _ in range(int(rng.integers(1, 5))):
                length = float(rng.uniform(0.4, 2.0)) if long_call else float(rng.uniform(0.05, 0.22))
                times.append(t)
                durations.append(length)
                t += length + float(rng.uniform(0.12, 0.6))
            t += float(rng.uniform(0.2, 1.8))
        keep = [i for i, x in enumerate(times) if x < seconds - 0.05]
        return Calls(
            tuple(times[i] for i in keep),
            tuple(durations[i] for i in keep),
            float(rng.uniform(0.03, 0.1)),
            tuple(float(rng.uniform(0.3, 1.0)) for _ in keep),
        )

    def openness(self, t: float) -> float:
        """Mouth opening 0..1."""
        best = 0.0
        for start, length, strength in zip(self.times, self.durations, self.strengths, strict=True):
            if start - 0.2 < t < start + length + 0.5:
                up = smoothstep((t - start) / self.attack_s + 0.5)
                down = 1.0 - smoothstep((t - start - length) / (2.0 * self.attack_s))
                best = max(best, strength * min(up, down))
        return best

    def jerk(self, t: float) -> float:
        """Body thrust that starts at each call and springs back, about 0..1."""
        total = 0.0
        for start, strength in zip(self.times, self.strengths, strict=True):
            u = t - start + 0.5 * self.attack_s
            if 0.0 < u < 1.0:
                total += strength * (u / 0.05) * math.exp(1.0 - u / 0.05)
        return total


@dataclass(frozen=True)
class Strokes:
    """Back-and-forth scraping: each stroke starts at an exact reversal; position runs -1..1 along the
    surface.
    """

    times: tuple[float, ...]
    ends: tuple[float, ...]
    speeds: tuple[float, ...]

    @staticmethod
    def random(rng: Rng, seconds: float) -> Strokes:
        """Strokes of 0.12-0.8 s with occasional rests between them."""
        times, ends, speeds = [], [], []
        t, length = float(rng.uniform(0.1, 0.8)), math.exp(rng.uniform(math.log(0.13), math.log(0.7)))
        while t < seconds - 0.05:
            span = length * math.exp(float(rng.uniform(-0.25, 0.25)))
            times.append(t)
            ends.append(t + span)
            speeds.append(min(1.0, 0.3 / span))
            t += span + (float(rng.uniform(0.2, 1.2)) if rng.random() < 0.15 else 0.0)
        return Strokes(tuple(times), tuple(ends), tuple(speeds))

    def state(self, t: float) -> tuple[float, float]:
        """(position -1..1, speed 0..1) at time t; odd strokes run backwards."""
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        if i < 0:
            return -1.0, 0.0
        u = min(1.0, (t - self.times[i]) / (self.ends[i] - self.times[i]))
        along = 1.0 - 2.0 * abs(u) if i % 2 else 2.0 * u - 1.0
        return along, self.speeds[i] if u < 1.0 else 0.0


@dataclass(frozen=True)
class Wobble:
    """A sum of sinusoids that starts anywhere: hand tremor, slow drift, light flicker."""

    amplitudes: tuple[float, ...]
    rates_hz: tuple[float, ...]
    phases: tuple[float, ...]

    @staticmethod
    def random(rng: Rng, amplitude: float, low_hz: float, high_hz: float, count: int = 3) -> Wobble:
        """`count` sinusoids between low_hz and high_hz, slower ones larger, about `amplitude` together."""
        rates = [math.exp(rng.uniform(math.log(low_hz), math.log(high_hz))) for _ in range(count)]
        sizes = [amplitude * float(rng.uniform(0.3, 1.0)) * (low_hz / r) ** 0.5 for r in rates]
        return Wobble(tuple(sizes), tuple(rates), tuple(float(rng.uniform(0, 2 * math.pi)) for _ in rates))

    def many(self, times: np.ndarray) -> np.ndarray:
        """The value at each of the times (N,)."""
        sizes, rates, phases = (np.array(x)[:, None] for x in (self.amplitudes, self.rates_hz, self.phases))
        waves: np.ndarray = (sizes * np.sin(2 * math.pi * rates * times + phases)).sum(0)
        return waves

    def at(self, t: float) -> float:
        """Value at time t."""
        return sum(
            a * math.sin(2 * math.pi * f * t + p)
            for a, f, p in zip(self.amplitudes, self.rates_hz, self.phases, strict=True)
        )

"""When things happen: rhythms of blows with pauses, and the stroke of a tool between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgefoley.train.scenes.bodies.stuff import Rng

Array = NDArray[np.float64]


def moments(rng: Rng, seconds: float, fastest: float, slowest: float) -> Array:
    """Times in a clip, in order, at least `fastest` (s) apart: one or a few, a steady beat, an uneven one, or
    bursts with pauses."""
    kind = rng.choice(["few", "steady", "uneven", "bursts"], p=[0.2, 0.25, 0.25, 0.3])
    first = float(rng.uniform(0.25, 0.25 + min(1.0, 0.3 * seconds)))
    last = max(seconds - 0.1, first + 1e-3)
    if kind == "few":
        times = np.sort(rng.uniform(first, last, int(rng.integers(1, 4))))
    else:
        typical = float(np.exp(rng.uniform(np.log(fastest), np.log(slowest))))
        count = int(seconds / fastest) + 2
        gaps = typical * (1 + (0.03 if kind == "steady" else 0.35) * rng.normal(0, 1, count))
        gaps = np.maximum(gaps, fastest)
        if kind == "bursts":
            gaps = np.where(rng.random(count) < 0.25, gaps + rng.uniform(0.6, 1.8, count), gaps)
        times = first + np.concatenate([[0.0], np.cumsum(gaps)])
    kept = [float(times[0])]
    for t in times[1:]:
        if t - kept[-1] >= fastest and t < last:
            kept.append(float(t))
    return np.array(kept)


@dataclass(frozen=True)
class Strokes:
    """A tool that comes down at `times` (n,) from `heights` (n,) metres within `falls` (n,) seconds, and
    goes up again; in long gaps it rests at `rest` metres."""

    times: Array
    heights: Array
    falls: Array
    rest: float

    @classmethod
    def random(cls, rng: Rng, times: Array, height: float, rest: float | None = None) -> Strokes:
        """Strokes of about `height` metres: the harder, the higher."""
        gaps = np.diff(times, prepend=times[0] - 1.0)
        force = np.clip(rng.uniform(0.35, 1.0, len(times)), 0.1, 1.0)
        heights = height * force * np.clip(gaps / 0.5, 0.25, 1.0)
        falls = np.minimum(rng.uniform(0.09, 0.2, len(times)), 0.45 * gaps)
        return cls(times, heights, falls, 0.5 * height if rest is None else rest)

    @property
    def speeds(self) -> Array:
        """Speed (n,) m/s at each blow."""
        return np.asarray(2 * self.heights / self.falls)

    def above(self, t: ArrayLike) -> Array:
        """Distance in metres between tool and target at times t, 0 at the blows. Fastest right before a blow:
        height * (1 - s^2) over the fall."""
        x = np.atleast_1d(np.asarray(t, np.float64))
        after = np.searchsorted(self.times, x, side="left")  # the next blow
        nxt, prev = np.minimum(after, len(self.times) - 1), np.maximum(after - 1, 0)
        until = np.where(after < len(self.times), self.times[nxt] - x, np.inf)
        since = np.where(after > 0, x - self.times[prev], np.inf)
        gap = until + since
        rise = np.minimum(np.where(np.isfinite(gap), 0.5 * gap, 0.4), 0.4)
        u = np.clip(since / rise, 0, 1)
        top = np.where(gap > 0.9, self.rest, self.heights[nxt])
        up = top * (1 - (1 - u) ** 2)
        raise_ = np.clip((until - self.falls[nxt]) / 0.3, 0, 1)  # from the rest to the top of the blow
        lift = self.heights[nxt] * (1 - raise_**2 * (3 - 2 * raise_)) + up * raise_**2 * (3 - 2 * raise_)
        before = np.where(np.isfinite(until), np.where(gap > 0.9, lift, np.maximum(up, 0)), up)
        s = np.clip(1 - until / self.falls[nxt], 0, 1)
        down = self.heights[nxt] * (1 - s**2)
        return np.asarray(np.where(until <= self.falls[nxt], np.minimum(down, self.heights[nxt]), before))

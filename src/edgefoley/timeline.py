"""Every rate and count in one place, in exact rational arithmetic.

A clip is a duration in seconds (a ``Fraction``). Everything else - samples of sound, latents, frames per
encoder - is counted from it here and nowhere else, so an 8 s clip has exactly 200 sync frames at every source
frame rate and the sound is as long as the video to the sample.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

from edgefoley.errors import BundleIntegrityError
from edgefoley.types import FrameRule

SAMPLE_RATE = 48_000  # Hz, of every model here and of every file written
DECODE_CHUNK = 500  # latents decoded at once: 10 s keep the decoder's activations small
EVENT_RATE = 50  # Hz, grid of the event curve


@dataclass(frozen=True)
class Timeline:
    """The rates of one bundle: ``latent_rate``, ``visual_rate`` and ``sync_rate`` per second, ``rule`` of
    frame choice.

    Defaults are nano's. ``window`` and ``overlap`` (seconds): longest stretch denoised at once and how much
    neighbouring stretches share.
    """

    sample_rate: int = SAMPLE_RATE
    latent_rate: int = 50
    visual_rate: Fraction = Fraction(2)
    sync_rate: Fraction = Fraction(25)
    rule: FrameRule = "at_or_before"
    window: Fraction = Fraction(10)
    overlap: Fraction = Fraction(2)

    def samples(self, duration: Fraction) -> int:
        """Samples of sound in ``duration`` seconds, rounded half up, at least 1."""
        return max(1, math.floor(duration * self.sample_rate + Fraction(1, 2)))

    def latents(self, duration: Fraction) -> int:
        """Latents that cover every sample of ``duration`` seconds."""
        return max(1, math.ceil(Fraction(self.samples(duration) * self.latent_rate, self.sample_rate)))

    @property
    def hop(self) -> int:
        """Samples per latent."""
        return self.sample_rate // self.latent_rate

    def to_json(self) -> dict[str, Any]:
        """The manifest's form; fractions as strings."""
        return {
            "sample_rate": self.sample_rate,
            "latent_rate": self.latent_rate,
            "visual_rate": str(self.visual_rate),
            "sync_rate": str(self.sync_rate),
            "rule": self.rule,
            "window": str(self.window),
            "overlap": str(self.overlap),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Timeline:
        """Read the manifest's form. Raises BundleIntegrityError on a missing or senseless value."""
        try:
            timeline = cls(
                sample_rate=int(data["sample_rate"]),
                latent_rate=int(data["latent_rate"]),
                visual_rate=Fraction(data["visual_rate"]),
                sync_rate=Fraction(data["sync_rate"]),
                rule=data["rule"],
                window=Fraction(data["window"]),
                overlap=Fraction(data["overlap"]),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise BundleIntegrityError(f"timeline of the manifest is not readable: {error!r}") from error
        if timeline.sample_rate % timeline.latent_rate or timeline.rule not in (
            "at_or_after",
            "at_or_before",
        ):
            raise BundleIntegrityError(f"timeline of the manifest makes no sense: {dict(data)}")
        return timeline


def grid_count(duration: Fraction, rate: Fraction) -> int:
    """Grid instants k/rate with 0 <= k/rate < duration, at least 1 (8 s at 25/s: 200)."""
    return max(1, math.ceil(duration * rate))


def segment_count(frames: int, size: int, stride: int) -> int:
    """Segments of ``size`` frames, one beginning every ``stride``, that lie wholly within ``frames``; at
    least 1."""
    return max(1, (frames - size) // stride + 1)


def pick_frames(
    timestamps: Sequence[Fraction], rate: Fraction, count: int, rule: FrameRule
) -> tuple[list[int], list[Fraction]]:
    """Which frame stands at each grid instant k/rate, and its age there.

    ``timestamps`` (seconds, ascending, relative to the clip's start, not empty). "at_or_before": the newest
    frame at or before k/rate (the first frame where there is none yet); "at_or_after": the first frame at or
    after it (the last frame is held at the end). Returns indices and ages k/rate - timestamp in seconds,
    ``count`` of each.
    """
    if not timestamps:
        raise ValueError("pick_frames needs at least one time stamp")
    indices, ages = [], []
    for k in range(count):
        instant = k / Fraction(rate)
        if rule == "at_or_before":
            index = max(0, bisect_right(timestamps, instant) - 1)
        else:
            index = min(len(timestamps) - 1, bisect_left(timestamps, instant))
        indices.append(index)
        ages.append(instant - timestamps[index])
    return indices, ages


def windows(
    count: int, size: int, overlap: int, step: int = 1, shortest: bool = False
) -> list[tuple[int, int]]:
    """Cover ``count`` positions by stretches [start, stop) of at most ``size``, neighbours sharing
    ``overlap`` or more. Every start is a multiple of ``step``. ``shortest``: as few stretches, but each no
    longer than they have to be.

    All stretches have the same length when there is more than one, so that one graph shape serves them all.
    """
    many, last = _division(count, size, overlap, step, shortest)
    starts = [step * round(Fraction(i * last, max(1, many - 1))) for i in range(many)]
    return [(start, start + count - last * step) for start in starts]


def _division(count: int, size: int, overlap: int, step: int, shortest: bool) -> tuple[int, int]:
    """How many stretches ``windows`` makes, and after how many steps the last one starts."""
    if count <= size:
        return 1, 0

    def number(last: int) -> int:
        """Stretches needed when the last one starts at ``last`` steps."""
        reach = (count - last * step - overlap) // step
        return 1 - (-last // reach) if reach > 0 else count + 1

    last = -((size - count) // step)
    many = number(last)
    if many > count:
        raise ValueError(f"window {size} must be longer than the overlap {overlap} by {step} or more")
    if shortest:  # the latest start that needs no more; `number` never falls
        last += bisect_right(range(last, count), many, key=number) - 1
    return many, last


def shot_windows(
    count: int, cuts: Sequence[int], size: int, overlap: int, step: int = 1, shortest: bool = False
) -> list[tuple[int, int]]:
    """``windows`` that meet at ``cuts`` (positions where a new shot begins), where there are any at fitting
    places: there two share half of ``overlap`` only, with the cut in the middle (and less than 2 ``step``
    more, since a window starts at a multiple of ``step``).

    Of all ways to divide at cuts, ``overlap`` or more apart and each part covered by ``windows`` of its own,
    the one that has the least to work off; among equals the one with the fewest seams within shots, then the
    fewest windows, then the most even one. So dividing never makes more work, and without cuts it is
    ``windows``.
    """
    if count <= size:
        return [(0, count)]
    half = math.ceil(overlap / 4)
    places = [0, *(cut for cut in sorted(set(cuts)) if overlap <= cut <= count - overlap and cut), count]
    starts = [0, *((cut - half) // step * step for cut in places[1:]), count]
    divided = lru_cache(None)(lambda length: _division(length, size, overlap, step, shortest))

    def part(begin: int, end: int) -> tuple[int, int]:
        """What is fed between two places."""
        return starts[begin], count if end == len(places) - 1 else 2 * places[end] - starts[end]

    best: list[tuple[tuple[int, ...], int]] = [((0, 0, 0, 0), 0)]  # costs up to each place, place before it
    for end in range(1, len(places)):
        ways = []
        for begin in range(end):
            if places[end] - places[begin] < overlap:
                continue
            start, stop = part(begin, end)
            many, steps = divided(stop - start)
            length = stop - start - steps * step
            cost = (many * length, many - 1, many, many * length * length)
            ways.append((tuple(a + b for a, b in zip(best[begin][0], cost, strict=True)), begin))
        best.append(min(ways))
    ends = [len(places) - 1]
    while ends[-1]:
        ends.append(best[ends[-1]][1])
    made = []
    for begin, end in pairwise(reversed(ends)):
        first, last = part(begin, end)
        parts = windows(last - first, size, overlap, step, shortest)
        made += [(first + start, first + stop) for start, stop in parts]
    return made


def chunks(count: int, size: int, context: int) -> list[tuple[int, int, int, int]]:
    """Cut ``count`` positions into parts of at most ``size``, each read with ``context`` real neighbours on
    both sides.

    Returns (start, stop, first, last) per part: feed positions [first, last), keep the results of [start,
    stop). At the ends of the whole there is no context, just as when the whole is fed at once.
    """
    number = math.ceil(Fraction(count, size))
    bounds = [round(Fraction(i * count, number)) for i in range(number + 1)]
    return [
        (start, stop, max(0, start - context), min(count, stop + context)) for start, stop in pairwise(bounds)
    ]

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
    if count <= size:
        return [(0, count)]

    def number(last: int) -> int:
        """Stretches needed when the last one starts at ``last`` steps."""
        reach = (count - last * step - overlap) // step
        return 1 + math.ceil(Fraction(last, reach)) if reach > 0 else count + 1

    last = math.ceil(Fraction(count - size, step))
    many = number(last)
    if many > count:
        raise ValueError(f"window {size} must be longer than the overlap {overlap} by {step} or more")
    while shortest and number(last + 1) == many:
        last += 1
    starts = [step * round(Fraction(i * last, many - 1)) for i in range(many)]
    return [(start, start + count - last * step) for start in starts]


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

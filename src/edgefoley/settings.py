"""How a sound is to be made: every choice with its default and its range, checked in one place.

Layer 1: standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from edgefoley.errors import UsageError

if TYPE_CHECKING:
    from edgefoley.events import EventList

Original = Literal["keep", "replace", "mix", "duck"]
Seconds = Fraction | Decimal | float | int | str

MAX_SEED = 2**63 - 1
DRAWN_SEEDS = 2**31  # a seed drawn for you stays below this: short enough to be copied by hand
LOUDNESS_RANGE = (-70.0, -5.0)  # LUFS; above -5 only heavy limiting could keep the true peak
MAX_GUIDANCE = 100.0
MAX_SOUND_SECONDS = 3600
MIN_HEIGHT = 16


class SoundValues(TypedDict, total=False):
    """The keyword arguments of ``sound``; ``Settings`` says what they mean."""

    negative_prompt: str | None
    num_steps: int | None
    guidance_scale: float | None
    seed: int | None
    takes: int
    loudness: float
    overwrite: bool
    events: EventList | str | PathLike[str] | None


class SettingValues(SoundValues, total=False):
    """The keyword arguments of ``generate``; ``Settings`` says what they mean."""

    start: Seconds | None
    end: Seconds | None
    original: Original
    max_height: int | None
    offset_ms: Seconds


@dataclass(frozen=True)
class Settings:
    """How to make the sound. None leaves a value to the model's bundle.

    ``negative_prompt``: what to avoid (acts when guidance is above 1, which is what a model takes then).
    ``num_steps`` >= 1. ``guidance_scale`` 0 … 100; up to 1 costs one pass per step, above it two. ``seed``
    0 … 2^63 - 1, None: drawn; take k uses seed + k - 1. ``loudness``: LUFS, -70 … -5, of the new sound.
    ``overwrite``: replace output files that exist. ``events``: what sounds when, instead of what the model
    sees or, without a video, of the rhythm that it chooses (an ``EventList``, or a JSON or CSV file of one).

    For videos only: ``start`` and ``end`` in seconds cut the clip; ``original`` says what becomes of the
    video's own sound ("keep": as a second track, "replace": dropped, "mix": added, "duck": lowered under the
    new sound and added); ``max_height``: scale higher frames down to so many pixels before the encoders' own
    scaling; ``offset_ms``: all of the new sound so many milliseconds later (negative: earlier).

    Raises UsageError for a value out of its range.
    """

    negative_prompt: str | None = None
    num_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    takes: int = 1
    loudness: float = -23.0
    overwrite: bool = False
    start: Seconds | None = None
    end: Seconds | None = None
    original: Original = "keep"
    max_height: int | None = None
    events: EventList | str | PathLike[str] | None = None
    offset_ms: Seconds = 0

    def __post_init__(self) -> None:
        low, high = LOUDNESS_RANGE
        modes = get_args(Original)
        _within("num_steps", self.num_steps, 1, None)
        _within("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        _within("takes", self.takes, 1, None)
        _within("seed", self.seed, 0, MAX_SEED - self.takes + 1)
        _within("loudness", self.loudness, low, high)
        _within("max_height", self.max_height, MIN_HEIGHT, None)
        if self.original not in modes:
            raise UsageError(f"original must be one of {', '.join(modes)}, not {self.original!r}.")
        exact(self.start, "start")
        exact(self.end, "end")
        exact(self.offset_ms, "offset_ms", "milliseconds")


def exact(seconds: Seconds | None, name: str, unit: str = "seconds") -> Fraction | None:
    """Seconds (or another unit) as an exact fraction. A float counts as the decimal number that is printed
    (0.1 is 1/10)."""
    if seconds is None:
        return None
    try:
        return Fraction(repr(seconds)) if isinstance(seconds, float) else Fraction(seconds)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{name} must be a number of {unit}, not {seconds!r}.") from error


def sound_seconds(seconds: Seconds) -> Fraction:
    """The checked length of a sound without video. Raises UsageError."""
    duration = exact(seconds, "seconds")
    if duration is None or not 0 < duration <= MAX_SOUND_SECONDS:
        raise UsageError(f"seconds must be above 0 and up to {MAX_SOUND_SECONDS}, not {seconds}.")
    return duration


def _within(name: str, value: float | None, low: float, high: float | None) -> None:
    """Raise UsageError unless ``value`` is None or from ``low`` to ``high`` (None: no upper limit); NaN
    fails."""
    if value is not None and not (low <= value and (high is None or value <= high)):
        bounds = f"at least {low}" if high is None else f"from {low:g} to {high}"
        raise UsageError(f"{name} must be {bounds}, not {value}.")

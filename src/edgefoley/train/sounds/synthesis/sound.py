"""What a synthesised sound is, and how all of them are finished: no offset, no clicks, level by strength.

Left out: rooms, distance and the microphone, which the mixer adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from edgefoley.timeline import SAMPLE_RATE

Array = npt.NDArray[np.float64]
Wave = npt.NDArray[np.float32]

RATE: Final = SAMPLE_RATE
LEAD: Final = 240  # samples of silence before an event's onset
LEVEL_RANGE_DB: Final = 26.0  # between the softest and the hardest take
# More force means more treble in nearly every source; recipes model the part that follows from the contact,
# this shelf adds what they leave out (between the softest and the hardest take, neutral at strength 0.6).
TREBLE_RANGE_DB: Final = 8.0


@dataclass(frozen=True)
class Sound:
    """wave: (N,) float32 at 48 kHz, mono, |wave| <= 1; onset: the sample of the perceived attack, or of the
    greatest speed for sounds that swell (0 for textures)."""

    wave: Wave
    onset: int


def count(seconds: float) -> int:
    """Samples in ``seconds``, at least 1."""
    return max(1, round(seconds * RATE))


def clock(samples: int) -> Array:
    """Time of each sample in seconds, (samples,)."""
    return np.arange(samples) / RATE


def add_at(out: Array, wave: npt.NDArray[np.floating], start: int, gain: float = 1.0) -> None:
    """Add ``gain * wave`` to ``out`` from sample ``start`` (>= 0); what does not fit is cut off."""
    stop = min(len(out), start + len(wave))
    if start < stop:
        out[start:stop] += gain * wave[: stop - start]


def scatter(out: Array, grains: Array, which: npt.NDArray[np.int64], starts: Array, gains: Array) -> None:
    """Add many short grains: event i adds ``gains[i] * grains[which[i]]`` at sample ``starts[i]``.

    grains: (G, L). Many events of one grain become a train of impulses convolved with it; few are added one
    by one, which is then quicker.
    """
    from scipy.signal import oaconvolve

    places = starts.astype(np.int64)
    inside = (places >= 0) & (places < len(out))
    which, places, gains = which[inside], places[inside], gains[inside]
    for g in np.unique(which):
        mine = which == g
        length = int(np.flatnonzero(grains[g])[-1]) + 1 if np.any(grains[g]) else 1
        one_by_one = np.count_nonzero(mine) * (2500 + length)  # costs in nanoseconds, roughly
        if one_by_one <= 60 * (len(out) + length):
            for place, gain in zip(places[mine].tolist(), gains[mine].tolist(), strict=True):
                add_at(out, grains[g, :length], place, gain)
            continue
        train = np.zeros(len(out))
        np.add.at(train, places[mine], gains[mine])
        out += oaconvolve(train, grains[g, :length])[: len(out)]


def treble(wave: Array, decibels: float, corner: float = 900.0) -> Array:
    """A first-order shelf, causal: ``decibels`` more above ``corner`` Hz, unchanged well below."""
    from scipy.signal import bilinear, lfilter

    omega, top = 2 * np.pi * corner, 10 ** (decibels / 20)
    b, a = bilinear([top, omega], [1.0, omega], fs=RATE)
    return np.asarray(lfilter(b, a, wave), dtype=np.float64)


def edges(samples: int, fade_in: int, fade_out: int) -> Array:
    """(samples,) gains: 1 with raised-cosine ends of the given lengths (halved when they do not fit)."""
    gain = np.ones(samples)
    a, b = min(fade_in, samples // 2), min(fade_out, samples // 2)
    gain[:a] = 0.5 - 0.5 * np.cos(np.pi * np.arange(a) / max(a, 1))
    gain[samples - b :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(b) + 1) / max(b, 1))
    return gain


def without_offset(wave: Array, corner: float = 25.0) -> Array:
    """Causal second-order Butterworth high-pass (``corner`` Hz): nothing appears before an attack."""
    from scipy.signal import butter, sosfilt

    return np.asarray(sosfilt(butter(2, corner, "highpass", fs=RATE, output="sos"), wave), dtype=np.float64)


def peak_of(strength: float) -> float:
    """The greatest absolute sample of a take of ``strength`` 0..1 (values outside are clipped)."""
    return float(0.9 * 10 ** (-LEVEL_RANGE_DB * (1 - min(max(strength, 0.0), 1.0)) / 20))


def _scaled(wave: Array, strength: float, fade_in: int, fade_out: int) -> Wave:
    shaped = without_offset(treble(wave, TREBLE_RANGE_DB * (strength - 0.6)))
    # The fades leave a trace of offset; taking it out under the same fades keeps the ends at zero.
    gain = edges(len(shaped), fade_in, fade_out)
    shaped = shaped * gain
    shaped -= gain * (shaped.sum() / gain.sum())
    top = float(np.abs(shaped).max())
    if top > 0:
        shaped *= peak_of(strength) / top
    return shaped.astype(np.float32)


def event(wave: Array, strength: float, onset: int = 0) -> Sound:
    """Finish a sound whose attack is at sample ``onset`` of ``wave`` and nearly nothing before: LEAD samples
    of silence in front, a tail faded out, peak by ``strength``."""
    whole = np.concatenate([np.zeros(LEAD), wave])
    # The tail's fade is long against the lowest ring, so that cutting a decay short is not heard.
    shaped = without_offset(treble(whole, TREBLE_RANGE_DB * (strength - 0.6))) * edges(
        len(whole), 0, min(len(wave) // 4, RATE // 5) + 48
    )
    top = float(np.abs(shaped).max())
    if top > 0:
        shaped *= peak_of(strength) / top
    return Sound(shaped.astype(np.float32), LEAD + onset)


def swell(wave: Array, strength: float, climax: int) -> Sound:
    """Finish a sound that grows towards sample ``climax`` and dies away (a swing, a gust)."""
    return Sound(_scaled(wave, strength, 480, 960), climax)


def texture(wave: Array, strength: float) -> Sound:
    """Finish a continuous sound: 20 ms fades at both ends, peaks beyond 22 dB over the mean level pressed
    down (a rare loud grain must not make all the rest inaudible), peak by ``strength``."""
    shaped = without_offset(wave)
    level = float(np.sqrt(np.mean(np.square(shaped)))) or 1.0
    limit = 12.0 * level
    return Sound(_scaled(limit * np.tanh(shaped / limit), strength, 960, 960), 0)


def draw(rng: Generator, low: float, high: float) -> float:
    """A value whose logarithm is uniform between those of ``low`` and ``high`` (both > 0)."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))

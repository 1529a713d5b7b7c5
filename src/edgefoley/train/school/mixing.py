"""Place single sounds at contacts and loops under activity: pure functions of waves at 48 kHz.

Strength changes three things, as it does in nature: the level, the brightness (a harder blow excites higher
modes; here a one-pole low-pass whose corner rises with the strength) and, through the choice among
recordings, the sound itself. Distance lowers the level by 6 dB per doubling, dulls, and gives way to the
room's response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE

Wave = npt.NDArray[np.float32]

STRENGTH_RANGE_DB: Final = 18.0  # between the softest and the hardest contact of one source
VOICE_RANGE_DB: Final = 8.0  # between the softest and the loudest call of one throat
REFERENCE_M: Final = 2.0  # distance at which a source has its own level
NEAREST_M, FARTHEST_M = 0.5, 60.0
RELEASE_S: Final = 0.03  # fade of a voice that is cut by its next call


@dataclass(frozen=True)
class Blow:
    """One recorded or synthesised event. wave: float32, peak about 1; onset: sample at which it is heard to
    begin; intensity 0..1 among the blows of its source."""

    wave: Wave
    onset: int
    intensity: float = 0.5


@dataclass(frozen=True)
class Hit:
    """When and how hard: time in s, strength 0..1."""

    time_s: float
    strength: float


def one_pole(wave: Wave, corner_hz: float) -> Wave:
    """Low-pass of first order; -3 dB at ``corner_hz``. A corner above 20 kHz returns the wave as it is."""
    from scipy.signal import lfilter

    if corner_hz >= 20_000:
        return wave
    keep = float(np.exp(-2 * np.pi * corner_hz / SAMPLE_RATE))
    return np.asarray(lfilter([1 - keep], [1, -keep], wave), dtype=np.float32)


def brightness_corner(strength: float) -> float:
    """Corner in Hz of the low-pass for a contact of this strength: 2.8 kHz at 0, out of hearing from 0.85."""
    return float(2800 * 2 ** (strength * 3.4))


def distance_gain(distance_m: float) -> float:
    """Linear gain: 1 at REFERENCE_M, halved per doubling, bounded at NEAREST_M and FARTHEST_M."""
    return REFERENCE_M / min(max(distance_m, NEAREST_M), FARTHEST_M)


def distance_corner(distance_m: float) -> float:
    """Corner in Hz of the low-pass that stands for air and obstacles: open within 8 m, 2 kHz at 60 m."""
    return 25_000 * (8 / max(8.0, distance_m)) ** 1.25


def choose_blows(hits: Sequence[Hit], blows: Sequence[Blow], rng: np.random.Generator) -> list[int]:
    """Index of a blow for every hit: near in intensity, not the same twice in a row if there is a choice."""
    chosen: list[int] = []
    intensity = np.array([blow.intensity for blow in blows])
    for hit in hits:
        cost = np.abs(intensity - hit.strength) + rng.uniform(0, 0.5, len(blows))
        if chosen and len(blows) > 1:
            cost[chosen[-1]] += 0.6
        chosen.append(int(cost.argmin()))
    return chosen


def change_speed(wave: Wave, speed: float) -> Wave:
    """Played ``speed`` times as fast; pitch moves with it. Polyphase with a rational step of 1/100."""
    from scipy.signal import resample_poly

    down = round(100 * speed)
    if down == 100 or not len(wave):
        return wave
    return np.asarray(resample_poly(wave, 100, down), dtype=np.float32)


def place_hits(
    hits: Sequence[Hit],
    blows: Sequence[Blow],
    samples: int,
    rng: np.random.Generator,
    voice: bool = False,
) -> Wave:
    """Blows at hits, onset on the hit's time, in a wave of ``samples``. ``voice``: a mouth or a muzzle makes
    one sound at a time, so each ends before the next begins, and it does not dull when it is softer. Raises
    ValueError without blows."""
    if not blows:
        raise ValueError("no blows to place")
    out = np.zeros(samples, dtype=np.float32)
    pace = float(rng.choice([0.9, 0.94, 0.97, 1.0, 1.0, 1.03, 1.06, 1.1]))
    for number, (hit, index) in enumerate(zip(hits, choose_blows(hits, blows, rng), strict=True)):
        blow = blows[index]
        speed = round(pace * float(rng.uniform(0.985, 1.015)), 2)
        wave = change_speed(blow.wave, speed)
        wave = wave if voice else one_pole(wave, brightness_corner(hit.strength))
        # A duller sound has lost level too; the strength alone shall say how loud it is.
        peak, first = float(np.abs(wave).max()), float(np.abs(blow.wave).max())
        if peak <= 0:
            continue
        span = VOICE_RANGE_DB if voice else STRENGTH_RANGE_DB
        level = -span * (1 - hit.strength) + float(rng.normal(0, 1.0))
        wave = wave * np.float32(min(first / peak, 4.0) * 10 ** (level / 20))
        if voice and number + 1 < len(hits):
            wave = shorten(wave, int((hits[number + 1].time_s - hit.time_s) * SAMPLE_RATE))
        add_at(out, wave, round(hit.time_s * SAMPLE_RATE) - round(blow.onset / speed))
    return out


def sharpened(blow: Blow) -> Blow:
    """The blow without the slow swell before it is really there. A growl that rises over a tenth of a second
    is heard late, and later the softer it is; seen with a mouth that opens it should begin at once. What
    rises to 3 dB below the loudest of its first 0.6 s within 15 ms is returned as it is."""
    frame = SAMPLE_RATE // 200
    head = blow.wave[blow.onset : blow.onset + 120 * frame]
    count = len(head) // frame
    if count < 4:
        return blow
    level = np.sqrt(np.square(head[: count * frame]).reshape(count, frame).mean(1))
    first = int(np.argmax(level >= 0.7 * level.max()))
    if first <= 3:
        return blow
    wave = blow.wave[blow.onset + first * frame :].copy()
    fade = min(len(wave), SAMPLE_RATE // 250)
    wave[:fade] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / fade)
    return Blow(wave, fade // 2, blow.intensity)


def shorten(wave: Wave, samples: int) -> Wave:
    """At most ``samples`` (never below 50 ms), faded out over RELEASE_S."""
    length = max(samples, SAMPLE_RATE // 20)
    if len(wave) <= length:
        return wave
    kept = wave[:length].copy()
    fade = min(length, int(RELEASE_S * SAMPLE_RATE))
    kept[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(fade) / fade)
    return kept


def add_at(out: Wave, wave: Wave, begin: int) -> None:
    """Add ``wave`` into ``out`` from sample ``begin`` on (may be negative); what does not fit is dropped."""
    skip = max(0, -begin)
    part = wave[skip : skip + max(0, len(out) - max(0, begin))]
    out[max(0, begin) : max(0, begin) + len(part)] += part


def under_activity(loop: Wave, activity: npt.NDArray[np.float32], rate: int) -> Wave:
    """A continuous sound whose level follows ``activity`` (0..1 at ``rate`` per s): 0 is silence, level in dB
    is linear above it down to -30 dB, and quiet is duller than loud."""
    at = np.arange(len(loop)) * (rate / SAMPLE_RATE)
    level = np.interp(at, np.arange(len(activity)), activity)
    gain = np.where(level > 0.02, 10 ** (-30 * (1 - level) / 20), level / 0.02 * 10 ** (-29.4 / 20))
    dull = one_pole(loop, 3500)
    blend = np.clip(level, 0, 1)
    return np.asarray(gain * (blend * loop + (1 - blend) * dull), dtype=np.float32)


def extend(loop: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """``samples`` of a loop: a random stretch of a longer one, a shorter one repeated with crossfades of
    equal power (a plain sum of two decorrelated ends would dip by 3 dB)."""
    if len(loop) >= samples:
        begin = int(rng.integers(0, len(loop) - samples + 1))
        return loop[begin : begin + samples].copy()
    cross = min(SAMPLE_RATE // 2, len(loop) // 3)
    if cross < 64:
        return np.resize(loop, samples).astype(np.float32)
    rise = np.sin(np.linspace(0, np.pi / 2, cross, dtype=np.float32))
    out = np.zeros(samples + len(loop), dtype=np.float32)
    position = 0
    while position < samples:
        part = loop.copy()
        if position:
            part[:cross] *= rise
        part[-cross:] *= rise[::-1]
        out[position : position + len(part)] += part
        position += len(loop) - cross
    return out[:samples]


def reverberate(wave: Wave, response: Wave, wet_db: float) -> Wave:
    """The wave in a room: the direct sound as it is, the rest of ``response`` changed by ``wet_db``."""
    from scipy.signal import fftconvolve

    tail = response.copy()
    tail[:1] = 0.0
    wet = fftconvolve(wave, tail)[: len(wave)]
    return np.asarray(wave + 10 ** (wet_db / 20) * wet, dtype=np.float32)


def at_distance(wave: Wave, distance_m: float) -> Wave:
    """Level and dullness of a source at a distance in m."""
    return one_pole(wave, distance_corner(distance_m)) * np.float32(distance_gain(distance_m))


def room_tone(samples: int, slope_db: float, rng: np.random.Generator) -> Wave:
    """What any recording has between its sounds: noise of RMS 1 whose power falls by ``slope_db`` per octave
    from 60 Hz (0: white, 3: pink, 6: brown), a little louder and softer over seconds."""
    rows = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequency, 60.0) / 60.0)
    rows *= 10 ** (-slope_db * octaves / 20)
    rows[frequency < 30.0] = 0.0
    tone = np.fft.irfft(rows, samples)
    knots = rng.uniform(0.8, 1.2, max(2, samples // SAMPLE_RATE))
    tone *= np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    return (tone / np.sqrt(np.square(tone).mean())).astype(np.float32)


def finish(wave: Wave, rng: np.random.Generator, rms_db: float = -20.0) -> Wave:
    """A level that fills the latents and never clips: RMS up to ``rms_db`` dBFS, peak up to 0.95; silence
    stays silence. The runtime sets the loudness of what is heard."""
    peak = float(np.abs(wave).max())
    if peak < 1e-5:
        return np.zeros_like(wave)
    rms = float(np.sqrt(np.square(wave, dtype=np.float64).mean()))
    gain = min(0.95 / peak, 10 ** (rms_db / 20) / (rms + 1e-6)) * float(rng.uniform(0.8, 1.0))
    return (wave * np.float32(gain)).astype(np.float32)

"""Loops: stationary stretches of a recording that can be repeated without an audible seam.

A stretch is stationary while its level, averaged over 0.4 s, stays within the first of `SPREADS_DB`; where
that leaves only snippets (surf swells and ebbs), within the next. A stretch with a few
sounds that stand out (a shout over a crowd, one clap of thunder over rain) would repeat them like a stuck
record, so such moments end a stretch; where they come often (crackling, a clock) they are the texture itself.
The end is joined to the beginning by a crossfade whose place is searched for the best correlation and whose
gains keep the power for that correlation. Left out: matching spectra over the stretch; level is what one
notices first.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.sounds.cuts import Cut, centroid
from edgefoley.train.sounds.events import FRAME, Wave, envelope_db

SPREADS_DB = (6.0, 10.0, 15.0)
STANDS_OUT_DB = (9.0, 12.0, 12.0)  # above the stretch's median level, for each spread
ENOUGH_S = 2.5  # a loop of this length, or 0.4 of the recording, is no snippet
OFTEN_PER_S = 1.5  # as many as this belong to the texture
SHORTEST_S, LONGEST_S = 0.9, 12.0
QUIET_DB = 30.0  # a stretch this far below the recording's loudest is what lies between the sounds
SEARCH = SAMPLE_RATE // 50  # samples around the intended end in which the best join is searched


def cross_samples(total: int) -> int:
    """Crossfade of a loop cut of ``total`` samples: a fifth of it, at most a quarter of a second."""
    return min(SAMPLE_RATE // 4, total // 5)


def smooth_level(level: Wave, frames: int = 80) -> Wave:
    """Mean power of ``frames`` 5 ms frames around each, in dB."""
    power = np.concatenate([[0.0], np.cumsum(10.0 ** (level.astype(np.float64) / 10))])
    half = frames // 2
    low = np.maximum(np.arange(len(level)) - half, 0)
    high = np.minimum(np.arange(len(level)) + half, len(level))
    return (10 * np.log10((power[high] - power[low]) / (high - low) + 1e-12)).astype(np.float32)


def steady(level: Wave, spread_db: float) -> list[tuple[int, int]]:
    """(first, last) frames of stretches whose smoothed level stays within ``spread_db``, each as long as it
    can be from the left."""
    smooth = smooth_level(level)
    top = float(smooth.max())
    found, first = [], 0
    low = high = float(smooth[0])
    for i, value in enumerate(smooth.tolist()):
        low, high = min(low, value), max(high, value)
        if high - low > spread_db or value < top - QUIET_DB:
            if value >= top - QUIET_DB or i > first:
                found.append((first, i))
            first, low, high = i, value, value
    found.append((first, len(level)))
    return [
        (a, b)
        for a, b in found
        if b - a > SHORTEST_S * SAMPLE_RATE / FRAME and float(smooth[a:b].mean()) > top - QUIET_DB
    ]


def without_rare(level: Wave, first: int, last: int, stands_out_db: float) -> list[tuple[int, int]]:
    """The stretch split at sounds that stand out, unless they come often."""
    part = level[first:last]
    out = np.flatnonzero(part > np.median(part) + stands_out_db)
    if not len(out):
        return [(first, last)]
    clusters = np.split(out, np.flatnonzero(np.diff(out) > 20) + 1)
    seconds = (last - first) * FRAME / SAMPLE_RATE
    gaps = np.diff([0, *(int(c[0]) for c in clusters), last - first])
    if len(clusters) / seconds >= OFTEN_PER_S and gaps.max() * FRAME / SAMPLE_RATE < 2.0:
        return [(first, last)]
    marks = [0, *(int(e) for c in clusters for e in (c[0] - 4, c[-1] + 20)), last - first]
    return [(first + a, first + b) for a, b in zip(marks[::2], marks[1::2], strict=True) if b > a]


def best_end(wave: Wave, start: int, stop: int) -> int:
    """The end near ``stop`` at which the crossfade's two parts resemble each other most."""
    cross = cross_samples(stop - start)
    head = wave[start : start + cross]
    low = stop - SEARCH
    reach = wave[low - cross : stop]
    if low - cross <= start + cross or len(reach) < cross + 1:
        return stop
    energy = np.concatenate([[0.0], np.cumsum(np.square(reach, dtype=np.float64))])
    size = len(reach) + len(head)
    product = np.fft.irfft(np.fft.rfft(reach, size) * np.conj(np.fft.rfft(head, size)), size)
    lags = len(reach) - cross + 1
    norm = np.sqrt(energy[cross : cross + lags] - energy[:lags] + 1e-9)
    return low + int(np.argmax(product[:lags] / norm))


def loop_cuts(wave: Wave, most: int = 8) -> list[Cut]:
    """Up to ``most`` loops of a recording (n,) at 48 kHz, in time order, each SHORTEST_S to LONGEST_S and
    none much shorter than the longest."""
    if len(wave) < SHORTEST_S * SAMPLE_RATE or not np.any(np.abs(wave) > 1e-4):
        return []
    level = envelope_db(wave)
    enough = min(ENOUGH_S * SAMPLE_RATE, 0.4 * len(wave))
    stretches: list[tuple[int, int]] = []
    for spread_db, stands_out_db in zip(SPREADS_DB, STANDS_OUT_DB, strict=True):
        stretches = [
            (start, stop)
            for first, last in steady(level, spread_db)
            for a, b in without_rare(level, first, last, stands_out_db)
            for start, stop in _parts(a * FRAME, min(b * FRAME, len(wave)))
        ]
        if max((stop - start for start, stop in stretches), default=0) >= enough:
            break
    longest = max((stop - start for start, stop in stretches), default=0)
    kept = sorted((s for s in stretches if s[1] - s[0] >= 0.4 * longest), key=lambda s: s[0] - s[1])[:most]
    return [_loop(wave, start, stop) for start, stop in sorted(kept)]


def _parts(begin: int, end: int) -> list[tuple[int, int]]:
    """The stretch in equal parts of at most LONGEST_S; none if it is too short."""
    if end - begin < SHORTEST_S * SAMPLE_RATE:
        return []
    count = max(1, int(np.ceil((end - begin) / (LONGEST_S * SAMPLE_RATE))))
    marks = [begin + (end - begin) * k // count for k in range(count + 1)]
    return list(pairwise(marks))


def _loop(wave: Wave, start: int, stop: int) -> Cut:
    stop = best_end(wave, start, stop)
    part = wave[start:stop]
    level_db = float(10 * np.log10(np.square(part, dtype=np.float64).mean() + 1e-12))
    return Cut(start, stop, 0, "loop", level_db, centroid_hz=centroid(part[len(part) // 2 :]))


def loop_wave(part: Wave) -> Wave:
    """A loop cut's samples -> what can be repeated end to end: shorter by ``cross_samples``."""
    cross = cross_samples(len(part))
    body = len(part) - cross
    head, tail = part[:cross].astype(np.float64), part[body:].astype(np.float64)
    power = np.sqrt(np.square(head).sum() * np.square(tail).sum()) + 1e-12
    alike = float(np.clip((head * tail).sum() / power, 0.0, 1.0))
    angle = (np.arange(cross) + 0.5) / cross * (np.pi / 2)
    rise, fall = np.sin(angle), np.cos(angle)
    gain = 1 / np.sqrt(1 + 2 * alike * rise * fall)  # in phase, amplitudes add; apart, powers do
    out = part[:body].astype(np.float64)
    out[:cross] = (head * rise + tail * fall) * gain
    return out.astype(np.float32)

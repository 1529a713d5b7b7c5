"""Find single events in recordings: pure functions of waves at 48 kHz."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE

Wave = npt.NDArray[np.float32]

FRAME = 240  # samples: 5 ms


def envelope_db(wave: Wave) -> Wave:
    """Level of each 5 ms frame in dB, smoothed over three frames."""
    count = max(1, len(wave) // FRAME)
    power = np.square(wave[: count * FRAME].reshape(count, -1) if len(wave) >= FRAME else wave[None]).mean(1)
    padded = np.pad(power, 1, mode="edge")
    return (10 * np.log10((padded[:-2] + padded[1:-1] + padded[2:]) / 3 + 1e-10)).astype(np.float32)


def single_events(wave: Wave, gap_s: float, longest_s: float = 4.0) -> list[tuple[int, int]]:
    """(start, stop) samples of each event: stretches that stand out from the floor, those closer than
    ``gap_s`` joined.

    A start is 3 ms before the level rises, so that the attack is whole. Never empty for a wave that is not
    silent.
    """
    level = envelope_db(wave)
    top = float(level.max())
    threshold = max(top - 32.0, float(np.percentile(level, 10)) + 9.0)
    if threshold > top - 6.0:  # no contrast: one steady sound
        threshold = top - 32.0
    loud = np.flatnonzero(level >= threshold)
    if not len(loud):
        return []
    splits = np.flatnonzero(np.diff(loud) * FRAME > gap_s * SAMPLE_RATE)
    firsts = np.concatenate([[loud[0]], loud[splits + 1]])
    lasts = np.concatenate([loud[splits], [loud[-1]]])
    events = []
    for i, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        if float(level[first : last + 1].max()) < top - 20.0:
            continue  # a faint remnant, no event
        start = max(0, int(first) * FRAME - 144)
        limit = int(firsts[i + 1]) * FRAME - 144 if i + 1 < len(firsts) else len(wave)
        stop = min(limit, int(last) * FRAME + SAMPLE_RATE // 4, start + int(longest_s * SAMPLE_RATE))
        if stop - start > FRAME:
            events.append((start, stop))
    return events


def fade(wave: Wave, fade_in: int, fade_out: int) -> Wave:
    """Raised-cosine fades (samples) at both ends."""
    out = wave.copy()
    a, b = min(fade_in, len(out)), min(fade_out, len(out))
    if a:
        out[:a] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(a) / a)
    if b:
        out[-b:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(b) / b)
    return out.astype(np.float32)

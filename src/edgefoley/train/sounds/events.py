"""Cut recordings into single events, and shape them for a scene: pure functions of waves at 48 kHz."""

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


def resample_speed(wave: Wave, speed: float) -> Wave:
    """Played ``speed`` times as fast (pitch moves with it), by linear interpolation."""
    count = int(len(wave) / speed)
    return np.interp(np.arange(count) * speed, np.arange(len(wave)), wave).astype(np.float32)


def loop_to(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """A stretch of ``samples`` from a recording; a shorter one is repeated with crossfades of up to half a
    second."""
    if len(wave) >= samples:
        begin = int(rng.integers(0, len(wave) - samples + 1))
        return wave[begin : begin + samples].copy()
    cross = min(SAMPLE_RATE // 2, len(wave) // 3)
    if cross < 64:
        return np.resize(wave, samples).astype(np.float32)
    ramp = np.sin(np.linspace(0, np.pi / 2, cross, dtype=np.float32))
    out = np.zeros(samples + len(wave), dtype=np.float32)
    position = 0
    while position < samples:
        part = wave.copy()
        if position:
            part[:cross] *= ramp
        part[-cross:] *= ramp[::-1]
        out[position : position + len(part)] += part
        position += len(wave) - cross
    return out[:samples]


def room(wave: Wave, rng: np.random.Generator) -> Wave:
    """A plain room: exponentially decaying, slightly dulled noise as impulse response, added 9 to 22 dB
    below."""
    from scipy.signal import fftconvolve

    seconds = float(rng.uniform(0.1, 0.9))
    count = int(seconds * SAMPLE_RATE)
    response = rng.standard_normal(count, dtype=np.float32)  # float32: the transform is twice as fast
    response *= np.exp(np.linspace(0, -6.9, count, dtype=np.float32))
    response[1:] = response[1:] + response[:-1]
    response *= np.float32(10 ** (-rng.uniform(9, 22) / 20) / np.sqrt(np.square(response).sum()))
    delay = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE)
    wet = fftconvolve(wave, response)[: max(0, len(wave) - delay)]
    out = wave.copy()
    out[delay:] += wet.astype(np.float32)
    return out

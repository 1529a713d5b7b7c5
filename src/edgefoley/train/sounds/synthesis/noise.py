"""Noise with a given spectrum, noise whose band moves, slow irregularity, and random instants.

Real sources are never steady: everything continuous here is multiplied by `drift`, whose depth is stated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.sound import RATE, Array

Points = Sequence[tuple[float, float]]


def white(rng: Generator, samples: int) -> Array:
    """Gaussian noise of variance 1, (samples,)."""
    return rng.standard_normal(samples)


def filtered(wave: Array, points: Points) -> Array:
    """``wave`` through a zero-phase filter whose gain is ``points`` [(Hz, dB), ...], straight lines over the
    logarithm of frequency, the outermost gains kept beyond the ends.

    The filter rings both ways by about one period of its narrowest feature; use it on steady sounds or with
    gentle slopes. Raises ValueError when the points do not ascend.
    """
    from scipy.fft import next_fast_len

    size = next_fast_len(len(wave) + 2048, real=True)
    spectrum = np.fft.rfft(wave, size)
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1.0)
    hz, db = np.array(points, dtype=np.float64).T
    if np.any(np.diff(hz) <= 0):
        raise ValueError(f"points must ascend in frequency, got {points}")
    gain = 10 ** (np.interp(np.log(frequency), np.log(hz), db) / 20)
    return np.asarray(np.fft.irfft(spectrum * gain, size)[: len(wave)])


def noise(rng: Generator, samples: int, points: Points) -> Array:
    """Gaussian noise of mean square 1 with the spectrum ``points`` [(Hz, dB), ...]."""
    size = samples + 2048
    out = filtered(white(rng, size), points)[1024 : 1024 + samples]
    return out / (float(np.sqrt(np.mean(out**2))) + 1e-12)


def band(rng: Generator, samples: int, centre: float, octaves: float = 1.0) -> Array:
    """Noise of mean square 1 around ``centre`` Hz: flat over ``octaves``, then 24 dB per octave down."""
    half = 2 ** (octaves / 2)
    low, high = max(centre / half, 5.0), min(centre * half, RATE / 2)
    points = [(low / 8, -72.0), (low / 2, -24.0), (low, 0.0), (high * 1.0001, 0.0), (high * 2, -24.0)]
    return noise(rng, samples, [*points, (high * 8, -72.0)])


def moving_band(rng: Generator, centre: Array, octaves: float = 0.7, tilt: float = 0.0) -> Array:
    """Noise whose band follows ``centre`` (samples,) Hz: Gaussian over log frequency, ``octaves`` wide (one
    standard deviation to each side), ``tilt`` dB per octave below the centre added so that it is not hollow.

    Short-time spectra of 1024 samples are shaped one by one and overlapped; the level does not depend on the
    centre.
    """
    block, hop = 1024, 256
    frames = len(centre) // hop + 5
    noise_in = white(rng, (frames - 1) * hop + block)
    window = np.hanning(block + 1)[:block]
    index = np.arange(frames)[:, None] * hop + np.arange(block)[None]
    spectra = np.fft.rfft(noise_in[index] * window, axis=1)
    at = np.clip(np.arange(frames) * hop - block // 2 + 2 * hop, 0, len(centre) - 1)
    frequency = np.maximum(np.fft.rfftfreq(block, 1 / RATE), 20.0)
    distance = np.log2(frequency[None] / np.maximum(centre[at], 20.0)[:, None])
    gain = np.exp(-0.5 * (distance / octaves) ** 2)
    if tilt > 0:
        gain = np.maximum(gain, 0.5 * 10 ** (-tilt * np.abs(distance) / 20) * (distance < 0))
    gain /= np.sqrt(np.mean(gain**2, axis=1, keepdims=True)) + 1e-9
    pieces = np.fft.irfft(spectra * gain, block, axis=1) * window
    out = np.zeros((frames - 1) * hop + block)
    for i in range(4):  # every fourth block joins without overlap
        chosen = pieces[i::4]
        out[i * hop : i * hop + chosen.size] += chosen.reshape(-1)
    return out[2 * hop : 2 * hop + len(centre)] / 1.5


def drift(rng: Generator, samples: int, rate: float, depth: float) -> Array:
    """A slow positive curve around 1, (samples,): exp of band-limited noise with about ``rate`` changes per
    second; ``depth`` is the standard deviation of its natural logarithm."""
    knots = max(4, int(samples / RATE * rate * 2) + 4)
    values = rng.standard_normal(knots) * depth
    at = np.linspace(0, knots - 1, samples)
    left = np.minimum(at.astype(np.int64), knots - 2)
    step = at - left
    smooth = step * step * (3 - 2 * step)
    return np.asarray(np.exp(values[left] * (1 - smooth) + values[left + 1] * smooth))


def instants(rng: Generator, rate: float | Array, samples: int) -> Array:
    """Sample positions (float, ascending) of a Poisson process of ``rate`` events per second, a number or a
    curve (samples,)."""
    curve = np.broadcast_to(np.asarray(rate, dtype=np.float64), (samples,))
    total = np.cumsum(np.maximum(curve, 0.0)) / RATE
    number = int(rng.poisson(total[-1])) if total[-1] > 0 else 0
    marks = np.sort(rng.uniform(0, total[-1], number))
    return np.searchsorted(total, marks).astype(np.float64)


def power_law(rng: Generator, number: int, exponent: float, low: float, high: float) -> Array:
    """``number`` values in low..high with density ~ x ** -exponent (exponent != 1): sizes of fragments and
    energies of crackles (Sethna, Dahmen & Myers, Nature 410, 2001)."""
    if exponent == 1.0:
        raise ValueError("exponent 1 has no closed inverse here: use 1.0001")
    p = 1.0 - exponent
    u = rng.uniform(size=number)
    return np.asarray((low**p + u * (high**p - low**p)) ** (1 / p))


def pick(rng: Generator, number: int, of: int) -> npt.NDArray[np.int64]:
    """``number`` indices below ``of``."""
    return rng.integers(0, of, number)

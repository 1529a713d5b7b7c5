"""When a sound is heard to begin, from its samples: rises of 40 log-spaced bands. NumPy only.

16 kHz, frames of 32 ms every 10 ms, magnitudes added up in bands from 60 Hz to 7.9 kHz and compressed by
log1p relative to their 99th percentile; the mean rise over two frames minus its running median over 1 s;
peaks of at least 0.06 and two standard deviations, 60 ms or more apart. A frame is named by its first
sample, so a sharp attack is told about 10 ms early. ``train/sounds/onsets.py`` is the same measure with
scipy, tuned for speed on many short sounds; a test compares them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Times = NDArray[np.float64]
RATE: Final = 16_000  # Hz
FRAME: Final = 512  # samples at RATE
HOP: Final = 160
MEDIAN: Final = 50  # frames on each side
LEAST: Final = 0.06
GAP: Final = 6  # frames
_STEP: Final = 3  # 48 kHz to RATE


def sound_onsets(wave: ArrayLike) -> Times:
    """Onset times (s) of a mono wave (T,) at 48 kHz, ascending. Raises ValueError unless mono."""
    samples = np.asarray(wave, np.float64)
    if samples.ndim != 1:
        raise ValueError(f"a mono wave (samples,) is wanted, got shape {samples.shape}")
    low = decimated(samples)
    if len(low) < 2 * FRAME or not np.any(np.abs(low) > 1e-5):
        return np.zeros(0)
    strength = onset_strength(low)
    found = peaks(strength, max(LEAST, 2.0 * float(strength.std())))
    return found.astype(np.float64) * (HOP / RATE)


def decimated(wave: Times) -> Times:
    """48 kHz -> 16 kHz: every third sample after a low-pass filter (61 taps, Kaiser, beta 5)."""
    half = 10 * _STEP
    place = np.arange(-half, half + 1)
    taps = np.sinc(place / _STEP) * np.kaiser(2 * half + 1, 5.0)
    size = 1 << int(np.ceil(np.log2(len(wave) + len(taps))))
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(taps / taps.sum(), size)
    return np.asarray(np.fft.irfft(spectrum, size)[half : half + len(wave) : _STEP], np.float64)


def onset_strength(low: Times) -> Times:
    """(frames,) of a wave (n,) at ``RATE``, 512 samples or more: rise above what is usual around."""
    frames = np.lib.stride_tricks.sliding_window_view(low, FRAME)[::HOP] * np.hanning(FRAME)
    bands = np.abs(np.fft.rfft(frames, axis=1)) @ _bands()
    if len(bands) < 3:
        return np.zeros(len(bands))
    level = np.log1p(100.0 * bands / (np.percentile(bands, 99) + 1e-9))
    rise = np.zeros(len(bands))
    rise[2:] = np.maximum(level[2:] - level[:-2], 0.0).mean(1)
    padded = np.pad(rise, MEDIAN, constant_values=np.nan)  # windows are cut short at the ends
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * MEDIAN + 1)
    return rise - np.nanmedian(windows, axis=1)


def peaks(curve: Times, least: float) -> NDArray[np.int64]:
    """Indices of the local maxima of at least ``least``, the highest of any that are closer than ``GAP``."""
    tops = (
        np.flatnonzero((curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:]) & (curve[1:-1] >= least)) + 1
    )
    kept: list[int] = []
    for top in tops[np.argsort(-curve[tops], kind="stable")].tolist():
        if all(abs(top - other) >= GAP for other in kept):
            kept.append(top)
    return np.array(sorted(kept), np.int64)


@lru_cache(maxsize=1)
def _bands() -> NDArray[np.float64]:
    """(bins, bands) ones where a band has a bin; a band is at least 32 Hz wide."""
    bins = np.arange(FRAME // 2 + 1) * (RATE / FRAME)
    edges = 60.0 * (7900.0 / 60.0) ** (np.arange(41) / 40)
    upper = np.maximum(edges[1:], edges[:-1] + 32.0)
    return ((bins[:, None] >= edges[:-1]) & (bins[:, None] < upper)).astype(np.float64)

"""Which recordings are the same sound: re-encoded, resampled, trimmed at the end or played at another level.

Two stages. A fingerprint - the log band envelope of the first half second after the first attack, mean
removed, unit length - proposes pairs whose cosine is high. A pair counts as the same when the samples
themselves, aligned by cross-correlation over their common length, correlate. Left out: copies at another
pitch or speed, and copies whose beginning was cut away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edgefoley.train.sounds.events import Wave
from edgefoley.train.sounds.onsets import HOP, RATE, band_magnitudes

FRAMES = 50  # half a second
BANDS = 20
PROPOSED = 0.85  # cosine of fingerprints from which a pair is compared by its samples
SAME = 0.85  # correlation of samples
EMPHASIS = 0.9  # first difference before correlating: dull thuds all look alike in their lowest octave
COMPARED = 2 * RATE  # samples compared at most
PAIRS_AT_A_TIME = 512


def first_sound(sound: Wave) -> int:
    """Sample (16 kHz) at which the amplitude first reaches a tenth of the peak."""
    loud = np.abs(sound) >= 0.1 * np.abs(sound).max(initial=1e-9)
    return int(np.argmax(loud)) if len(sound) else 0


def fingerprint(sound: Wave) -> npt.NDArray[np.float32]:
    """(1000,) of a sound at 16 kHz, unit length (zero for silence): FRAMES x BANDS levels above -50 dB."""
    begin = max(0, first_sound(sound) - HOP)
    part = sound[begin : begin + (FRAMES + 4) * HOP]
    padded = np.zeros((FRAMES + 4) * HOP, np.float32)
    padded[: len(part)] = part
    bands = band_magnitudes(padded)[:FRAMES].reshape(-1, BANDS, 2).sum(2)
    level = 20 * np.log10(bands / (bands.max(initial=0.0) + 1e-9) + 10**-2.5)
    out = np.zeros((FRAMES, BANDS), np.float32)
    out[: len(level)] = level - level.mean()
    norm = float(np.linalg.norm(out))
    return (out / norm if norm > 1e-6 else out * 0).astype(np.float32).ravel()


def correlation(a: Wave, b: Wave) -> float:
    """Highest normalised cross-correlation of two sounds at 16 kHz over the length of the shorter (at most
    2 s from the first attack), shifts of up to 30 ms; the sign does not matter."""
    x, y = (s[max(0, first_sound(s) - HOP) :][:COMPARED] for s in (a, b))
    count = min(len(x), len(y))
    if count < 160:
        return 0.0
    x, y = (s[1:count] - EMPHASIS * s[: count - 1] for s in (x, y))
    size = 1 << (2 * count - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    reach = min(480, count - 2)
    best = max(np.abs(product[: reach + 1]).max(), np.abs(product[-reach:]).max())
    return float(best / (np.sqrt(np.square(x).sum() * np.square(y).sum()) + 1e-9))


def same_sounds(
    prints: npt.NDArray[np.float32], seconds: Sequence[float], sound: Callable[[int], Wave]
) -> list[list[int]]:
    """Sets of two or more recordings that are the same sound, each in rising order.

    ``prints``: fingerprints (n, d). ``seconds``: their lengths. ``sound``: index -> samples at 16 kHz.
    A recording more than 2.5 times as long as another is not its copy.
    """
    leader = list(range(len(prints)))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for begin in range(0, len(prints), PAIRS_AT_A_TIME):
        alike = prints[begin : begin + PAIRS_AT_A_TIME] @ prints.T
        for row, column in zip(*np.nonzero(alike > PROPOSED), strict=True):
            i, j = begin + int(row), int(column)
            if i >= j or find(i) == find(j):
                continue
            ratio = (seconds[i] + 0.05) / (seconds[j] + 0.05)
            if 0.4 < ratio < 2.5 and correlation(sound(i), sound(j)) > SAME:
                leader[max(find(i), find(j))] = min(find(i), find(j))
    sets: dict[int, list[int]] = {}
    for i in range(len(prints)):
        sets.setdefault(find(i), []).append(i)
    return [members for members in sets.values() if len(members) > 1]

"""When a sound is heard to begin: rises of 40 log-spaced bands, as the project's onset measure sees them.

The measure that made sounds are judged by looks at magnitudes of 32 ms frames every 10 ms (16 kHz, Hann
window, not centred), compresses each band by log1p relative to the 99th percentile, and takes the mean rise
over two frames minus its running median; peaks of it at least 60 ms apart are onsets. A frame is named by its
first sample, so that a sharp attack is reported early: by about 16 ms in digital silence, where the first
frame that touches the attack already stands out, and by about 9 ms over room noise (`EARLY_S`). Left out: a
model of loudness. What counts here is that a sound placed at a time is found at that time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.signal import find_peaks, resample_poly

from edgefoley.timeline import SAMPLE_RATE

Wave = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

RATE = 16_000  # Hz
FRAME, HOP = 512, 160  # samples at RATE: 32 ms every 10 ms
BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 7900.0
NARROWEST_HZ = 32.0  # a band is at least this wide: the lowest would fall between two bins
MEDIAN_FRAMES = 101
MIN_STRENGTH = 0.06
MIN_GAP_FRAMES = 6
EARLY_S = 0.010  # how early the measure reports a sharp attack, middle of silence and room noise
ROOM_NOISE = 5e-4  # amplitude per sample of the noise that `onsets_alone` lays under a sound


@lru_cache(maxsize=1)
def _band_matrix() -> npt.NDArray[np.float32]:
    """(bins, bands) zeros and ones: which bins of a frame's spectrum a band adds up."""
    bin_hz = np.arange(FRAME // 2 + 1) * (RATE / FRAME)
    edges = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (np.arange(BANDS + 1) / BANDS)
    upper = np.maximum(edges[1:], edges[:-1] + NARROWEST_HZ)
    inside = (bin_hz[:, None] >= edges[:-1]) & (bin_hz[:, None] < upper)
    return inside.astype(np.float32)


def to_16k(wave: Wave) -> Wave:
    """48 kHz -> 16 kHz."""
    return resample_poly(wave, 1, SAMPLE_RATE // RATE).astype(np.float32)


def band_magnitudes(sound: Wave) -> npt.NDArray[np.float32]:
    """Sums of spectral magnitudes (frames, 40) of a sound (n,) at 16 kHz; frame i begins at sample 160 i."""
    if len(sound) < FRAME:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1))
    return spectrum.astype(np.float32) @ _band_matrix()


def _running_median(curve: Array) -> Array:
    """Median of up to MEDIAN_FRAMES around each sample; windows are cut short at the ends.

    Padding by +inf and -inf in turn leaves a median where it was; an even count of true values needs the mean
    of its two middle values, which the two orders of signs give.
    """
    half = MEDIAN_FRAMES // 2
    signs = np.where(np.arange(half) % 2 == 0, 1e9, -1e9)
    middles = [
        median_filter(np.concatenate([s[::-1], curve, s]), size=MEDIAN_FRAMES)[half:-half]
        for s in (signs, -signs)
    ]
    return np.asarray((middles[0] + middles[1]) / 2)


def onset_strength(bands: npt.NDArray[np.float32]) -> Array:
    """Rise of the compressed bands (frames, 40) over two frames above its running median: (frames,)."""
    if len(bands) < 3:
        return np.zeros(len(bands))
    scale = np.percentile(bands, 99) + 1e-9
    level = np.log1p(100.0 * bands.astype(np.float64) / scale)
    rise = np.zeros(len(bands))
    rise[2:] = np.maximum(level[2:] - level[:-2], 0.0).mean(1)
    return rise - _running_median(rise)


def strength_peaks(strength: Array) -> npt.NDArray[np.int64]:
    """Frames of the peaks that count as onsets."""
    height = max(MIN_STRENGTH, 2.0 * float(strength.std())) if len(strength) else MIN_STRENGTH
    return find_peaks(strength, height=height, distance=MIN_GAP_FRAMES)[0]


def onset_times(sound: Wave) -> Array:
    """Times (s) at which the measure hears an onset in a sound (n,) at 16 kHz; early by about EARLY_S."""
    if len(sound) < 2 * FRAME or not np.any(np.abs(sound) > 1e-5):
        return np.zeros(0)
    return strength_peaks(onset_strength(band_magnitudes(sound))).astype(np.float64) * (HOP / RATE)


def onsets_alone(wave: Wave, seconds: float = 8.0) -> list[Array]:
    """Onset times (s from the first sample, early by about EARLY_S) of a 48 kHz sound laid alone into
    ``seconds`` of silence, in four settings: digital silence and room noise, each at two positions on the
    measure's 10 ms grid.

    Cheap because empty frames are known without a transform; room noise adds in power to each band.
    """
    sound = to_16k(wave)[: int((seconds - 1.0) * RATE)]
    before = 40  # empty frames in front of the first that may touch the sound
    total = int((seconds * RATE - FRAME) // HOP) + 1
    noise = ROOM_NOISE * np.sqrt(FRAME * 3 / 8) * np.sqrt(np.pi) / 2 * _band_matrix().sum(0)
    found = []
    for shift in (0, HOP // 2):
        lead = FRAME + shift
        padded = np.concatenate([np.zeros(lead, np.float32), sound, np.zeros(FRAME, np.float32)])
        bands = band_magnitudes(padded)
        laid = np.zeros((max(total, before + len(bands)), BANDS), np.float32)
        laid[before : before + len(bands)] = bands
        for setting in (laid, np.sqrt(np.square(laid) + np.square(noise).astype(np.float32))):
            frames = strength_peaks(onset_strength(setting)).astype(np.float64)
            found.append((frames - before) * (HOP / RATE) - lead / RATE)
    return found

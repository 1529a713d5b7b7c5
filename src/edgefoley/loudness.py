"""How loud a sound is and how high its peaks are: ITU-R BS.1770-4 (EBU R 128) in numpy.

The standard's K weighting is two recursive filters. Recursion is slow in numpy, so the filters' impulse
response is used instead: its slower pole has radius 0.995, so 8192 samples hold it to the last bit of double
precision, and convolution by FFT is fast. Loudness of several channels adds their powers; left and right
weigh the same. Everything is filtered block by block (overlap-save), so that a long sound takes no more
memory than a short one.

Layer 1: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgefoley.types import Audio, FloatArray

DoubleArray = npt.NDArray[np.float64]

_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
_OFFSET = -0.691  # dB, cancels the K weighting's gain at 997 Hz
_RESPONSE = 8192  # samples of the K weighting's impulse response, at every rate up to 48 kHz
_TRANSFORM = 1 << 16  # samples filtered at once: bounds the memory for long sounds

OVERSAMPLING = 4  # BS.1770-4 annex 2
_TAPS = 24  # taps on each side of one phase of the interpolator
_PEAK_TRANSFORM = 1 << 15  # samples interpolated at once


def loudness_lufs(audio: Audio) -> float:
    """Integrated loudness in LUFS (full-scale 997 Hz sine in one channel: -3.01); -inf for silence.

    Mono and stereo. A sound shorter than the standard's 0.4 s block is measured as one block.
    """
    channels = as_channels(audio)
    hop = round(audio.rate / 10)
    powers = sum(_hop_powers(channel, audio.rate, hop) for channel in channels)
    if channels.shape[1] < 4 * hop:
        blocks = np.array([np.sum(powers) / channels.shape[1]])
    else:
        whole = channels.shape[1] // hop
        running = np.concatenate(([0.0], np.cumsum(np.asarray(powers)[:whole])))
        blocks = (running[4:] - running[:-4]) / (4 * hop)
    loud = blocks[_lufs(blocks) > _ABSOLUTE_GATE]
    if loud.size == 0:
        return -math.inf
    loud = loud[_lufs(loud) > float(_lufs(np.mean(loud))) + _RELATIVE_GATE]
    return float(_lufs(np.mean(loud)))


def true_peak_dbtp(audio: Audio) -> float:
    """Highest peak of the reconstructed wave in dB relative to full scale, by 4 times oversampling; -inf for
    silence."""
    highest = 0.0
    for _, envelope in _peak_blocks(as_channels(audio), 1):
        highest = max(highest, float(envelope.max()))
    return decibel(highest)


def peak_envelope(audio: Audio, stretch: int = 1) -> FloatArray:
    """(ceil(n / stretch),) float32, for each ``stretch`` of samples (1 to 16384) the highest absolute value
    of the oversampled wave between half a sample before and half a sample after it, over all channels.

    Oversampled by windowed-sinc interpolation (Kaiser, 48 taps per phase), silence assumed outside.
    """
    channels = as_channels(audio)
    out = np.empty(-(-channels.shape[1] // stretch), dtype=np.float32)
    for first, envelope in _peak_blocks(channels, stretch):
        starts = np.arange(0, envelope.size, stretch)
        begin = first // stretch
        out[begin : begin + starts.size] = np.maximum.reduceat(envelope, starts)
    return out


def as_channels(audio: Audio) -> FloatArray:
    """Samples as (channels, n)."""
    return np.atleast_2d(audio.samples)


def decibel(amplitude: float) -> float:
    """20 log10, -inf for 0."""
    return 20.0 * math.log10(amplitude) if amplitude > 0 else -math.inf


def amplitude(decibels: float) -> float:
    """Inverse of ``decibel``."""
    return 10.0 ** (decibels / 20.0)


def _lufs(power: DoubleArray | np.floating) -> DoubleArray:
    with np.errstate(divide="ignore"):
        return np.asarray(_OFFSET + 10.0 * np.log10(power))


def _peak_blocks(channels: FloatArray, multiple: int) -> Iterator[tuple[int, DoubleArray]]:
    """``peak_envelope`` sample by sample in consecutive blocks, with their positions, which are multiples of
    ``multiple``."""
    count = channels.shape[1]
    spectra = _interpolator_spectra()
    length = (_PEAK_TRANSFORM - 2 * _TAPS) // multiple * multiple
    for first in range(0, count, length):
        last = min(first + length, count)
        # _TAPS samples more on either side, silence where there are none.
        begin, end = max(0, first - _TAPS), min(count, last + _TAPS)
        envelope = np.abs(channels[:, first:last]).max(axis=0).astype(np.float64)
        for channel in channels:
            piece = np.zeros(last - first + 2 * _TAPS)
            piece[begin - first + _TAPS : end - first + _TAPS] = channel[begin:end]
            spectrum = np.fft.rfft(piece, _PEAK_TRANSFORM)
            for phase in spectra:
                # What has wrapped around ends before 2 * _TAPS - 1.
                between = np.abs(np.fft.irfft(spectrum * phase, _PEAK_TRANSFORM)[2 * _TAPS - 1 : piece.size])
                # between[i] lies between sample i-1 and i: it counts for both.
                np.maximum(envelope, between[:-1], out=envelope)
                np.maximum(envelope, between[1:], out=envelope)
        yield first, envelope


def _hop_powers(channel: FloatArray, rate: int, hop: int) -> DoubleArray:
    """Sum of squares of the K-weighted channel in stretches of ``hop`` samples (the last may be shorter)."""
    sums = np.zeros(-(-channel.size // hop))
    for first, weighted in _weighted(channel, rate):
        owner = (first + np.arange(weighted.size)) // hop
        sums += np.bincount(owner, weights=weighted * weighted, minlength=sums.size)
    return sums


def _weighted(channel: FloatArray, rate: int) -> Iterator[tuple[int, DoubleArray]]:
    """K-weighted blocks with their position, by overlap-save."""
    response = _k_response(rate)
    reach = response.size - 1
    size = max(_TRANSFORM, 2 ** math.ceil(math.log2(4 * reach)))
    spectrum = np.fft.rfft(response, size)
    for first in range(0, channel.size, size - reach):
        begin = max(0, first - reach)  # the first block has silence before it
        piece = np.zeros(min(size, channel.size - first + reach))
        piece[begin - first + reach :] = channel[begin : first - reach + piece.size]
        filtered = np.fft.irfft(np.fft.rfft(piece, size) * spectrum, size)
        yield first, filtered[reach : piece.size]


@lru_cache(maxsize=4)
def _k_response(rate: int) -> DoubleArray:
    """Impulse response of the K weighting at ``rate`` Hz."""
    length = math.ceil(_RESPONSE * max(1.0, rate / 48_000))
    impulse = [1.0] + [0.0] * (length - 1)
    for numerator, denominator in k_weighting(rate):
        impulse = _recursion(impulse, numerator, denominator)
    return np.array(impulse)


def k_weighting(rate: int) -> list[tuple[tuple[float, float, float], tuple[float, float]]]:
    """The two second-order sections ((b0, b1, b2), (a1, a2)) at ``rate`` Hz.

    The standard tabulates 48 kHz only; these are the analogue shelf (+4 dB above 1.7 kHz) and high-pass (38
    Hz) behind the table, transformed bilinearly, and equal the table at 48 kHz to better than 1e-8.
    """
    warped, gain, quality = (
        math.tan(math.pi * 1681.974450955533 / rate),
        3.999843853973347,
        0.7071752369554196,
    )
    high = 10.0 ** (gain / 20.0)
    band = high**0.4996667741545416
    norm = 1.0 + warped / quality + warped**2
    shelf = (
        (high + band * warped / quality + warped**2) / norm,
        2.0 * (warped**2 - high) / norm,
        (high - band * warped / quality + warped**2) / norm,
    )
    shelf_poles = 2.0 * (warped**2 - 1.0) / norm, (1.0 - warped / quality + warped**2) / norm
    warped, quality = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1.0 + warped / quality + warped**2
    pass_poles = 2.0 * (warped**2 - 1.0) / norm, (1.0 - warped / quality + warped**2) / norm
    return [(shelf, shelf_poles), ((1.0, -2.0, 1.0), pass_poles)]


def _recursion(
    signal: list[float], numerator: tuple[float, float, float], denominator: tuple[float, float]
) -> list[float]:
    """Direct form II transposed; run once per rate on the impulse only."""
    (b0, b1, b2), (a1, a2) = numerator, denominator
    out, s1, s2 = [], 0.0, 0.0
    for x in signal:
        y = b0 * x + s1
        s1, s2 = b1 * x - a1 * y + s2, b2 * x - a2 * y
        out.append(y)
    return out


@lru_cache(maxsize=1)
def _interpolator() -> tuple[DoubleArray, ...]:
    """Filters that give the wave at 1/4, 2/4 and 3/4 of the way from one sample to the next."""
    window_beta = 9.0  # side lobes below -90 dB
    filters = []
    for phase in range(1, OVERSAMPLING):
        position = np.arange(-_TAPS, _TAPS) + phase / OVERSAMPLING
        inside = np.sqrt(np.maximum(0.0, 1.0 - (position / _TAPS) ** 2))
        taps = np.sinc(position) * np.i0(window_beta * inside) / np.i0(window_beta)
        filters.append(taps / taps.sum())
    return tuple(filters)


@lru_cache(maxsize=1)
def _interpolator_spectra() -> tuple[npt.NDArray[np.complex128], ...]:
    return tuple(np.fft.rfft(taps, _PEAK_TRANSFORM) for taps in _interpolator())

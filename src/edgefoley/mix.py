"""Bring a sound to its loudness without clipping, and put it together with the original sound.

**Limiter.** The gain that would bring the oversampled wave under the ceiling is taken per short block,
released slowly, looked ahead by a few blocks and smoothed so that it bends instead of jumping; every
smoothing step can only lower it. A last trim of the whole sound covers what the oversampled estimate missed,
so the ceiling always holds. Because measuring by 4 times oversampling can read a few hundredths of a decibel
low, limiting aims 0.1 dB lower.

Layer 3: numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgefoley.errors import NumericError, UsageError
from edgefoley.loudness import (
    DoubleArray,
    amplitude,
    as_channels,
    decibel,
    loudness_lufs,
    peak_envelope,
    true_peak_dbtp,
)
from edgefoley.types import Audio, FloatArray

__all__ = [
    "CEILING_DBTP",
    "LevelReport",
    "add",
    "duck",
    "limit",
    "loudness_lufs",
    "normalise",
    "normalise_with_report",
    "true_peak_dbtp",
]

CEILING_DBTP = -1.0  # EBU R 128: the highest true peak of a programme
MAX_GAIN_DB = 30.0  # more would only raise the noise of a nearly silent sound
MAX_LIMITING_DB = 9.0  # more flattens the attacks that foley lives on: then the sound stays quieter instead
_MARGIN_DB = 0.1
_BLOCK = 64  # samples: 1.3 ms at 48 kHz
_LOOK_AHEAD = 3  # blocks
_RELEASE_SECONDS = 0.08
_CHUNK = 1 << 16  # samples worked on at once: bounds the memory for long sounds


@dataclass(frozen=True)
class LevelReport:
    """What ``normalise`` did: loudness (LUFS) before and after, ``gain_db`` applied to everything,
    ``limited_db`` most the limiter took away (>= 0), true peak (dBTP) after. ``reached`` is False when gain
    or limiting met its bound, so that the loudness asked for could not be had."""

    loudness_before: float
    loudness_after: float
    gain_db: float
    limited_db: float
    true_peak: float
    reached: bool


def normalise(audio: Audio, lufs: float, ceiling_dbtp: float = CEILING_DBTP) -> Audio:
    """``audio`` at ``lufs`` LUFS with a true peak of at most ``ceiling_dbtp``; silence stays silence."""
    return normalise_with_report(audio, lufs, ceiling_dbtp)[0]


def normalise_with_report(
    audio: Audio, lufs: float, ceiling_dbtp: float = CEILING_DBTP
) -> tuple[Audio, LevelReport]:
    """``normalise`` and what it did. Raises UsageError for a target outside [-70, 0] LUFS, NumericError for
    NaN."""
    if not -70.0 <= lufs <= 0.0:
        raise UsageError(f"loudness {lufs:g} LUFS makes no sense; take a value from -70 to 0, such as -20")
    before = loudness_lufs(_checked(audio))
    peak = true_peak_dbtp(audio)
    if math.isinf(before):  # nothing passes the gate: there is no loudness to correct
        quiet = limit(audio, ceiling_dbtp)
        return quiet, LevelReport(before, before, 0.0, 0.0, true_peak_dbtp(quiet), reached=False)
    allowed = min(MAX_GAIN_DB, ceiling_dbtp + MAX_LIMITING_DB - peak)
    gain = min(lufs - before, allowed)
    loud = Audio((audio.samples * amplitude(gain)).astype(np.float32), audio.rate)
    done, limited = _limit(loud, ceiling_dbtp)
    after = loudness_lufs(done)
    return done, LevelReport(before, after, gain, limited, true_peak_dbtp(done), abs(after - lufs) <= 0.5)


def limit(audio: Audio, ceiling_dbtp: float = CEILING_DBTP) -> Audio:
    """``audio`` with its true peak at or under the ceiling; untouched where it is already."""
    return _limit(_checked(audio), ceiling_dbtp)[0]


def add(original: Audio, foley: Audio) -> Audio:
    """The sum, as long as the longer one; a mono sound goes to both sides of a stereo one. May exceed full
    scale: ``limit`` it. Raises ValueError when the rates differ."""
    if original.rate != foley.rate:
        raise ValueError(f"cannot add sound at {original.rate} Hz and at {foley.rate} Hz")
    first, second = as_channels(original), as_channels(foley)
    channels = max(first.shape[0], second.shape[0])
    total = np.zeros((channels, max(first.shape[1], second.shape[1])), dtype=np.float32)
    for part in (first, second):
        total[:, : part.shape[1]] += part
    one_row = original.samples.ndim == 1 and foley.samples.ndim == 1
    return Audio(total[0] if one_row else total, original.rate)


def duck(
    original: Audio,
    foley: Audio,
    depth_db: float = 12.0,
    threshold_db: float = -45.0,
    attack: float = 0.03,
    release: float = 0.35,
) -> Audio:
    """The original sound, lowered by ``depth_db`` while the foley sounds (its level within 10 ms is above
    ``threshold_db`` dB of full scale). It falls within ``attack`` seconds before a sound begins and comes
    back with the time constant ``release`` seconds after it ends. ``add`` the foley to the result."""
    if original.rate != foley.rate:
        raise ValueError(f"cannot duck sound at {original.rate} Hz under sound at {foley.rate} Hz")
    samples = as_channels(original)
    block = max(1, round(foley.rate / 100))
    level = np.sqrt(_powers(as_channels(foley), block, -(-samples.shape[1] // block)))
    floor = amplitude(-abs(depth_db))
    wanted = np.where(level > amplitude(threshold_db), floor, 1.0)
    ahead = max(1, round(attack * 100))
    gain = _smooth(_released(wanted, 1.0 - math.exp(-0.01 / release)), ahead)
    lowered = _scaled(samples, gain, block)
    return Audio(lowered.reshape(original.samples.shape), original.rate)


def _checked(audio: Audio) -> Audio:
    if not np.isfinite(audio.samples).all():
        raise NumericError("the sound holds NaN or infinity; the network that made it failed")
    return audio


def _limit(audio: Audio, ceiling_dbtp: float) -> tuple[Audio, float]:
    """The limited sound and the most that was taken away, in dB (>= 0)."""
    ceiling = amplitude(ceiling_dbtp - _MARGIN_DB)
    highest = peak_envelope(audio, _BLOCK).astype(np.float64)
    if float(np.max(highest, initial=0.0)) <= ceiling:
        return audio, 0.0
    samples = as_channels(audio)
    wanted = np.minimum(1.0, ceiling / np.maximum(highest, 1e-12))
    release = 1.0 - math.exp(-_BLOCK / (_RELEASE_SECONDS * audio.rate))
    gain = _smooth(_released(wanted, release), _LOOK_AHEAD)
    done = _scaled(samples, gain, _BLOCK)
    trim = min(1.0, ceiling / amplitude(true_peak_dbtp(Audio(done, audio.rate))))
    done *= trim
    return Audio(done.reshape(audio.samples.shape), audio.rate), -decibel(float(gain.min()) * trim)


def _powers(samples: FloatArray, block: int, count: int) -> DoubleArray:
    """(count,) mean over each ``block`` of samples of the squares, the louder channel's at each sample;
    silence after the end."""
    powers = np.zeros(count)
    length = max(1, _CHUNK // block) * block
    for first in range(0, min(samples.shape[1], count * block), length):
        piece = samples[:, first : min(first + length, count * block)]
        squares = np.max(np.square(piece, dtype=np.float64), axis=0)
        starts = np.arange(0, squares.size, block)
        powers[first // block : first // block + starts.size] = np.add.reduceat(squares, starts) / block
    return powers


def _released(wanted: DoubleArray, rate: float) -> DoubleArray:
    """Falls at once, rises towards 1 by ``rate`` of the way per block; never above ``wanted``."""
    gain, state = np.empty_like(wanted), 1.0
    for i, target in enumerate(wanted.tolist()):
        state = min(target, state + (1.0 - state) * rate)
        gain[i] = state
    return gain


def _smooth(gain: DoubleArray, width: int) -> DoubleArray:
    """A sliding minimum and then a sliding mean over 2 ``width`` + 1 blocks: never above ``gain``, and it has
    fallen by the time a block that needs it begins."""
    span = 2 * width + 1
    windows = np.lib.stride_tricks.sliding_window_view
    lowest = windows(np.pad(gain, width, mode="edge"), span).min(axis=1)
    return windows(np.pad(lowest, width, mode="edge"), span).mean(axis=1)


def _scaled(samples: FloatArray, gain: DoubleArray, block: int) -> FloatArray:
    """Samples (channels, n) times a gain per sample made from a gain per block: linear between the block
    borders, never above the block's own."""
    edges = np.minimum(np.append(gain, gain[-1:]), np.insert(gain, 0, gain[0]))
    borders = np.arange(edges.size) * block
    out = np.empty(samples.shape, dtype=np.float32)
    for first in range(0, samples.shape[1], _CHUNK):
        last = min(first + _CHUNK, samples.shape[1])
        curve = np.interp(np.arange(first, last), borders, edges)
        out[:, first:last] = samples[:, first:last] * curve
    return out

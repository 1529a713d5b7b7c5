"""Things that must not be in a sound: clipping, pops, cancellation. NumPy only, pure functions.

A *clip* is a flat top: neighbouring samples held at the wave's own largest value. A *pop* is a step or a
spike that the sound around it does not explain: its difference from the samples before towers over all
differences nearby. Impacts begin with something like that too, so pops can be counted against the true
sound, and those that it has as well are not counted. *Cancellation* is sound that is missing where two sounds
in opposite phase were added: between the channels of a stereo sound, or in bands of a made sound against the
true one (a comb's teeth, a chunk's seam).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Samples = NDArray[np.float64]


def _mono(wave: ArrayLike) -> Samples:
    samples = np.asarray(wave, np.float64)
    if samples.ndim != 1:
        raise ValueError(f"a mono wave (samples,) is wanted, got shape {samples.shape}")
    return samples


def clipped_runs(wave: ArrayLike, least: int = 3, level: float = 0.5) -> list[tuple[int, int]]:
    """Flat tops of a wave (T,), full scale 1: (first sample, count) of every run of ``least`` samples or more
    that stay within 1e-4 of the wave's largest magnitude, sign included, or reach full scale, and are reached
    or left at a corner (5e-4 from one sample to the next).

    A wave whose peak is below ``level`` has none: nothing clips there. Raises ValueError unless mono.
    """
    samples = _mono(wave)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < level:
        return []
    runs = []
    for sign in (1.0, -1.0):
        top = sign * samples >= min(peak - 1e-4, 1.0 - 1e-9)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], top, [False]]).astype(np.int8)))
        around = np.pad(sign * samples, 1, mode="edge")
        for a, b in edges.reshape(-1, 2):
            # A slow wave is flat at its top too, but it comes there without a corner.
            corner = max(around[a + 1] - around[a], around[b] - around[b + 1])
            if b - a >= least and corner > 5e-4:
                runs.append((int(a), int(b - a)))
    return sorted(runs)


def pops(wave: ArrayLike, rate: int = 48_000, ratio: float = 4.0, floor: float = 2e-3) -> NDArray[np.int64]:
    """Samples of a wave (T,) at which it jumps.

    Silence is taken to precede the wave, so a wave that begins with a step has a pop there. A jump's first or
    third difference (one finds steps in noise, the other steps in tones) is ``ratio`` times
    the largest outside 1 ms but within 10 ms on either side, and more than ``floor`` of full scale. One index
    for each 5 ms. Raises ValueError unless mono.
    """
    samples = _mono(wave)
    if len(samples) < 4:
        return np.zeros(0, np.int64)
    step = max(1, rate // 1000)
    found: list[int] = []
    # Silence precedes the wave; both differences are largest at a step's first sample.
    errors = np.diff(samples, prepend=0.0), np.pad(np.diff(samples, 3), (2, 1))
    for place in sorted(p for error in errors for p in _towering(np.abs(error), step, ratio, floor)):
        if not found or place - found[-1] > 5 * step:
            found.append(place)
    return np.array(found, np.int64)


def _towering(error: Samples, step: int, ratio: float, floor: float) -> list[int]:
    """Where ``error`` is ``ratio`` times its largest value within 10 blocks of ``step``, but the next."""
    count = -(-len(error) // step)
    blocks = np.pad(error, (0, count * step - len(error))).reshape(count, step)
    largest = blocks.max(1)
    sides = [*range(9), *range(12, 21)]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(largest, 10), 21)[:, sides].max(1)
    hits = np.flatnonzero((largest > ratio * near) & (largest > floor))
    return [int(block * step + blocks[block].argmax()) for block in hits]


def added_pops(made: ArrayLike, true: ArrayLike, rate: int = 48_000) -> NDArray[np.int64]:
    """Pops of ``made`` that have no pop of ``true`` within 5 ms."""
    before = pops(true, rate)
    new = [p for p in pops(made, rate) if not np.any(np.abs(before - p) <= rate // 200)]
    return np.array(new, np.int64)


def mono_loss_db(stereo: ArrayLike) -> float:
    """Power lost when a stereo sound (2, T) is played by one loudspeaker, in dB, 0 or more.

    0 for equal channels, 3 for unrelated ones, large for opposite ones: above 6 dB something cancels. Raises
    ValueError for another shape.
    """
    channels = np.asarray(stereo, np.float64)
    if channels.ndim != 2 or channels.shape[0] != 2:
        raise ValueError(f"a stereo wave (2, samples) is wanted, got shape {channels.shape}")
    apart = float(np.square(channels).mean())
    together = float(np.square(channels.mean(0)).mean())
    if apart < 1e-12:
        return 0.0
    return max(0.0, 10 * float(np.log10(apart / max(together, 1e-12 * apart))))


def third_octaves(wave: Samples, rate: int, hop: float = 0.020) -> Samples:
    """Power (frames, bands) in third octaves from 100 Hz to 16 kHz; frames of 40 ms every ``hop`` seconds."""
    step = round(hop * rate)
    window = np.hanning(2 * step + 1)[:-1]
    padded = np.pad(wave, (step // 2, 2 * step))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * step)[::step] * window
    power = np.square(np.abs(np.fft.rfft(frames))) / np.square(window).sum()
    frequency = np.fft.rfftfreq(2 * step, 1 / rate)
    edges = 100 * 2 ** ((np.arange(24) - 0.5) / 3)
    edges = edges[edges < rate / 2]
    cells = [power[:, (frequency >= a) & (frequency < b)] for a, b in pairwise(edges.tolist())]
    return np.stack([cell.sum(1) for cell in cells], axis=1)


def cancelled(made: ArrayLike, true: ArrayLike, rate: int = 48_000, loss_db: float = 15.0) -> float:
    """Share (0..1) of the true sound's audible cells that are missing from ``made``; both (T,), aligned.

    A cell is a third octave in 20 ms; it is audible within 40 dB of the sound's loudest cell and missing when
    ``loss_db`` weaker, over 60 ms, than in the true sound. Raises ValueError for waves of different lengths.
    """
    a, b = _mono(made), _mono(true)
    if a.shape != b.shape:
        raise ValueError(f"waves of one length are wanted, got {a.shape} and {b.shape}")

    def smooth(power: Samples) -> Samples:
        padded = np.pad(power, ((1, 1), (0, 0)), mode="edge")
        return (padded[:-2] + padded[1:-1] + padded[2:]) / 3

    left, right = (smooth(third_octaves(w, rate)) for w in (a, b))
    loudest = float(right.max(initial=0.0))
    if loudest <= 0:
        return 0.0
    audible = right > loudest * 1e-4
    return float((left[audible] < right[audible] * 10 ** (-loss_db / 10)).mean())

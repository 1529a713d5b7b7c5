"""Onset times from curves and pictures, and how well two lists of onsets agree. NumPy only, pure functions.

An `onset` is a time in seconds at which a sound begins. Two onsets match when they are at most a tolerance
apart, one to one; F1 is 2 * matches / (found + true), and 1 when both lists are empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Times = NDArray[np.float64]


def match_onsets(found: ArrayLike, true: ArrayLike, tolerance_s: float) -> list[tuple[int, int]]:
    """Largest one-to-one matching of two lists of times (s) at most `tolerance_s` (inclusive) apart.

    Returns pairs (index in found, index in true), both in time order. With one tolerance for all, taking the
    earliest feasible pair of the two sorted lists is optimal. Raises ValueError for a negative tolerance.
    """
    if not tolerance_s >= 0:
        raise ValueError(f"tolerance_s must be >= 0, got {tolerance_s}")
    a, b = np.asarray(found, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        distance = a[order_a[i]] - b[order_b[j]]
        if abs(distance) <= tolerance_s + 1e-9:
            pairs.append((int(order_a[i]), int(order_b[j])))
            i, j = i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return pairs


def onset_f1(found: ArrayLike, true: ArrayLike, tolerance_s: float) -> float:
    """F1 (0..1) of two lists of onset times in seconds; 1 when both are empty."""
    total = np.size(found) + np.size(true)
    return 1.0 if total == 0 else 2.0 * len(match_onsets(found, true, tolerance_s)) / total


def pick_peaks(logits: ArrayLike, threshold: float, min_gap_s: float, rate: float = 50.0) -> Times:
    """The times of ``peaks``."""
    return peaks(logits, threshold, min_gap_s, rate)[0]


def peaks(logits: ArrayLike, threshold: float, min_gap_s: float, rate: float = 50.0) -> tuple[Times, Times]:
    """Times (s) and heights of the local maxima of a curve that reach `threshold`, highest first kept,
    `min_gap_s` or more apart.

    logits: (N,), index j is time j / rate. Each time is refined by the parabola through the peak and its
    neighbours, the height is the curve's own. A flat top counts once, at its first sample. Returned in time
    order. Raises ValueError for a wrong shape.
    """
    curve = np.asarray(logits, np.float64)
    if curve.ndim != 1:
        raise ValueError(f"logits must have shape (N,), got {curve.shape}")
    padded = np.concatenate([[-np.inf], curve, [-np.inf]])
    tops = np.flatnonzero((curve > padded[:-2]) & (curve >= padded[2:]) & (curve >= threshold))
    kept: list[int] = []
    for i in tops[np.argsort(-curve[tops], kind="stable")]:
        if all(abs(int(i) - k) >= min_gap_s * rate - 1e-9 for k in kept):
            kept.append(int(i))
    times = []
    kept.sort()
    for i in kept:
        shift = 0.0
        if 0 < i < len(curve) - 1:
            left, top, right = curve[i - 1 : i + 2]
            bend = left - 2 * top + right
            shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        times.append((i + shift) / rate)
    return np.array(times, np.float64), curve[kept]


def motion_rise(frames: NDArray[np.uint8], cells: int = 8, strongest: int = 8) -> NDArray[np.float64]:
    """The classical curve: rise of motion in the most active cells.

    frames (F, h, w) gray uint8. Mean absolute difference to the previous frame in each of cells x cells
    blocks; mean of the `strongest` blocks with most motion over the whole clip; its positive increase.
    Returns (F,), 0 at frame 0.
    """
    count, height, width = frames.shape
    rows, cols = height // cells, width // cells
    blocks = frames[:, : rows * cells, : cols * cells].astype(np.int16)
    change = np.abs(np.diff(blocks, axis=0)).reshape(count - 1, cells, rows, cells, cols).mean((2, 4))
    change = change.reshape(count - 1, cells * cells)
    best = np.argsort(-change.mean(0), kind="stable")[:strongest]
    level = np.concatenate([[0.0], change[:, best].mean(1)])
    return np.maximum(0.0, np.diff(level, prepend=0.0)) * (np.arange(count) > 1)


def classical_onsets(
    frames: NDArray[np.uint8], timestamps: ArrayLike, factor: float = 1.0, min_gap_s: float = 0.12
) -> Times:
    """Baseline without a network: peaks of `motion_rise` above mean + factor * standard deviation.

    frames (F, h, w) gray uint8 exposed at timestamps (F,) s, ascending, no repeats. Returns onset times in
    seconds.
    """
    times = np.asarray(timestamps, np.float64)
    if times.shape != (len(frames),):
        raise ValueError(f"timestamps must have shape ({len(frames)},), got {times.shape}")
    if len(frames) < 3:
        return np.zeros(0)
    rise = motion_rise(frames)
    dense = np.arange(times[0], times[-1] + 1e-9, 0.02)
    curve = np.interp(dense, times, rise)
    if not rise.any():
        return np.zeros(0)
    return pick_peaks(curve, float(rise.mean() + factor * rise.std()), min_gap_s) + times[0]

"""When frames are shown: constant and variable rates, dropped frames, and the grid that a network reads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.motion import Rng

FRAME_RATES = (12.0, 15.0, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0)


def frame_times(rng: Rng, seconds: float, fps: float) -> NDArray[np.float64]:
    """Frame timestamps (F,) s, increasing, the first 0 and all before `seconds`: of constant rate, or
    uneven by up to a third of a frame, or with dropped frames, or both."""
    times = np.arange(math.ceil(seconds * fps - 1e-9)) / fps
    if rng.random() < 0.12:
        times[1:] += rng.uniform(-0.35, 0.35, len(times) - 1) / fps
        times = times[times < seconds]
    if rng.random() < 0.12:
        keep = rng.random(len(times)) > rng.uniform(0.02, 0.2)
        keep[0] = True
        times = times[keep]
    return times


def grid_index(
    timestamps: NDArray[np.float64], count: int, rate: int = 25
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Newest frame at or before k / rate for k < count (the first frame before any) -> (indices (count,),
    ages (count,) s >= 0).
    """
    instants = np.arange(count) / rate
    index = np.clip(np.searchsorted(timestamps, instants + 1e-6, side="right") - 1, 0, len(timestamps) - 1)
    return index, np.maximum(instants - timestamps[index], 0.0).astype(np.float32)

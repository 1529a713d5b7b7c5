"""The event curve that the transformer is conditioned on, drawn from event lists as the sync encoder would
see them.

``sync_feat`` has four channels per frame of 25/s: the curve at the frame and half a frame later, the
strength, the activity. The curve is canonical - one bump per event, its height the confidence - so that it
can be drawn from a true list (training), from the sync encoder's peaks (a real clip) or from a list that a
person edited.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FRAME_RATE = 25
CURVE_RATE = 50
BUMP = (0.25, 1.0, 0.25)  # at 50 Hz: one grid place either side
LOWEST = 0.03  # confidence of the faintest events in training; what is fainter is no event


def draw_curve(
    times: npt.NDArray[np.float64],
    heights: npt.NDArray[np.float64],
    strengths: npt.NDArray[np.float64],
    activity: npt.NDArray[np.float32],
    frames: int,
) -> npt.NDArray[np.float32]:
    """Events (seconds; height and strength 0..1) and activity (50 Hz) -> sync_feat (frames, 4)."""
    curve = np.zeros(2 * frames + 2, dtype=np.float32)
    strength = np.zeros(2 * frames + 2, dtype=np.float32)
    for time, height, power in zip(times, heights, strengths, strict=True):
        place = round(time * CURVE_RATE) + 1
        for offset, weight in zip((-1, 0, 1), BUMP, strict=True):
            if 0 <= place + offset < len(curve) and weight * height > curve[place + offset]:
                curve[place + offset] = weight * height
                strength[place + offset] = power
    curve, strength = curve[1:-1], strength[1:-1]
    padded = np.zeros(2 * frames, dtype=np.float32)
    padded[: min(len(activity), 2 * frames)] = activity[: 2 * frames]
    return np.stack(
        [curve[0::2], curve[1::2], np.maximum(strength[0::2], strength[1::2]), padded[0::2]], axis=1
    )


def degrade(
    times: npt.NDArray[np.float64],
    strengths: npt.NDArray[np.float64],
    seconds: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a good but fallible sync encoder would report: some events missed, jittered by 12 ms, unsure, and
    false ones of low confidence in between. Returns times, heights, strengths."""
    doubt = float(rng.uniform(0.0, 0.7))  # of the whole clip: dark or shaky footage lowers every peak
    keep = rng.random(len(times)) > 0.06
    kept = times[keep] + rng.normal(0, 0.012, int(keep.sum()))
    heights = np.clip(1.0 - doubt * rng.uniform(0.5, 1.2, len(kept)), 0.12, 1.0)
    power = np.clip(strengths[keep] + rng.normal(0, 0.12, len(kept)), 0.05, 1.0)
    false = rng.uniform(0, seconds, rng.poisson(0.2 * seconds * rng.random()))
    low = rng.uniform(LOWEST, 0.15 + 0.3 * (1 - doubt) * rng.random(), len(false))
    return np.r_[kept, false], np.r_[heights, low], np.r_[power, rng.uniform(0.05, 0.6, len(false))]

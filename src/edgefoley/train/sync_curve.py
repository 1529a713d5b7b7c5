"""The errors of a good but fallible sync encoder, for the event curve that the transformer learns from.

The curve itself is ``edgefoley.events``: training, the sync graph and a person's own list share it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgefoley.events import BUMP, LOWEST, draw_curve

__all__ = ["BUMP", "LOWEST", "degrade", "draw_curve"]


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

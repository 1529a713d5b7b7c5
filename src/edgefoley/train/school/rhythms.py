"""Hits of a lesson's sound that nobody sees: ``edgefoley.rhythms`` as the mixer wants them."""

from __future__ import annotations

import numpy as np

from edgefoley.rhythms import natural_times
from edgefoley.train.school.mixing import Hit


def natural_hits(concept: str, kind: str, seconds: float, rng: np.random.Generator) -> list[Hit]:
    """Times and strengths of a concept's sounds without a picture, see ``natural_times``."""
    times, strengths = natural_times(concept, kind, seconds, rng)
    return [Hit(float(t), float(s)) for t, s in zip(times, strengths, strict=True)]

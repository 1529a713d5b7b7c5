"""Hands and arms that hold, strike and push: round limbs from a shoulder outside or inside the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgefoley.train.scenes.bodies.figures import ball, box, limb, merge
from edgefoley.train.scenes.bodies.script import Actor
from edgefoley.train.scenes.bodies.stuff import Rng
from edgefoley.train.scenes.bodies.tracks import bend, bone

Array = NDArray[np.float64]


def arm(rng: Rng, hand: Array, away: ArrayLike, scale: float = 1.0, skin: str = "flesh") -> list[Actor]:
    """An arm whose hand follows a path (T, 3), its shoulder in the direction `away` (3,) from the path's
    middle. scale: 1 for a grown person."""
    out = np.asarray(away, np.float64)
    out = out / np.linalg.norm(out)
    middle = (hand.max(axis=0) + hand.min(axis=0)) / 2
    span = float(np.ptp(hand, axis=0).max())
    upper, fore = 0.3 * scale, 0.28 * scale
    shoulder = middle + out * (0.4 * scale + 0.6 * span)
    reach = float(np.linalg.norm(hand - shoulder, axis=1).max())
    stretch = max(1.0, 1.05 * reach / (upper + fore))
    upper, fore = upper * stretch, fore * stretch
    root = np.broadcast_to(shoulder, hand.shape)
    pole = [rng.normal(0, 0.4), rng.normal(0, 0.4), -1.0]
    elbow = bend(root, hand, (upper, fore), pole)
    sleeve = "cloth" if rng.random() < 0.7 else skin
    thick = float(rng.uniform(0.9, 1.4)) * scale * stretch**0.8
    palm = merge(
        ball(0.045 * thick, 8).stretched([1.0, 0.7, 1.1]),
        *(
            box([0.009 * thick, 0.009 * thick, 0.035 * thick]).moved([x * thick, 0.01, 0.05 * thick])
            for x in (-0.03, -0.01, 0.01, 0.03)
        ),
    )
    return [
        Actor(limb(upper, 0.055 * thick, 0.045 * thick), sleeve, bone(root, elbow)),
        Actor(
            limb(fore, 0.045 * thick, 0.032 * thick),
            sleeve if rng.random() < 0.5 else skin,
            bone(elbow, hand),
        ),
        Actor(palm, skin, bone(hand, hand + (hand - elbow))),
    ]

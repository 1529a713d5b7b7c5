"""What an action's program hands over: the bodies with their motion, and what sounds when and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.bodies.figures import Mesh
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Source

Array = NDArray[np.float64]

MERGE_S: Final = 0.04  # contacts closer than this are heard as one
FIRST_S: Final = 0.05  # contacts before this belong to what happened before the clip


@dataclass(frozen=True)
class Actor:
    """One body: its mesh in its own frame, material, and poses (T, 7) at tracks.POSE_RATE or (7,) at rest.
    role: "struck", "striker" or "" for what is only seen."""

    mesh: Mesh
    material: str
    poses: Array
    role: str = ""


@dataclass(frozen=True)
class Hit:
    """A contact in space: time_s, strength 0..1, point (3,) in metres, source index, impulse in N s or
    nan."""

    time_s: float
    strength: float
    point: Array
    source: int = 0
    impulse_ns: float = math.nan


@dataclass
class Script:
    """A settled action. activity: one row of ACTIVITY_RATE values per source, 0..1. focus: further points
    (3,) that should be in the picture. ground: the material underfoot at z = 0, "" for none. elevation,
    azimuth: ranges in degrees from where the action reads well (azimuth 0: from +x; 90: from +y). follow: a
    path (T, 3) the camera keeps up with."""

    sources: tuple[Source, ...]
    hits: list[Hit]
    actors: list[Actor]
    activity: NDArray[np.float32]
    ground: str
    focus: list[Array] = field(default_factory=list)
    elevation: tuple[float, float] = (5.0, 50.0)
    azimuth: tuple[float, float] = (0.0, 360.0)
    follow: Array | None = None
    slab: bool = True  # whether the ground may be a table's top
    level: float = 0.0  # height of the ground that is drawn, in metres, where something lies on it
    words: dict[str, str] = field(default_factory=dict)


def silence(seconds: float, rows: int = 1) -> NDArray[np.float32]:
    """Activity of nothing: (rows, ceil(seconds * ACTIVITY_RATE)) zeros."""
    return np.zeros((rows, math.ceil(seconds * ACTIVITY_RATE)), np.float32)


def loudness(speed: float, full: float) -> float:
    """Strength 0..1 of a contact at `speed`, where `full` (m/s) and beyond is as hard as it gets."""
    return float(np.clip((max(speed, 0.0) / full) ** 0.7, 0.0, 1.0))


def heard(hits: Sequence[Hit], seconds: float) -> list[Hit]:
    """The hits that count, in time order: inside the clip, not drowned by a harder one of the same source
    just before or after, not far below the loudest of the clip."""
    inside = sorted((h for h in hits if FIRST_S <= h.time_s < seconds), key=lambda h: h.time_s)
    if not inside:
        return []
    floor = 0.12 * max(h.strength for h in inside)
    kept: list[Hit] = []
    for hit in inside:
        if hit.strength < max(floor, 0.03):
            continue
        last = next((i for i in range(len(kept) - 1, -1, -1) if kept[i].source == hit.source), None)
        if last is None or hit.time_s - kept[last].time_s >= MERGE_S:
            kept.append(hit)
        elif hit.strength > 2.5 * kept[last].strength:
            kept[last] = hit
        elif hit.strength > kept[last].strength:  # one sound: it begins with the first and is as loud as both
            first = kept[last]
            total = first.impulse_ns + hit.impulse_ns
            kept[last] = Hit(first.time_s, hit.strength, first.point, first.source, total)
    return sorted(kept, key=lambda h: h.time_s)

"""From touches to contacts: which of the thousands of contact points a listener hears, and what rubs how
fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Container

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.bodies.script import MERGE_S, Hit, loudness
from edgefoley.train.scenes.bodies.world import GROUND, Record
from edgefoley.train.scenes.truth import ACTIVITY_RATE

_WINDOW_S = 0.012  # an impact's impulse is handed over within this
_AUDIBLE = 0.15  # m/s
Chosen = Callable[[int, int], int | None]


def impacts(record: Record, full: float, chosen: Chosen, prescribed: Container[int] = ()) -> list[Hit]:
    """The hits of a record. full: the speed (m/s) of the hardest blow; chosen: source index of a pair of
    bodies, None for pairs that do not sound; prescribed: bodies whose motion is given, so that a blow is
    judged by its speed and not by its impulse.

    A hit begins where two surfaces approach each other faster than is audible and an impulse passes, at least
    MERGE_S after the pair's last one. What rests, rolls or rattles below that is no hit.
    """
    touches = record.touches
    out: list[Hit] = []
    pairs = np.stack([np.minimum(touches.a, touches.b), np.maximum(touches.a, touches.b)], axis=1)
    for a, b in np.unique(pairs, axis=0):
        source = chosen(int(a), int(b))
        if source is None:
            continue
        rows = np.flatnonzero((pairs == (a, b)).all(axis=1))
        masses = [record.things[i].mass for i in (a, b) if i >= 0 and i not in prescribed]
        free = bool(masses) and a not in prescribed and b not in prescribed
        end = -math.inf
        for row in rows[touches.approach[rows] > _AUDIBLE]:
            t = float(touches.time[row])
            if t < end:
                continue
            near = rows[(touches.time[rows] >= t) & (touches.time[rows] < t + _WINDOW_S)]
            impulse = float(touches.impulse[near].sum())
            speed = impulse / (min(masses) * 1.3) if free else float(touches.approach[near].max())
            if speed > _AUDIBLE:
                known = impulse if free else math.nan
                out.append(Hit(t, loudness(speed, full), touches.point[row], source, known))
                end = t + MERGE_S
    return sorted(out, key=lambda hit: hit.time_s)


def rubbing(record: Record, body: int, full: float, rolls: bool, seconds: float) -> NDArray[np.float32]:
    """How loud a body rubs or rolls on whatever it touches: (ceil(seconds * ACTIVITY_RATE),) float32, its
    speed over `full` (m/s) up to 1, 0 where it touches nothing or creeps."""
    touches = record.touches
    out = np.zeros(math.ceil(seconds * ACTIVITY_RATE), np.float32)
    rows = np.flatnonzero((touches.a == body) | (touches.b == body))
    rows = rows[(touches.a[rows] == GROUND) | (touches.b[rows] == GROUND) | (not rolls)]
    if rolls:
        step = np.minimum((touches.time[rows] * 240).astype(int), len(record.poses) - 2)
        move = record.poses[step + 1, body, :2] - record.poses[step, body, :2]
        speed = np.linalg.norm(move, axis=1) * 240
    else:
        speed = touches.slide[rows]
    slot = (touches.time[rows] * ACTIVITY_RATE).astype(int)
    inside = (slot < len(out)) & (speed > 0.04)
    total = np.bincount(slot[inside], speed[inside], len(out))
    count = np.bincount(slot[inside], minlength=len(out))
    # A body that only hops over the ground touches it in few of a slot's steps.
    steady = np.bincount(slot[inside], minlength=len(out)) >= 3
    mean = np.where(steady, total / np.maximum(count, 1), 0.0)
    return np.clip(mean / full, 0, 1).astype(np.float32)

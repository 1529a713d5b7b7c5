"""A program of fingers: keys of a keyboard, a piano or buttons go down under them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.figures import box, limb, merge
from edgefoley.train.scenes.bodies.rhythm import Strokes, moments
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, silence
from edgefoley.train.scenes.bodies.stuff import Rng, choose
from edgefoley.train.scenes.bodies.tools import swung
from edgefoley.train.scenes.bodies.tracks import bone, clock, poses, smooth, still
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]


def keys(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Fingers press keys of a keyboard, a piano or buttons; the keys go down with them."""
    finger_of, key_of = (
        choose(rng, striker, ("flesh",)),
        choose(rng, struck, ("plastic", "plastic", "wood", "metal")),
    )
    t = clock(seconds)
    rows, columns = (
        (1, int(rng.integers(6, 12)))
        if rng.random() < 0.4
        else (int(rng.integers(2, 5)), int(rng.integers(4, 9)))
    )
    pitch = float(np.exp(rng.uniform(np.log(0.016), np.log(0.05))))
    deep = pitch * (1.0 if rows > 1 else float(rng.uniform(3, 5)))
    travel, tall = 0.25 * pitch, 0.5 * pitch
    place = np.array(
        [
            [(c - (columns - 1) / 2) * pitch, (r - (rows - 1) / 2) * deep, 0.0]
            for r in range(rows)
            for c in range(columns)
        ]
    )
    times = moments(rng, seconds, 0.09, 0.6)
    struck_keys = rng.integers(0, len(place), len(times))
    fingers = int(rng.integers(1, 4))
    owner = np.array([int(k % columns * fingers // columns) for k in struck_keys])
    down = np.zeros((len(place), len(t)))
    for time, key in zip(times, struck_keys, strict=True):
        since = t - time
        down[key] = np.maximum(down[key], smooth(since / 0.015 + 1) * (1 - smooth((since - 0.07) / 0.05)))
    actors = _caps(place, down, (pitch, deep, tall, travel), key_of)
    half = np.array([0.5 * columns * pitch, 0.5 * rows * deep, 0.3 * tall])
    body = box(half + np.array([0.3 * pitch, 0.3 * pitch, 0.0])).moved([0, 0, half[2]])
    actors.append(Actor(body, str(rng.choice(["plastic", "wood", "metal"])), still([0, 0, 0.0])))
    level = 1.6 * tall
    for f in range(fingers):
        mine = np.flatnonzero(owner == f)
        if len(mine):
            actors += _finger(
                rng, t, times[mine], place[struck_keys[mine]], (level, travel, pitch), finger_of
            )
    force = rng.uniform(0.25, 0.7, len(times))
    hits = [
        Hit(float(x), float(s), place[k] + [0, 0, level - travel])
        for x, s, k in zip(times, force, struck_keys, strict=True)
    ]
    focus = [half * [x, y, 0] for x in (-1, 1) for y in (-1, 1)] + [np.array([0, 0, 2 * pitch])]
    return Script(
        (Source("keys", finger_of, key_of, 0.15),), hits, actors, silence(seconds), "wood", focus,
        (25.0, 80.0), (-20.0, 200.0),
        words={"program": "keys", "things": f"{rows} x {columns} keys"},
    )  # fmt: skip


def _caps(place: Array, down: Array, sizes: tuple[float, float, float, float], stuff: str) -> list[Actor]:
    """The keys at place (K, 3), those that are pressed as bodies of their own that follow down (K, T)."""
    pitch, deep, tall, travel = sizes
    cap, top = box([0.42 * pitch, 0.46 * deep, 0.5 * tall]), np.array([0, 0, 1.1 * tall])
    out, idle = [], []
    for spot, pressed in zip(place, down, strict=True):
        if pressed.any():
            path = spot + top - pressed[:, None] * [0, 0, travel]
            out.append(Actor(cap, stuff, poses(path, Rotation.identity()), "struck"))
        else:
            idle.append(cap.moved(spot + top))
    if idle:
        out.append(Actor(merge(*idle), stuff, still([0, 0, 0.0])))
    return out


def _finger(
    rng: Rng, t: Array, times: Array, spots: Array, sizes: tuple[float, float, float], skin: str
) -> list[Actor]:
    """A finger over its keys: at the bottom of the key's travel at each of its times."""
    level, travel, pitch = sizes
    lift = float(rng.uniform(0.5, 1.6)) * pitch
    falls = np.minimum(rng.uniform(0.04, 0.07, len(times)), 0.45 * np.diff(times, prepend=times[0] - 1))
    strokes = Strokes(times, np.full(len(times), lift), falls, lift)
    tip, _ = swung(strokes, t, spots + np.array([0, 0, level - travel + 0.25 * pitch]), 0.0, 0.0, 0.0)
    thick = 0.3 * pitch
    knuckle = (
        tip
        + np.array([float(rng.normal(0, 0.3)) * pitch, -2.2 * pitch, 1.4 * pitch])
        - 0.5 * strokes.above(t)[:, None] * [0, 0, 1.0]
    )
    wrist = (
        np.mean(knuckle, axis=0) * [1, 1, 1]
        + 0.7 * (knuckle - np.mean(knuckle, axis=0))
        + np.array([0, -4 * pitch, pitch])
    )
    long = float(np.linalg.norm((knuckle - tip), axis=1).mean())
    palm = float(np.linalg.norm((wrist - knuckle), axis=1).mean())
    return [
        Actor(limb(long, thick, thick), skin, bone(tip, knuckle), "striker"),
        Actor(limb(palm, 1.05 * thick, 1.5 * thick), skin, bone(knuckle, wrist)),
        Actor(
            limb(6 * pitch, 1.6 * thick, 2.0 * thick),
            "cloth",
            bone(wrist, wrist + np.array([0, -5 * pitch, 3 * pitch])),
        ),
    ]

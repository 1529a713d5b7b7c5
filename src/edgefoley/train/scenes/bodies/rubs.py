"""Programs that rub and rattle: scrape, shake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.figures import box
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import GROUNDS, HARD, THINGS, Rng, choose
from edgefoley.train.scenes.bodies.things import thing
from edgefoley.train.scenes.bodies.tracks import clock, poses, smooth, still
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Source

Array = NDArray[np.float64]


def _spells(rng: Rng, seconds: float, t: Array) -> Array:
    """0..1 (T,): when something is being done, with pauses."""
    out = np.zeros(len(t))
    now = float(rng.uniform(0.1, 0.7))
    while now < seconds:
        long = float(rng.uniform(0.5, 2.5))
        out = np.maximum(out, smooth((t - now) / 0.12) * (1 - smooth((t - now - long) / 0.12)))
        now += long + float(rng.uniform(0.5, 2.0))
    return out


def _phase(rng: Rng, t: Array, on: Array, slowest: float, fastest: float) -> Array:
    """Strokes done (T,): grows by one per stroke there and back, only while on."""
    rate = float(np.exp(rng.uniform(np.log(slowest), np.log(fastest))))
    pace = (
        rate
        * on
        * (1 + 0.2 * np.sin(2 * np.pi * float(rng.uniform(0.1, 0.6)) * t + float(rng.uniform(0, 6))))
    )
    return np.concatenate([[0.0], np.cumsum(pace[:-1] * np.diff(t))])


def scrape(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A hand rubs a brush, a stone, a cloth, a saw back and forth over a board; or drags it once, and
    again."""
    stuff, ground = choose(rng, striker, THINGS), choose(rng, struck, GROUNDS)
    t, s = clock(seconds), float(np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
    item = thing(rng, stuff, ("block", "book", "board", "rod", "disc", "prism"), s)
    on = _spells(rng, seconds, t)
    phase = _phase(rng, t, on, 0.6, 4.0)
    long = float(rng.uniform(0.6, 2.0)) * s
    circles = rng.random() < 0.25
    x = 0.5 * long * np.cos(2 * np.pi * phase)
    y = 0.5 * long * np.sin(2 * np.pi * phase) if circles else 0.05 * long * np.sin(2 * np.pi * phase * 0.23)
    # between the spells the thing is lifted, and put back before the next one
    lift = 0.15 * s * (1 - smooth(np.clip(on * 3, 0, 1)))
    path = np.stack([x, y, float(item.half[2]) + lift], axis=-1)
    tilt = Rotation.from_euler("z", float(rng.uniform(0, 6.28)))
    track = poses(path, tilt)
    speed = np.linalg.norm(np.gradient(path[:, :2], t, axis=0), axis=1) * (lift < 0.01 * s)
    activity = silence(seconds)
    centres = (np.arange(activity.shape[1]) + 0.5) / ACTIVITY_RATE
    top = max(float(speed.max()), 0.3)
    activity[0] = np.interp(centres, t, np.where(speed > 0.03, speed / top, 0.0))
    half = np.array([0.7 * long, 0.45 * long if circles else 0.3 * long]) + item.half[:2].max()
    board = box([*half, 0.05 * s])
    actors = [
        Actor(item.mesh, stuff, track, "striker"),
        Actor(board, ground, still([0, 0, -0.05 * s]), "struck"),
    ]
    actors += arm(
        rng,
        path + np.array([0, 0, float(item.half[2])]),
        [float(rng.normal(0, 0.5)), -1.0, 0.8],
        0.4 + 1.5 * s,
    )
    starts = np.flatnonzero((lift[1:] < 0.01 * s) & (lift[:-1] >= 0.01 * s))
    hits = [Hit(float(t[i + 1]), float(rng.uniform(0.1, 0.3)), path[i + 1] * [1, 1, 0]) for i in starts]
    focus = [np.array([a * half[0], b * half[1], 0.0]) for a in (-1, 1) for b in (-1, 1)]
    return Script(
        (Source("scrape", stuff, ground, item.size),), hits, actors, activity,
        ground if rng.random() < 0.5 else "wood", focus, (12.0, 65.0), level=-0.1 * s,
        words={"program": "scrape", "things": item.name, "ground": ground},
    )  # fmt: skip


def shake(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A held box, bottle, bunch or rattle is shaken; it sounds where it turns about."""
    stuff, filling = choose(rng, striker, (*HARD, "paper", "cloth")), choose(rng, struck, HARD)
    t, s = clock(seconds), float(np.exp(rng.uniform(np.log(0.05), np.log(0.4))))
    item = thing(rng, stuff, ("can", "block", "bottle", "mug", "prism", "book", "hammer", "ball"), s)
    on = _spells(rng, seconds, t)
    phase = _phase(rng, t, on, 1.5, 5.0)
    reach = float(rng.uniform(0.15, 0.6)) * s + 0.02
    axis = rng.normal(0, 1, 3) + np.array([0, 0, float(rng.uniform(0, 2))])
    axis /= np.linalg.norm(axis)
    swing = -np.cos(2 * np.pi * phase)
    level = 1.5 * s + float(item.half.max())
    path = np.array([0, 0, level]) + reach * (swing * on)[:, None] * axis
    twist = Rotation.from_rotvec(np.outer(float(rng.uniform(0, 0.7)) * swing * on, rng.normal(0, 1, 3)))
    track = poses(path, twist * Rotation.random(random_state=int(rng.integers(2**31))))
    activity = silence(seconds)
    centres = (np.arange(activity.shape[1]) + 0.5) / ACTIVITY_RATE
    speed = np.linalg.norm(np.gradient(path, t, axis=0), axis=1)
    top = max(float(speed.max()), 0.3)
    activity[0] = 0.5 * np.interp(centres, t, np.where(speed > 0.05, speed / top, 0.0))
    hits = []
    for k in np.arange(
        np.floor(phase[0] * 2) + 1, np.floor(phase[-1] * 2) + 1
    ):  # what is inside hits the wall
        i = int(np.searchsorted(phase, k / 2))
        if on[i] > 0.5:
            pace = float((phase[min(i + 1, len(phase) - 1)] - phase[i - 1]) * 120)
            hits.append(Hit(float(np.interp(k / 2, phase[i - 1 : i + 1], t[i - 1 : i + 1])),
                            loudness(2 * np.pi * pace * reach, 4.0), path[i]))  # fmt: skip
    actors = [Actor(item.mesh, stuff, track, "striker")]
    actors += arm(rng, path, [*rng.normal(0, 1, 2).tolist(), -0.6], 0.6 + s)
    focus = [
        np.array([0, 0, level]) + (reach + float(item.half.max())) * np.array(d)
        for d in ([1, 0, 1], [-1, 0, -1], [0, 1, 0])
    ]
    ground = str(rng.choice(["", "", "wood", "stone", "cloth"]))
    return Script(
        (Source("shake", stuff, filling, item.size),), hits, actors, activity, ground, focus, (-10.0, 45.0),
        words={"program": "shake", "things": item.name},
    )  # fmt: skip

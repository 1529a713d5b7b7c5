"""Programs of doors and drawers: they move along hinge and rail in closed form and meet their frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.figures import Mesh, ball, box, cylinder, merge
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import Rng, choose
from edgefoley.train.scenes.bodies.tracks import clock, poses, smooth, still
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Source

Array = NDArray[np.float64]


class Swings:
    """Openings and closings of something with one degree of freedom: `at` (T,) from 0, shut, to 1; `slams`:
    times and closing speeds (1/s) of the instants it reaches 0; `latches`: instants it leaves 0."""

    def __init__(self, rng: Rng, seconds: float, t: Array) -> None:
        self.at = np.zeros(len(t))
        self.slams: list[tuple[float, float]] = []
        self.latches: list[float] = []
        now, where = float(rng.uniform(0.2, 0.8)), 0.0
        if rng.random() < 0.5:
            where = float(rng.uniform(0.4, 1.0))
            self.at[:] = where
        while now < seconds - 0.15:
            if where == 0.0:
                goal, long = float(rng.uniform(0.35, 1.0)), float(rng.uniform(0.4, 1.6))
                u = smooth((t - now) / long)
                self.at = np.where(t >= now, goal * u, self.at)
                self.latches.append(now)
            else:
                goal, long = 0.0, float(np.exp(rng.uniform(np.log(0.25), np.log(1.5))))
                u = np.clip((t - now) / long, 0, 1)
                power = float(rng.uniform(1.3, 2.5))  # it gets faster until the frame stops it
                self.at = np.where(t >= now, where * (1 - u**power), self.at)
                self.slams.append((now + long, where * power / long))
            now, where = now + long + float(rng.uniform(0.15, 1.3)), goal
        self.speed = np.abs(np.gradient(self.at, t))

    def rub(self, seconds: float, full: float) -> NDArray[np.float32]:
        """Activity (1, slots): how fast it moves over `full`, in 1/s."""
        out = silence(seconds)
        t = np.arange(len(self.speed)) / 240
        centres = (np.arange(out.shape[1]) + 0.5) / ACTIVITY_RATE
        out[0] = np.clip(np.interp(centres, t, self.speed) / full, 0, 1)
        out[0][out[0] < 0.03] = 0
        return out

    def hits(self, points: tuple[Array, Array], full: float, tick: float) -> list[Hit]:
        """Slams at the first point; latches, `tick` strong (0: none), at the second."""
        out = [Hit(time, max(0.05, loudness(v, full)), points[0]) for time, v in self.slams]
        if tick > 0:
            out += [Hit(time, tick, points[1]) for time in self.latches]
        return sorted(out, key=lambda h: h.time_s)


def door(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A door, a cupboard's door, a lid or a gate opens, creaks and falls shut."""
    stuff = choose(rng, striker or struck, ("wood", "metal", "glass", "plastic"))
    frame_of = choose(rng, struck, ("wood", "metal", "concrete", stuff))
    t = clock(seconds)
    swings = Swings(rng, seconds, t)
    tall = float(np.exp(rng.uniform(np.log(0.25), np.log(2.2))))
    wide, thick = tall * float(rng.uniform(0.35, 0.9)), 0.03 * tall**0.5
    lid = tall < 0.6 and rng.random() < 0.4
    sense = float(rng.choice([-1, 1]))
    angle = swings.at * float(rng.uniform(0.8, 1.9))
    knob = merge(ball(0.03 * tall**0.5, 8), cylinder(0.012, 0.05, 6)).moved(
        [0.88 * wide, sense * (thick + 0.02), 0]
    )
    leaf = box([wide / 2, thick / 2, tall / 2]).moved([wide / 2, 0, 0])
    panel = box([wide * 0.32, thick * 0.7, tall * 0.18])
    leaf = merge(leaf, panel.moved([wide / 2, 0, 0.22 * tall]), panel.moved([wide / 2, 0, -0.22 * tall]))
    if lid:  # lies flat, hinged at the back
        turn = Rotation.from_euler("y", np.stack([-angle], axis=-1)) * Rotation.from_euler(
            "x", 90, degrees=True
        )
        base = np.array([0.0, 0.0, tall * 0.6])
        frame = box([wide / 2, tall / 2, 0.3 * tall]).moved([wide / 2, 0, -0.3 * tall - thick / 2])
        edge, hinge = base + np.array([wide, 0, 0]), base
    else:
        turn = Rotation.from_euler("z", np.stack([sense * angle], axis=-1))
        base = np.array([0.0, 0.0, tall / 2 + 0.01])
        frame = _doorway(rng, wide, tall, thick, sense)
        edge, hinge = base + np.array([wide, 0, 0]), base
    track = poses(np.tile(base, (len(t), 1)), turn)
    actors = [
        Actor(leaf, stuff, track, "striker"),
        Actor(knob, "metal", track),
        Actor(frame, frame_of, still(base), "struck"),
    ]
    if rng.random() < 0.6:
        hand = base + turn.apply([0.88 * wide, sense * (thick + 0.03), 0.0])
        actors += arm(rng, hand, [0.6, sense * 1.0, 0.3], 1.0)
    creaks = rng.random() < 0.6
    hits = swings.hits(
        (edge, hinge + 0.9 * (edge - hinge)), 4.5, float(rng.uniform(0.1, 0.3)) * (rng.random() < 0.5)
    )
    out = 0.7 * wide * np.array([1.0, sense if not lid else 0.0, 0.7 if lid else 0.0])
    focus = [base + np.array([0, 0, -0.4 * tall]), base + np.array([wide, 0, 0.4 * tall]), base + out]
    facing = (20.0, 160.0) if sense > 0 and not lid else (-160.0, -20.0)
    size = float(np.clip(np.log(tall / 0.02) / np.log(100), 0, 1))
    return Script(
        (Source("door", stuff, frame_of, size),), hits, actors,
        swings.rub(seconds, 1.5) * np.float32(creaks), "wood", focus, (5.0, 35.0), facing, slab=False,
        words={"program": "lid" if lid else "door"},
    )  # fmt: skip


def _doorway(rng: Rng, wide: float, tall: float, thick: float, sense: float) -> Mesh:
    """Posts and a lintel about a door's hinge, in a wall or with the cupboard's back behind it."""
    post = 0.05 * tall**0.5
    sides = [box([post, 1.5 * thick, tall / 2 + post]).moved([x, 0, 0]) for x in (-post, wide + post)]
    lintel = box([wide / 2 + 2 * post, 1.5 * thick, post]).moved([wide / 2, 0, tall / 2 + post])
    if rng.random() < 0.5:
        wall = [box([wide, thick, 0.8 * tall]).moved([x, 0, 0.2 * tall])
                for x in (-wide - 2 * post, 2 * wide + 2 * post)]  # fmt: skip
    else:
        wall = [box([wide / 2, 0.02, tall / 2]).moved([wide / 2, -sense * 0.5 * wide, 0])]
    return merge(*sides, lintel, *wall)


def drawer(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Drawers of a chest, or a sliding door, pulled out and pushed shut."""
    stuff = choose(rng, striker or struck, ("wood", "wood", "metal", "plastic"))
    frame_of = choose(rng, struck, (stuff,))
    t = clock(seconds)
    swings = Swings(rng, seconds, t)
    wide = float(np.exp(rng.uniform(np.log(0.25), np.log(0.9))))
    high = wide * float(rng.uniform(0.2, 0.5))
    deep, thick = wide * float(rng.uniform(0.5, 0.9)), 0.02 * wide**0.5
    count = int(rng.integers(1, 5))
    mine = int(rng.integers(0, count))
    w, h, d = wide / 2, high / 2, deep / 2
    tray = merge(
        box([thick, 0.97 * w, 0.94 * h]),
        box([d, thick / 2, 0.7 * h]).moved([-d, 0.9 * w, -0.1 * h]),
        box([d, thick / 2, 0.7 * h]).moved([-d, -0.9 * w, -0.1 * h]),
        box([d, 0.9 * w, thick / 2]).moved([-d, 0, -0.7 * h]),
    )
    knob = merge(ball(0.03 * wide**0.5, 8).moved([2.2 * thick, 0, 0]))
    chest = merge(
        box([d, thick, count * h]).moved([-d, w, count * h]),
        box([d, thick, count * h]).moved([-d, -w, count * h]),
        box([thick, w, count * h]).moved([-2 * d, 0, count * h]),
        *(box([d, w, thick / 2]).moved([-d, 0, 2 * h * k]) for k in range(count + 1)),
    )
    actors = [Actor(chest, frame_of, still([0, 0, 0.0]), "struck")]
    pull = 0.85 * deep * swings.at
    for k in range(count):
        base = np.array([0.0, 0.0, (2 * k + 1) * h])
        path = base + np.stack([pull, 0 * t, 0 * t], axis=-1) * (k == mine)
        track = poses(path, Rotation.identity()) if k == mine else still(base)
        actors += [Actor(tray, stuff, track, "striker" if k == mine else ""), Actor(knob, "metal", track)]
        if k == mine and rng.random() < 0.7:
            actors += arm(rng, path + np.array([3 * thick, 0, 0]), [1.0, float(rng.normal(0, 0.5)), 0.5], 1.0)
    place = np.array([0.0, 0.0, (2 * mine + 1) * h])
    hits = swings.hits((place, place), 4.5, float(rng.uniform(0.08, 0.25)) * (rng.random() < 0.5))
    size = float(np.clip(0.55 + 0.2 * np.log(wide / 0.4), 0, 1))
    focus = [place + np.array([0.8 * deep, 0, 0]), place + np.array([0, w, h]), place + np.array([0, -w, -h])]
    return Script(
        (Source("drawer", stuff, frame_of, size),), hits, actors,
        swings.rub(seconds, 2.0), "wood", focus, (5.0, 45.0), (-65.0, 65.0), slab=False,
        words={"program": "drawer", "things": f"{count} drawers"},
    )  # fmt: skip

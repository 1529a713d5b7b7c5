"""Programs of things that fall: drop, bounce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.impacts import impacts
from edgefoley.train.scenes.bodies.script import Actor, Script, silence
from edgefoley.train.scenes.bodies.stuff import GROUNDS, THINGS, Rng, choose
from edgefoley.train.scenes.bodies.things import Thing, thing
from edgefoley.train.scenes.bodies.tracks import POSE_RATE, still
from edgefoley.train.scenes.bodies.world import Grip, Record, World
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]


def cast(record: Record, role: str = "striker") -> list[Actor]:
    """The bodies of a record as actors."""
    return [Actor(item.mesh, item.material, record.poses[:, i], role) for i, item in enumerate(record.things)]


def _grips(rng: Rng, seconds: float, item: Thing, height: float, first: float, again: bool) -> list[Grip]:
    """Held until `first`, dropped; perhaps picked up and dropped again, and again."""
    out, start, t = [], -1.0, first
    while t < seconds:
        tall = float(item.half.max())
        place = (*rng.normal(0, 0.5 * tall, 2).tolist(), tall + height * float(rng.uniform(0.5, 1.0)))
        turn = Rotation.random(random_state=int(rng.integers(2**31)))
        push = (*(rng.normal(0, 0.25, 2)).tolist(), float(rng.uniform(-0.5, 0.5)) * (rng.random() < 0.4))
        spin = tuple((rng.normal(0, 2.5, 3) * (rng.random() < 0.7)).tolist())
        out.append(Grip(start, t, place, turn, push, spin))
        if not again:
            break
        start = t + 2 * float(np.sqrt(2 * height / 9.81)) + float(rng.uniform(0.5, 1.6))
        t = start + float(rng.uniform(0.7, 1.3))
    return out


def drop(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """One to four things fall in turn, or one is picked up and dropped again."""
    ground = choose(rng, struck, GROUNDS)
    stuff = choose(rng, striker, THINGS)
    again = rng.random() < 0.5
    count = 1 if again else int(rng.choice([1, 2, 3, 4], p=[0.35, 0.3, 0.2, 0.15]))
    scale = float(np.exp(rng.uniform(np.log(0.025), np.log(0.8))))
    world = World(ground)
    held: list[list[Grip]] = []
    for k in range(count):
        item = thing(rng, stuff, (), scale * float(rng.uniform(0.7, 1.4)))
        height = min(float(np.exp(rng.uniform(np.log(0.12), np.log(1.4)))), 0.05 + 7 * float(item.half.max()))
        first = float(rng.uniform(0.1, 0.35) if k == 0 else rng.uniform(0.3, max(0.4, seconds - 0.7)))
        grips = _grips(rng, seconds, item, height, first, again)
        shift = np.array([k * 1.2 * scale * (-1) ** k, 0, 0])
        grips = [
            Grip(g.start, g.end, tuple((np.array(g.position) + shift).tolist()), g.turn, g.velocity, g.spin)
            for g in grips
        ]
        world.put(item, still(grips[0].position, grips[0].turn), grips=grips)
        held.append(grips)
    record = world.run(seconds)
    actors = cast(record)
    if again or rng.random() < 0.6:
        actors += _holding(rng, record, held)
    hits = impacts(record, 4.5, lambda a, b: 0)
    size = record.things[0].size
    tops = [np.array(g[0].position) for g in held]
    return Script(
        (Source("drop", stuff, ground, size),),
        hits,
        actors,
        silence(seconds),
        ground,
        focus=[*tops, *(np.array([p[0], p[1], 0.0]) for p in tops)],
        words={"program": "drop", "things": ", ".join(i.name for i in record.things), "ground": ground},
    )


def _holding(rng: Rng, record: Record, held: list[list[Grip]]) -> list[Actor]:
    """An arm per body that holds it while it is gripped and otherwise waits where it let go or will take
    it."""
    out: list[Actor] = []
    t = np.arange(len(record.poses)) / POSE_RATE
    for i, grips in enumerate(held):
        path = np.array(record.poses[:, i, :3])
        path[:, 2] += 0.6 * float(record.things[i].half.max())
        known = np.zeros(len(t), bool)
        for g in grips:
            known |= (t >= g.start) & (t < g.end)
        if not known.any():
            continue
        free = np.flatnonzero(~known)
        ends = np.flatnonzero(known)
        for axis in range(3):
            path[free, axis] = np.interp(free, ends, path[ends, axis])
        last = float(t[ends[-1]])
        path[:, 2] += 0.1 * np.clip((t - last) / 0.3, 0, 1)
        away = [rng.normal(0, 0.6), rng.normal(0, 0.6), rng.uniform(0.2, 1.5)]
        out += arm(rng, path, away, float(rng.uniform(0.8, 1.2)))
    return out


def bounce(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Balls that come back up, thrown again when they are tired."""
    ground = choose(rng, struck, ("wood", "concrete", "stone", "plastic", "ceramic", "metal"))
    stuff = choose(rng, striker, ("rubber", "rubber", "plastic", "glass", "metal"))
    lively = float(rng.uniform(0.65, 0.92))
    world = World(ground, bounce=1.0)
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    tops = []
    scale = float(np.exp(rng.uniform(np.log(0.03), np.log(0.35))))
    for k in range(count):
        item = thing(rng, stuff, ("ball",), scale)
        height = min(float(rng.uniform(0.3, 1.5)) * (0.5 + scale), 7 * scale + 0.05)
        grips, start, t = [], -1.0, float(rng.uniform(0.1, 0.4) + 0.5 * k)
        while t < seconds:
            place = (k * 3.0 * scale, float(rng.normal(0, scale)), item.half[2] + height)
            push = (
                float(rng.normal(0, 0.15)),
                float(rng.normal(0, 0.15)),
                float(rng.choice([0.0, 0.0, -2.0])),
            )
            grips.append(
                Grip(start, t, place, Rotation.identity(), push, tuple(rng.normal(0, 3, 3).tolist()))
            )
            start = t + float(rng.uniform(1.5, 5.0))
            t = start + float(rng.uniform(0.6, 1.5))
        tops.append(np.array(grips[0].position))
        world.put(item, still(grips[0].position), grips=grips, bounce=lively)
    record = world.run(seconds)
    return Script(
        (Source("bounce", stuff, ground, record.things[0].size),),
        impacts(record, 5.0, lambda a, b: 0),
        cast(record),
        silence(seconds),
        ground,
        focus=[*tops, *(p * [1, 1, 0] for p in tops)],
        words={"program": "bounce", "things": f"{count} balls", "ground": ground},
    )

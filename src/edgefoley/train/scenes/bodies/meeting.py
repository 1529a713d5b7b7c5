"""Programs of things that move along the ground and meet: roll, slide, collide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.falling import cast
from edgefoley.train.scenes.bodies.figures import box
from edgefoley.train.scenes.bodies.impacts import impacts, rubbing
from edgefoley.train.scenes.bodies.script import Script, silence
from edgefoley.train.scenes.bodies.stuff import HARD, THINGS, Rng, choose
from edgefoley.train.scenes.bodies.things import Thing, make, thing
from edgefoley.train.scenes.bodies.tracks import clock, still
from edgefoley.train.scenes.bodies.world import GROUND, Grip, World
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]
_FLOORS = ("wood", "concrete", "stone", "metal", "plastic", "cloth", "ceramic", "earth", "ice")


def _launches(rng: Rng, seconds: float, side: float, height: float, speed: float) -> list[Grip]:
    """Set off at `side` metres towards -x, brought back and set off again."""
    out, start, t = [], -1.0, float(rng.uniform(0.1, 0.5))
    while t < seconds - 0.2:
        v = speed * float(rng.uniform(0.7, 1.2))
        place = (side, float(rng.normal(0, 0.02)), height)
        out.append(Grip(start, t, place, velocity=(-np.sign(side) * v, float(rng.normal(0, 0.04)) * v, 0.0)))
        start = t + float(rng.uniform(1.4, 3.5))
        t = start + float(rng.uniform(0.8, 1.4))
    return out


def _stop(rng: Rng, material: str, at: float, size: float) -> tuple[Thing, Array]:
    """Something fixed that ends the way at x = at: a board on edge."""
    half = np.array([0.1 * size, float(rng.uniform(0.8, 3.0)) * size, float(rng.uniform(0.5, 1.5)) * size])
    board = make("wall", material, box(half), "box")
    return board, still([at + np.sign(at) * half[0], 0.0, half[2]])


def _spread(x: float, height: float) -> list[Array]:
    return [np.array([s * x, 0.0, z]) for s in (-1, 1) for z in (0.0, height)]


def roll(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Balls or cans roll over the ground, over ridges, against a wall, pushed again and again."""
    ground, stuff = choose(rng, struck, _FLOORS), choose(rng, striker, (*HARD, "rubber", "paper"))
    scale = float(np.exp(rng.uniform(np.log(0.04), np.log(0.4))))
    world = World(ground)
    speed = float(rng.uniform(0.4, 2.5)) * (0.4 + scale)
    way = float(np.clip(speed * rng.uniform(0.5, 1.2), 2 * scale, 5 * scale))
    count = int(rng.choice([1, 1, 2, 3]))
    tops: list[float] = []
    for k in range(count):
        item = thing(rng, stuff, ("ball", "ball", "can", "disc") if k == 0 else ("ball",), scale)
        tall = float(item.half[2] if item.solid == "sphere" else item.half[0])
        turn = Rotation.identity() if item.solid == "sphere" else Rotation.from_euler("x", 90, degrees=True)
        side = way * (-1) ** k
        grips = [
            Grip(g.start, g.end, (side, 1.6 * scale * k, tall + 1e-3), turn, g.velocity,
                 (0.0, g.velocity[0] / tall, 0.0))
            for g in _launches(rng, seconds, side, tall, speed)
        ]  # fmt: skip
        if item.solid == "cylinder":  # pure rolling along x, its axis across
            grips = [Grip(g.start, g.end, g.position, turn, (g.velocity[0], 0.0, 0.0), g.spin) for g in grips]
        world.put(item, still(grips[0].position, turn), grips=grips, rolling=float(rng.uniform(0.0, 0.004)))
        tops.append(2 * tall)
    if rng.random() < 0.5:
        board, pose = _stop(rng, ground, -1.15 * way, scale)
        world.put(board, pose, fixed=True)
    if rng.random() < 0.4:
        for x in rng.uniform(-0.7 * way, 0.7 * way, int(rng.integers(1, 5))):
            ridge = make("ridge", ground, box([0.05 * scale, 3 * scale, 0.025 * scale]), "box")
            world.put(ridge, still([x, 0, 0.0]), fixed=True)
    record = world.run(seconds)
    loud = np.max([rubbing(record, k, 2.0, True, seconds) for k in range(count)], axis=0)
    hits = impacts(record, 3.0, lambda a, b: 0)
    names = ", ".join(i.name for i in record.things)
    return Script(
        (Source("roll", stuff, ground, record.things[0].size),), hits, cast(record), loud[None], ground,
        _spread(way, max(tops)), (5.0, 45.0), words={"program": "roll", "things": names, "ground": ground},
    )  # fmt: skip


def slide(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A flat thing slides until it stops or hits something; pushed by a hand, brought back, pushed again."""
    ground, stuff = choose(rng, struck, (*_FLOORS, "ice")), choose(rng, striker, THINGS)
    scale = float(np.exp(rng.uniform(np.log(0.06), np.log(0.8))))
    item = thing(rng, stuff, ("block", "book", "disc", "plate", "pan", "board"), scale)
    if item.half[2] > item.half[0]:
        item = thing(rng, stuff, ("block",), scale)
    world = World(ground)
    speed = float(rng.uniform(0.8, 3.0)) * (0.5 + scale)
    friction = float(rng.uniform(0.05, 0.35))
    way = float(np.clip(0.3 * speed**2 / (2 * friction * 9.81 * 0.8), 1.2 * scale, 4 * scale))
    grips = _launches(rng, seconds, way, float(item.half[2]) + 5e-4, speed)
    world.put(item, still(grips[0].position), grips=grips, friction=friction)
    if rng.random() < 0.6:
        board, pose = _stop(rng, ground, -1.1 * way - float(item.half[0]), scale)
        world.put(board, pose, fixed=True)
    record = world.run(seconds)
    actors = cast(record)
    if rng.random() < 0.5:
        actors += arm(
            rng, _push(record.poses[:, 0, :3], grips, item, seconds), [1.0, rng.normal(0, 0.5), 0.8]
        )
    return Script(
        (Source("slide", stuff, ground, item.size),),
        impacts(record, 3.0, lambda a, b: 0),
        actors,
        rubbing(record, 0, 2.0, False, seconds)[None],
        ground,
        _spread(way, 2 * float(item.half[2])),
        (5.0, 55.0),
        words={"program": "slide", "things": item.name, "ground": ground},
    )


def _push(path: Array, grips: list[Grip], item: Thing, seconds: float) -> Array:
    """A hand that holds the thing while it is carried and stays behind when it is let go."""
    t = clock(seconds)
    held = np.zeros(len(t), bool)
    for g in grips:
        held |= (t >= g.start) & (t < g.end + 0.06)
    hand = np.array(path)
    ends = np.flatnonzero(held)
    for axis in range(3):
        hand[~held, axis] = np.interp(np.flatnonzero(~held), ends, path[ends, axis])
    hand[:, 0] += 0.9 * float(item.half[0])
    hand[:, 2] += 0.5 * float(item.half[2])
    return hand


def collide(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Bowling, billiards, a row of dominoes, or a block that is run into by a heavier one."""
    kind = str(rng.choice(["bowling", "billiards", "dominoes", "crash"]))
    ground = str(rng.choice(["wood", "cloth", "plastic", "stone", "concrete"]))
    stuff, target = choose(rng, striker, (*HARD, "rubber")), choose(rng, struck, HARD)
    scale = float(np.exp(rng.uniform(np.log(0.05), np.log(0.35))))
    world = World(ground)
    speed = float(rng.uniform(1.2, 3.5)) * (0.5 + scale)
    first = float(rng.uniform(0.1, 0.6))
    far = float(min(speed * rng.uniform(0.3, 0.9), 5 * scale))
    ram = thing(
        rng, stuff, ("block",) if kind == "crash" else ("ball",), scale * (0.6 if kind == "dominoes" else 1)
    )
    low = float(ram.half[2])
    goals = _targets(rng, kind, target, scale, low)
    grips = _again(rng, seconds, first, (far, 0.0, low + 1e-3), speed, low)
    world.put(ram, still(grips[0].position), grips=grips, friction=0.05 if kind == "crash" else 0.5)
    for item, place in goals:
        back = [
            Grip(g.start, g.end - 0.1, tuple(place[:3].tolist()), Rotation.from_quat(place[3:]), carry=0.6)
            for g in grips[1:]
        ]
        world.put(item, place, grips=back, friction=0.3, rolling=0.002)
    record = world.run(seconds)
    hits = impacts(record, 3.5, lambda a, b: 0 if GROUND not in (a, b) else 1)
    sources = (
        Source("collide", stuff, target, goals[0][0].size),
        Source("drop", target, ground, goals[0][0].size),
    )
    rolling = rubbing(record, 0, 2.5, True, seconds)
    activity = silence(seconds, 2)
    activity[0] = rolling * np.float32(0.6)
    tops = [np.array([p[0], p[1], z]) for i, p in goals for z in (0.0, 2 * float(i.half[2]))]
    return Script(
        sources, hits, cast(record), activity, ground,
        [*tops, np.array([0.7 * far, 0, 0.0]), np.array([-2 * scale, 0, 0.0])], (8.0, 60.0),
        words={"program": kind, "things": f"{ram.name}, {len(goals)} {goals[0][0].name}", "ground": ground},
    )  # fmt: skip


def _again(
    rng: Rng, seconds: float, first: float, place: tuple[float, float, float], speed: float, radius: float
) -> list[Grip]:
    """Sent towards -x again and again, everything put up anew in between."""
    out, start, t = [], -1.0, first
    while t < seconds - 0.3:
        v = speed * float(rng.uniform(0.7, 1.2))
        aim = float(rng.normal(0, 0.03))
        out.append(Grip(start, t, place, velocity=(-v, aim * v, 0.0), spin=(0.0, -v / radius, 0.0)))
        start = t + float(rng.uniform(1.6, 3.0))
        t = start + float(rng.uniform(0.9, 1.5))
    return out


def _targets(rng: Rng, kind: str, stuff: str, scale: float, low: float) -> list[tuple[Thing, Array]]:
    """What stands in the way, each with its pose (7,)."""
    if kind == "bowling":
        item = thing(rng, stuff, ("pin", "can", "bottle"), 1.8 * scale)
        gap = 1.3 * scale
        spots = [(-r * gap, (c - r / 2) * gap) for r in range(int(rng.integers(1, 4))) for c in range(r + 1)]
        return [(item, still([x, y, item.half[2]])) for x, y in spots]
    if kind == "billiards":
        item = thing(rng, stuff, ("ball",), 2 * low)
        spots = [(-float(rng.uniform(0, 4)) * scale, float(rng.normal(0, 0.8)) * scale) for _ in range(4)]
        kept: list[tuple[float, float]] = [(0.0, 0.2 * scale)]
        for x, y in spots:
            if all(np.hypot(x - a, y - b) > 2.2 * low for a, b in kept):
                kept.append((x, y))
        return [(item, still([x, y, item.half[2]])) for x, y in kept]
    if kind == "dominoes":
        item = make("domino", stuff, box(np.array([0.15, 0.5, 1.0]) * scale), "box")
        gap = float(rng.uniform(0.6, 1.1)) * scale
        return [(item, still([-k * gap, 0, item.half[2]])) for k in range(int(rng.integers(3, 10)))]
    item = thing(rng, stuff, ("block", "chair", "can", "stool", "pan", "prism"), 1.2 * scale)
    return [(item, still([-float(item.half[0]), float(rng.normal(0, 0.1)) * scale, item.half[2]]))]

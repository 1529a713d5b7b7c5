"""Programs of many pieces: a stack that is built and topples, a thing that breaks when it lands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.falling import cast
from edgefoley.train.scenes.bodies.figures import box, prism
from edgefoley.train.scenes.bodies.impacts import impacts
from edgefoley.train.scenes.bodies.script import FIRST_S, Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import GROUNDS, HARD, Rng, choose
from edgefoley.train.scenes.bodies.things import Thing, make, thing
from edgefoley.train.scenes.bodies.tracks import POSE_RATE, still
from edgefoley.train.scenes.bodies.world import GRAVITY, Grip, World
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]


def stack(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Blocks, cups or plates are put on each other one by one; often the pile is pushed over in the end."""
    stuff = choose(rng, striker, (*HARD, "paper", "rubber"))
    ground = choose(rng, struck, GROUNDS)
    scale = float(np.exp(rng.uniform(np.log(0.04), np.log(0.5))))
    kind = str(rng.choice(["block", "can", "book", "box"]))
    world = World(ground)
    every = float(rng.uniform(0.55, 1.1))
    topples = rng.random() < 0.6
    last = seconds - (1.3 if topples else 0.3)
    count = int(np.clip((last - 0.3) / every, 1, 7))
    level, moves = 0.0, []
    items = [_brick(rng, kind, stuff, scale) for _ in range(count)]
    for k, item in enumerate(items):
        let_go = 0.3 + every * (k + float(rng.uniform(-0.15, 0.15)) * (k > 0))
        tall = float(item.half[2])
        gap = float(rng.uniform(0.015, 0.06)) * (0.5 + 2 * scale)
        place = (*rng.normal(0, 0.06 * scale, 2).tolist(), level + tall + gap)
        aside = (float(rng.uniform(1.2, 2.2)) * scale * (-1) ** k, float(rng.normal(0, 0.4)) * scale, tall)
        take = max(let_go - 0.8 * every, 0.0)
        spin = Rotation.from_euler("z", float(rng.normal(0, 0.15)))
        # It stands aside until it is taken, and is let go just above the pile.
        grips = (Grip(take, let_go, place, spin, carry=0.75 * every),)
        world.put(item, still(aside), grips=grips, rolling=0.001, bounce=0.25)
        moves.append((take, let_go))
        level += 2 * tall
    push = min(moves[-1][1] + float(rng.uniform(0.4, 0.8)), seconds - 0.9)
    if topples:
        _poke(world, push, 0.8 * level, scale)
    record = world.run(seconds)
    actors = [a for a, item in zip(cast(record), record.things, strict=True) if item.name != "finger"]
    hits = impacts(record, 3.0, lambda a, b: None if topples and count in (a, b) else 0)
    actors += _hands(rng, record.poses, moves, items)
    if topples:
        actors += arm(rng, record.poses[:, count, :3], [1.0, 0.3, 0.5], 0.6 + scale)
    focus = [np.array([0, 0, z]) for z in (0.0, 1.1 * level)] + [
        np.array([s * 2.0 * scale, 0, 0]) for s in (-1, 1)
    ]
    return Script(
        (Source("stack", stuff, ground, items[0].size),), hits, actors, silence(seconds), ground, focus,
        (5.0, 45.0), words={"program": "topple" if topples else "stack", "things": kind, "ground": ground},
    )  # fmt: skip


def _brick(rng: Rng, kind: str, stuff: str, scale: float) -> Thing:
    a = scale * rng.uniform(0.8, 1.1, 3) / 2
    if kind == "block":
        return make("block", stuff, box([a[0], a[1], 0.5 * a[2]]), "box", 0.6)
    if kind == "book":
        return make("book", stuff, box([a[0], 0.75 * a[1], 0.2 * a[2]]), "box", 0.9)
    if kind == "can":
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rim = 0.8 * a[0] * np.column_stack([np.cos(turn), np.sin(turn)])
        return make("can", stuff, prism(rim, 1.4 * a[2]), "hull", 0.3)
    return make("box", stuff, box(a), "box", 0.3)


def _poke(world: World, start: float, height: float, scale: float) -> None:
    """A finger that comes from +x and pushes the pile at a height."""

    def path(t: float) -> Array:
        u = np.clip((t - start) / 0.35, 0, 1)
        back = np.clip((t - start - 0.5) / 0.6, 0, 1)
        x = 2.6 - 2.4 * u * u * (3 - 2 * u) + 2.4 * back
        return still([x * scale, 0.0, height])

    finger = make("finger", "flesh", box(np.full(3, 0.12 * scale)), "box")
    world.put(finger, path(0.0), drive=path, bounce=0.0)


def _hands(rng: Rng, track: Array, moves: list[tuple[float, float]], items: list[Thing]) -> list[Actor]:
    """One arm that takes each piece, carries it, and goes for the next."""
    t = np.arange(len(track)) / POSE_RATE
    hand = np.full((len(t), 3), np.nan)
    for k, (take, let_go) in enumerate(moves):
        held = (t >= take) & (t < let_go)
        hand[held] = track[held, k, :3] + [0, 0, float(items[k].half[2])]
    known = np.flatnonzero(np.isfinite(hand[:, 0]))
    for axis in range(3):
        hand[:, axis] = np.interp(np.arange(len(t)), known, hand[known, axis])
    away = np.clip((t - moves[-1][1]) / 0.4, 0, 1)
    hand += away[:, None] * np.array([0.3, 0.4, 0.4]) * float(np.ptp(hand[known, 2]) + 0.2)
    return arm(rng, hand, [rng.normal(0, 0.3), 1.0, 0.7], min(0.4 + 2 * float(items[0].half.max()), 1.1))


def shatter(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A cup, plate, pane or block falls and is in pieces from the instant it lands; the pieces clatter."""
    stuff = choose(rng, striker, ("glass", "ceramic", "glass", "wood", "stone", "ice"))
    ground = choose(rng, struck, ("stone", "concrete", "wood", "ceramic", "metal"))
    world = World(ground)
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    scale = float(np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
    hits: list[Hit] = []
    whole: list[tuple[Thing, float, float, Array]] = []
    firsts: list[int] = []
    step = max(0.9, (seconds - 0.9) / count)
    for k in range(count):
        item = thing(rng, stuff, ("plate", "mug", "bottle", "bowl", "block", "board"), scale)
        height = float(rng.uniform(1.3, 3.5)) * max(scale, 0.1)
        low = float(item.half[2])
        fall = float(np.sqrt(2 * height / GRAVITY))
        leave = 0.2 + k * step + float(rng.uniform(0, 0.4)) * (k > 0)
        land, speed = leave + fall, GRAVITY * fall
        spot = np.array([(k - (count - 1) / 2) * 2.5 * scale, float(rng.normal(0, 0.3)) * scale, 0.0])
        if not FIRST_S < land < seconds - 0.05:
            continue
        whole.append((item, leave, height, spot))
        hits.append(Hit(land, min(1.0, 0.45 + loudness(speed, 6.0)), spot, 0, item.mass * speed))
        firsts.append(len(world.names))
        _pieces(rng, world, item, spot + np.array([0, 0, low]), land, speed)
    record = world.run(seconds)
    actors = cast(record)
    t = np.arange(len(record.poses)) / POSE_RATE
    lands = [hit.time_s for hit in hits]
    for (item, leave, height, spot), land in zip(whole, lands, strict=True):
        z = float(item.half[2]) + height - 0.5 * GRAVITY * np.clip(t - leave, 0, None) ** 2
        z = np.where(t < land, z, -50.0)
        track = np.tile(still(spot), (len(t), 1))
        track[:, 2] = z
        actors.append(Actor(item.mesh, item.material, track, "striker"))
    for first, land, end in zip(firsts, lands, [*firsts[1:], len(record.things)], strict=True):
        for i in range(first, end):
            actors[i].poses[t < land, 2] = -50.0
    pieces = [h for h in impacts(record, 4.5, lambda a, b: 0) if all(abs(h.time_s - x) > 0.02 for x in lands)]
    tops = [spot + np.array([0, 0, 2 * float(i.half[2]) + h]) for i, _, h, spot in whole]
    return Script(
        (Source("break", stuff, ground, whole[0][0].size),), hits + pieces, actors, silence(seconds), ground,
        [*tops, *(spot for *_, spot in whole)], (5.0, 50.0),
        words={"program": "break", "things": ", ".join(w[0].name for w in whole), "ground": ground},
    )  # fmt: skip


def _pieces(rng: Rng, world: World, item: Thing, centre: Array, land: float, speed: float) -> None:
    """Shards that fill the thing's box, held until it lands and then thrown about."""
    cells = [2, 2, 2] if item.half.min() > 0.3 * item.half.max() else [3, 2, 1]
    n = np.array(cells)
    for i in np.ndindex(*cells):
        size = item.half / n
        offset = (np.array(i) + 0.5 - n / 2) * 2 * size
        a = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 6))))
        a = np.linspace(0, 2 * np.pi, len(a), endpoint=False) + 0.3 * np.sin(a)
        rim = np.column_stack([np.cos(a) * size[0], np.sin(a) * size[1]]) * 0.95
        shard = make("shard", item.material, prism(rim, 1.9 * size[2]), "hull", 0.4)
        place = np.maximum(centre + offset, [-np.inf, -np.inf, float(shard.half[2]) + 1e-3])
        away = offset / (np.linalg.norm(offset) + 1e-9)
        push = away * speed * rng.uniform(0.08, 0.3, 3) + [0, 0, speed * float(rng.uniform(0.05, 0.3))]
        grip = Grip(
            -1.0,
            land,
            tuple(place.tolist()),
            velocity=tuple(push.tolist()),
            spin=tuple(rng.normal(0, 9, 3).tolist()),
        )
        world.put(shard, still(place), grips=(grip,))

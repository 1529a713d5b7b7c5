"""Programs of tools in hands: strike, hammer, chop, keys.

A tool follows its strokes in closed form and what it hits answers: a struck thing by physics (a spring
brings it back), a nail by sinking, a log or a carrot by falling apart, a key by going down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.figures import Mesh, ball, box, cylinder, limb, merge, prism
from edgefoley.train.scenes.bodies.impacts import impacts
from edgefoley.train.scenes.bodies.rhythm import Strokes, moments
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import HARD, Rng, choose
from edgefoley.train.scenes.bodies.things import Thing, thing
from edgefoley.train.scenes.bodies.tracks import clock, poses, smooth, still
from edgefoley.train.scenes.bodies.world import STEP_RATE, World
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]


def beater(rng: Rng, material: str, scale: float) -> tuple[Mesh, float]:
    """A stick, mallet, spoon, hammer or bat lying along +x from the grip at the origin, its face down at z
    = 0 at x = length. Returns the mesh and the length (m)."""
    length = scale * float(rng.uniform(0.9, 1.6))
    thick = length * float(rng.uniform(0.02, 0.05))
    flat = Rotation.from_euler("y", 90, degrees=True)
    head = float(rng.uniform(1.3, 4.0)) * thick
    shaft = limb(length, thick, 0.8 * thick, 7).moved([0, 0, 0], flat)
    kind = str(rng.choice(["stick", "mallet", "ball", "spoon", "bat"]))
    if kind == "mallet":
        shaft = merge(shaft, cylinder(head, 2.6 * head, 10).moved([length, 0, 0]))
        low = 1.3 * head
    elif kind == "ball":
        shaft = merge(shaft, ball(head, 10).moved([length, 0, 0]))
        low = head
    elif kind == "spoon":
        shaft = merge(shaft, ball(head, 10).stretched([1.4, 1.0, 0.4]).moved([length, 0, 0]))
        low = max(0.4 * head, 0.8 * thick)
    elif kind == "bat":
        shaft = limb(length, thick, 2 * thick, 8).moved([0, 0, 0], flat)
        low = 2 * thick
    else:
        low = 0.8 * thick
    return shaft.moved([0, 0, low]), length


def swung(
    strokes: Strokes, t: Array, targets: Array, length: float, heading: float, swing: float
) -> tuple[Array, Array]:
    """The grip's path (T, 3) and the tool's track (T, 7) for tips that reach targets (n, 3) at the strokes:
    the tip rises by the strokes' height, the tool tips up by `swing` radians per metre of it."""
    index = np.searchsorted(strokes.times, t)
    prev, nxt = np.clip(index - 1, 0, len(targets) - 1), np.clip(index, 0, len(targets) - 1)
    span = np.maximum(strokes.times[nxt] - strokes.times[prev], 1e-6)
    u = smooth((t - strokes.times[prev]) / span * 1.6 - 0.3)[:, None]
    aim = (1 - u) * targets[prev] + u * targets[nxt]
    up = strokes.above(t)
    pitch = np.minimum(swing * up, 1.3)
    tilt = Rotation.from_euler("z", heading) * Rotation.from_euler("y", np.stack([-pitch], axis=-1))
    tip = aim + np.stack([0 * up, 0 * up, up], axis=-1)
    grip = tip - tilt.apply([length, 0.0, 0.0])
    return grip, poses(grip, tilt)


def strike(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A stick or mallet strikes one to three things, which shake, rock or hop and come back."""
    tool_of, stuff = (
        choose(rng, striker, ("wood", "wood", "metal", "plastic")),
        choose(rng, struck, (*HARD, "cloth")),
    )
    scale = float(np.exp(rng.uniform(np.log(0.08), np.log(0.6))))
    t, ground = clock(seconds), str(rng.choice(["wood", "stone", "plastic", "cloth", "concrete"]))
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    items = [
        thing(rng, stuff, ("can", "block", "bowl", "pan", "plate", "bottle", "disc", "board", "mug"), scale)
        for _ in range(count)
    ]
    wide = max(float(i.half[:2].max()) for i in items)
    spots = [np.array([0.0, (k - (count - 1) / 2) * 2.3 * wide, 0.0]) for k in range(count)]
    hanging = rng.random() < 0.25
    lift = float(rng.uniform(0.5, 1.5)) * scale if hanging else 0.0
    times = moments(rng, seconds, 0.16, 1.0)
    strokes = Strokes.random(rng, times, float(rng.uniform(0.4, 1.2)) * (0.25 + 0.8 * scale))
    which = rng.integers(0, count, len(times)) if rng.random() < 0.6 else np.zeros(len(times), int)
    # 3 mm into the surface: a blow that only grazed might miss a thing that still shakes
    tops = [
        s + np.array([0, 0, lift + 2 * float(i.half[2]) - 0.003]) for s, i in zip(spots, items, strict=True)
    ]
    off = rng.uniform(-0.3, 0.3, (len(times), 2))
    targets = np.array([tops[w] + [*(o * items[w].half[:2]), 0.0] for w, o in zip(which, off, strict=True)])
    mesh, length = beater(rng, tool_of, max(scale, 0.15))
    heading = float(rng.uniform(-0.6, 0.6))
    swing = float(rng.uniform(0.5, 3.0))
    grip, track = swung(strokes, t, targets, length, heading, swing)
    world = World(ground)
    for item, spot in zip(items, spots, strict=True):
        home = still([spot[0], spot[1], lift + float(item.half[2])])
        stiff = float(rng.uniform(400, 2500))
        world.put(item, home, tether=(stiff, 2 * float(rng.uniform(0.05, 0.3)) * np.sqrt(stiff)), bounce=0.2)
    tool = Thing("tool", tool_of, mesh, "hull", 1.0)
    fine = np.arange(int(seconds * STEP_RATE) + 40) / STEP_RATE
    drive = swung(strokes, fine, targets, length, heading, swing)[1]
    world.put(tool, track[0], drive=lambda at: drive[min(round(at * STEP_RATE), len(drive) - 1)], bounce=0.1)
    record = world.run(seconds)
    actors = [Actor(i.mesh, i.material, record.poses[:, k], "struck") for k, i in enumerate(items)] + [
        Actor(mesh, tool_of, track, "striker")
    ]
    actors += arm(rng, grip, [-np.cos(heading), -np.sin(heading), float(rng.uniform(0.0, 0.8))], 0.5 + scale)
    full = float(rng.uniform(4.0, 6.0)) * (0.35 + scale)
    hits = impacts(record, full, lambda a, b: 0 if count in (a, b) else None, {count})
    focus = [
        s + np.array([0, 0, z])
        for s, i in zip(spots, items, strict=True)
        for z in (0.0, lift + 2 * float(i.half[2]) + 0.4 * scale)
    ]
    return Script(
        (Source("strike", tool_of, stuff, items[0].size),), hits, actors, silence(seconds), ground, focus,
        (5.0, 55.0), (-130.0, 130.0), words={"program": "strike", "things": ", ".join(i.name for i in items)},
    )  # fmt: skip


def _scene(
    rng: Rng,
    source: Source,
    hits: list[Hit],
    actors: list[Actor],
    focus: list[Array],
    seconds: float,
    what: str,
) -> Script:
    ground = str(rng.choice(["wood", "stone", "plastic", "concrete", "metal"]))
    return Script(
        (source,), hits, actors, silence(seconds), ground, focus, (8.0, 55.0), (-120.0, 120.0),
        words={"program": source.action, "things": what, "ground": ground},
    )  # fmt: skip


def _nail(strokes: Strokes, t: Array, top: float, s: float) -> tuple[Array, Actor]:
    """A nail that each blow drives in farther: the height of its head at each blow (n,), and its actor."""
    proud = 0.07 * s
    after = np.concatenate([[0.0], np.cumsum(strokes.speeds / strokes.speeds.sum())])
    done = np.searchsorted(strokes.times, t, side="right")
    # driven in within 12 ms of the blow
    late = np.clip((t - strokes.times[np.maximum(done - 1, 0)]) / 0.012, 0, 1)
    depth = after[np.maximum(done - 1, 0)] * (1 - late) + after[done] * late
    path = np.stack([0 * t, 0 * t, top + proud * (1 - 0.9 * depth)], axis=-1)
    shank = cylinder(0.008 * s, 0.12 * s, 6).moved([0, 0, -0.06 * s])
    pin = merge(shank, cylinder(0.02 * s, 0.006 * s, 8))
    heights = top + proud * (1 - 0.9 * after[:-1])
    return heights, Actor(pin, "metal", poses(path, Rotation.identity()), "struck")


def hammer(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A hammer drives a nail that sinks, or beats on a block or an anvil."""
    head_of, stuff = (
        choose(rng, striker, ("metal", "metal", "wood", "rubber")),
        choose(rng, struck, ("wood", "metal", "stone")),
    )
    t, s = clock(seconds), float(np.exp(rng.uniform(np.log(0.5), np.log(2.5))))
    times = moments(rng, seconds, 0.3, 1.1)
    strokes = Strokes.random(rng, times, float(rng.uniform(0.15, 0.4)) * s)
    block = box(np.array([0.15, 0.12, 0.06]) * s * rng.uniform(0.7, 1.5, 3))
    top = 2 * float(block.half[2])
    nailed = rng.random() < 0.5 or stuff == "wood"
    targets, nails = np.tile([0.0, 0.0, top], (len(times), 1)), []
    if nailed:
        targets[:, 2], nail = _nail(strokes, t, top, s)
        nails.append(nail)
    length = 0.3 * s * float(rng.uniform(0.8, 1.4))
    big = float(rng.uniform(0.8, 1.6)) * s
    handle = limb(length, 0.016 * s, 0.013 * s, 7).moved(
        [0, 0, 0.05 * big], Rotation.from_euler("y", 90, degrees=True)
    )
    iron = merge(
        cylinder(0.025 * big, 0.1 * big, 9).moved([length, 0, 0.05 * big]),
        box([0.015 * big, 0.015 * big, 0.03 * big]).moved([length, 0, 0.11 * big]),
    )
    heading = float(rng.uniform(-0.5, 0.5))
    grip, track = swung(strokes, t, targets, length, heading, float(rng.uniform(1.0, 4.0)) / s)
    jolt = np.zeros(len(t))
    for time, speed in zip(times, strokes.speeds, strict=True):
        since = np.clip(t - time, 0, None)
        jolt += 0.0015 * speed * np.exp(-since / 0.05) * np.abs(np.sin(60 * since))
    base = np.stack([0 * t, 0 * t, top / 2 + jolt], axis=-1)
    actors = [
        Actor(handle, "wood", track), Actor(iron, head_of, track, "striker"),
        Actor(block, stuff, poses(base, Rotation.identity()), "struck"), *nails,
    ]  # fmt: skip
    actors += arm(rng, grip, [-np.cos(heading), -np.sin(heading), float(rng.uniform(0.1, 0.9))], s)
    hits = [
        Hit(float(x), loudness(v, 7.0 * s**0.5), p)
        for x, v, p in zip(times, strokes.speeds, targets, strict=True)
    ]
    focus = [np.array([0, 0, 0.0]), np.array([-0.1 * s, 0, top + 0.25 * s]), np.array([0.15 * s, 0, 0.0])]
    size = float(np.clip(0.45 + 0.2 * np.log(s), 0, 1))
    return _scene(
        rng,
        Source("hammer", head_of, stuff, size),
        hits,
        actors,
        focus,
        seconds,
        "nail" if nailed else "anvil",
    )


def chop(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """A knife slices something long on a board, or an axe splits logs, one after the other."""
    blade_of = choose(rng, striker, ("metal", "metal", "metal", "stone"))
    if rng.random() < 0.6:
        return _slice(rng, seconds, blade_of, struck)
    return _split(rng, seconds, blade_of, struck)


def _slice(rng: Rng, seconds: float, blade_of: str, struck: str) -> Script:
    board_of = choose(rng, struck, ("wood", "plastic", "wood"))
    t, s = clock(seconds), float(rng.uniform(0.7, 1.4))
    times = moments(rng, seconds, 0.17, 0.8)
    strokes = Strokes.random(rng, times, float(rng.uniform(0.06, 0.14)) * s, 0.1 * s)
    long, r = float(rng.uniform(0.12, 0.25)) * s, float(rng.uniform(0.015, 0.035)) * s
    n = len(times) + 1
    cuts = 0.5 * long - long * np.arange(1, n) / n
    targets = np.stack([cuts, np.full(n - 1, -0.03 * s), np.zeros(n - 1)], axis=-1)
    food = str(rng.choice(["leaves", "flesh", "plastic", "grass", "rubber"]))
    actors = [
        Actor(
            box([0.2 * s, 0.13 * s, 0.01 * s]).moved([0, 0, -0.009 * s]),
            board_of,
            still([0, 0, 0.0]),
            "struck",
        )
    ]
    across = Rotation.from_euler("y", 90, degrees=True)
    for k in range(n):
        centre = np.tile([0.5 * long - long * (k + 0.5) / n, 0.0, r], (len(t), 1))
        turn = np.zeros(len(t))
        if k < n - 1:  # falls aside once cut, and the rest waits
            since = np.clip((t - times[k]) / 0.25, 0, 1)
            away = smooth(since)
            centre[:, 0] += away * (0.02 + 0.035 * (n - k) / n) * s
            centre[:, 1] += away * float(rng.normal(0, 0.01)) * s
            turn = away * float(rng.uniform(0.2, 1.2))
        tilt = Rotation.from_euler("y", np.stack([turn], axis=-1)) * across
        actors.append(Actor(cylinder(r, 0.98 * long / n, 10), food, poses(centre, tilt)))
    edge = float(rng.uniform(0.16, 0.26)) * s
    blade = box([0.0015 * s, 0.5 * edge, 0.02 * s]).moved([0, 0, 0.02 * s])
    handle = box([0.009 * s, 0.055 * s, 0.012 * s]).moved([0, -0.5 * edge - 0.055 * s, 0.03 * s])
    _, track = swung(strokes, t, targets, 0.0, 0.0, 0.0)
    rock = Rotation.from_euler("x", np.stack([-float(rng.uniform(0, 3)) * strokes.above(t) / s], axis=-1))
    track = poses(track[:, :3], rock)
    grip = track[:, :3] + rock.apply([0, -0.5 * edge - 0.05 * s, 0.035 * s])
    actors += [
        Actor(blade, blade_of, track, "striker"),
        Actor(handle, str(rng.choice(["wood", "plastic"])), track),
    ]
    actors += arm(rng, grip, [float(rng.normal(0, 0.3)), -1.0, 0.6], s)
    if rng.random() < 0.5:
        hold = np.tile([-0.55 * long, 0.0, 1.5 * r], (len(t), 1))
        actors += arm(rng, hold, [-1.0, -0.6, 0.6], s)
    hits = [
        Hit(float(x), loudness(v, 2.2), p) for x, v, p in zip(times, strokes.speeds, targets, strict=True)
    ]
    focus = [np.array([x * 0.17 * s, y * 0.1 * s, z]) for x in (-1, 1) for y, z in ((-1, 0.0), (1, 0.12 * s))]
    script = _scene(
        rng, Source("chop", blade_of, board_of, 0.4), hits, actors, focus, seconds, "knife and board"
    )
    script.level = -0.019 * s
    return script


def _split(rng: Rng, seconds: float, blade_of: str, struck: str) -> Script:
    log_of = choose(rng, struck, ("wood",))
    t, s = clock(seconds), float(rng.uniform(0.7, 1.2))
    times = moments(rng, seconds, 1.1, 2.2)
    strokes = Strokes.random(rng, times, float(rng.uniform(0.5, 0.9)) * s)
    tall, r = 0.35 * s * float(rng.uniform(0.7, 1.2)), 0.11 * s * float(rng.uniform(0.7, 1.3))
    targets = np.tile([0.0, 0.0, tall], (len(times), 1))
    half = np.linspace(-np.pi / 2, np.pi / 2, 8)
    rim = np.column_stack([np.cos(half) * r - 0.4 * r, np.sin(half) * r])
    actors: list[Actor] = []
    for k, time in enumerate(times):
        since = np.clip(t - time, 0, None)
        fresh = -1.0 if k == 0 else float(times[k - 1]) + 0.45
        shown = (t >= fresh) & (t < time + 0.9 if k + 1 < len(times) else t < 1e9)
        for sign in (-1.0, 1.0):
            lean = np.minimum(float(rng.uniform(2.5, 4.0)) * since, np.pi / 2)
            way = 0.4 * r + float(rng.uniform(0.5, 1.2)) * np.minimum(since, 0.35) * (
                1 - np.minimum(since, 0.35)
            )
            height = tall / 2 * np.cos(lean) + r * np.sin(lean)
            path = np.stack([0 * t, sign * way, np.where(shown, height, -50.0)], axis=-1)
            turn = Rotation.from_euler("x", np.stack([-sign * lean], axis=-1)) * Rotation.from_euler(
                "z", sign * np.pi / 2
            )
            actors.append(Actor(prism(rim, tall), log_of, poses(path, turn), "struck"))
    length = 0.7 * s
    shaft = limb(length, 0.02 * s, 0.016 * s, 7).moved(
        [0, 0, 0.07 * s], Rotation.from_euler("y", 90, degrees=True)
    )
    head = box([0.03 * s, 0.012 * s, 0.07 * s]).moved([length, 0, 0.07 * s])
    grip, track = swung(strokes, t, targets, length, 0.0, float(rng.uniform(0.8, 1.6)) / s)
    actors += [Actor(shaft, "wood", track), Actor(head, blade_of, track, "striker")]
    actors += arm(rng, grip, [-1.0, 0.4, 0.3], 1.1 * s) + arm(rng, grip, [-1.0, -0.4, 0.3], 1.1 * s)
    hits = [
        Hit(float(x), loudness(v, 9.0), p) for x, v, p in zip(times, strokes.speeds, targets, strict=True)
    ]
    focus = [np.array([0, y * 0.4 * s, z]) for y in (-1, 1) for z in (0.0, tall + 0.4 * s)]
    return _scene(rng, Source("chop", blade_of, log_of, 0.65), hits, actors, focus, seconds, "axe and log")

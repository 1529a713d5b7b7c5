"""Programs on legs: walk, run, gallop, jump. Feet are planted in closed form, so each landing is exact.

A gait is a phase that grows by one per stride; a foot stands for `duty` of it and swings for the rest, and
lands where its phase is whole. Stops and changes of pace are changes of the phase's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.bodies.figures import ball, limb, merge
from edgefoley.train.scenes.bodies.mocap import landings, perform
from edgefoley.train.scenes.bodies.person import SIDES, Build, Joints, dressed, pose_arm, pose_leg, upright
from edgefoley.train.scenes.bodies.rhythm import moments
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import TRAILS, Rng, choose
from edgefoley.train.scenes.bodies.tracks import bend, bone, clock, smooth
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]
_UP: Final = np.array([0.0, 0.0, 1.0])
_SHOES: Final = ("rubber", "rubber", "wood", "plastic", "flesh", "cloth")
_HOOVES: Final = ("wood", "metal", "stone", "flesh")


@dataclass(frozen=True)
class Gait:
    """phase (T,): strides since the start, growing; stride: metres per stride; duty: share of standing; lift:
    height of a swinging foot in metres; bend: curvature of the way in 1/m."""

    t: Array
    phase: Array
    stride: float
    duty: float
    lift: float
    curve: float

    def way(self, along: Array, across: float = 0.0) -> tuple[Array, Array]:
        """Points (T, 3) on the ground and forward directions (T, 3), `along` metres down the way."""
        if abs(self.curve) < 1e-6:
            point = np.stack([along, np.full_like(along, across), np.zeros_like(along)], axis=-1)
            return point, np.broadcast_to([1.0, 0.0, 0.0], point.shape)
        angle = along * self.curve
        radius = 1 / self.curve
        c, s = np.cos(angle), np.sin(angle)
        point = np.stack([(radius - across) * s, radius - (radius - across) * c, 0 * s], axis=-1)
        return point, np.stack([c, s, 0 * s], axis=-1)

    def foot(self, offset: float, across: float, ahead: float = 0.0) -> tuple[Array, Array]:
        """The path (T, 3) of a sole on the ground plane and its height-above-ground pitch (T,)."""
        p = self.phase + offset
        k = np.floor(p)
        u = p - k
        s = np.clip((u - self.duty) / (1 - self.duty), 0, 1)
        spot = (k - offset + 0.5 * self.duty) * self.stride + ahead
        point, _ = self.way(spot + self.stride * smooth(s), across)
        path = np.array(point)
        path[:, 2] = self.lift * np.sin(np.pi * s**0.8)
        heel_off = smooth((u - 0.7 * self.duty) / (0.3 * self.duty)) * (1 - smooth(s / 0.5))
        pitch = (
            0.7 * heel_off - 0.3 * smooth((s - 0.6) / 0.4) * (u > 0) - 0.3 * (1 - smooth(u / 0.12)) * (s == 0)
        )
        return path, pitch

    def landings(self, offset: float, across: float, ahead: float = 0.0) -> list[tuple[float, Array]]:
        """When and where (3,) a foot lands."""
        p = self.phase + offset
        out = []
        for k in range(int(np.floor(p[0])) + 1, int(np.floor(p[-1])) + 1):
            time = float(np.interp(k, p, self.t))
            spot = np.array([(k - offset + 0.5 * self.duty) * self.stride + ahead])
            out.append((time, self.way(spot, across)[0][0]))
        return out


def _phase(rng: Rng, t: Array, cadence: float) -> Array:
    """A growing phase (T,): a steady pace, a changing one, or one with stops."""
    pace = np.full(len(t), cadence)
    kind = rng.random()
    if kind < 0.3:
        pace = pace * (
            1 + 0.35 * np.sin(2 * np.pi * float(rng.uniform(0.05, 0.3)) * t + float(rng.uniform(0, 6)))
        )
    elif kind < 0.65:
        for _ in range(int(rng.integers(1, 3))):
            stop, wait = float(rng.uniform(0.0, t[-1])), float(rng.uniform(0.5, 1.8))
            pace = pace * (1 - smooth((t - stop) / 0.25) * (1 - smooth((t - stop - wait) / 0.25)))
    growth = np.concatenate([[0.0], np.cumsum(pace[:-1] * np.diff(t))])
    return float(rng.uniform(0, 1)) + growth + 1e-9 * np.arange(len(t))


def _gait(rng: Rng, seconds: float, build: Build, runs: bool) -> Gait:
    t = clock(seconds)
    cadence = float(rng.uniform(1.15, 1.6) if runs else rng.uniform(0.6, 1.15)) / np.sqrt(build.leg / 0.85)
    stride = build.leg * float(rng.uniform(1.6, 3.0) if runs else rng.uniform(0.9, 1.65))
    duty = float(rng.uniform(0.3, 0.42) if runs else rng.uniform(0.57, 0.66))
    lift = build.leg * float(rng.uniform(0.18, 0.35) if runs else rng.uniform(0.07, 0.18))
    curve = float(rng.normal(0, 0.4)) if rng.random() < 0.3 else 0.0
    return Gait(t, _phase(rng, t, cadence), stride, duty, lift, curve)


def _walker(rng: Rng, gait: Gait, build: Build, runs: bool) -> tuple[Joints, list[tuple[float, Array]]]:
    """The joints of somebody who walks or runs, and when and where the feet land."""
    body, forward = gait.way(gait.phase * gait.stride)
    forward = np.array(forward)
    bob = 0.05 * build.leg if runs else 0.02 * build.leg
    beat = np.cos(4 * np.pi * (gait.phase - (0.5 * gait.duty if runs else 0.0)))
    reach = 0.5 * gait.duty * gait.stride
    height = np.sqrt(max((0.985 * build.leg) ** 2 - (0.8 * reach) ** 2, (0.75 * build.leg) ** 2))
    pelvis = body + _UP * (height + build.sole - bob * beat[:, None])
    joints = upright(
        build, pelvis, forward, float(rng.uniform(0.1, 0.3) if runs else rng.uniform(-0.02, 0.12))
    )
    left = np.cross(_UP, forward)
    swing = float(rng.uniform(0.2, 0.45)) * (1.3 if runs else 1.0)
    steps: list[tuple[float, Array]] = []
    for side, sign in SIDES:
        offset = 0.0 if side == "l" else 0.5
        sole, pitch = gait.foot(offset, 0.7 * sign * build.hips)
        pose_leg(joints, build, side, sole + _UP * build.sole - 0.2 * build.foot * forward, forward, pitch)
        angle = swing * -np.cos(2 * np.pi * (gait.phase + offset))
        drop = 0.55 * (build.upper + build.fore) if runs else 0.95 * (build.upper + build.fore)
        front = (0.22 if runs else 0.04) * build.trunk / 0.5
        hand = (
            joints[f"shoulder_{side}"]
            - _UP * (drop * np.cos(angle))[:, None]
            + forward * (front + drop * np.sin(angle))[:, None]
            + 0.03 * sign * left
        )
        pose_arm(joints, build, side, hand, -forward + 0.3 * sign * left)
        steps += gait.landings(offset, 0.7 * sign * build.hips)
    return joints, sorted(steps, key=lambda step: step[0])


def _travel(rng: Rng, seconds: float, striker: str, struck: str, runs: bool) -> Script:
    action = "run" if runs else "walk"
    ground, shoe = choose(rng, struck, TRAILS), choose(rng, striker, _SHOES)
    build = Build.random(rng)
    hard = float(rng.uniform(0.35, 0.75)) + (0.2 if runs else 0.0)
    if rng.random() < 0.3:
        t = clock(seconds)
        joints = perform(action, build, t, float(rng.uniform(0.7, 1.25)), float(rng.uniform(0, 1)))
        top = 1.5 if runs else 0.9
        hits = [
            Hit(time, hard * loudness(speed, top), point) for time, speed, point in landings(joints, build, t)
        ]
        how = f"recorded {action}"
    else:
        gait = _gait(rng, seconds, build, runs)
        joints, steps = _walker(rng, gait, build, runs)
        hits = [
            Hit(time, float(np.clip(hard * rng.uniform(0.8, 1.2), 0.05, 1)), point) for time, point in steps
        ]
        how = action
    actors = dressed(rng, joints, build, shoe)
    return _seen(
        rng, Source(action, shoe, ground, 0.8), hits, actors, joints["pelvis"], build.leg, how, seconds
    )


def _seen(
    rng: Rng,
    source: Source,
    hits: list[Hit],
    actors: list[Actor],
    root: Array,
    leg: float,
    how: str,
    seconds: float,
) -> Script:
    """The script of a walker: all of it, its legs, or only its feet in the picture, followed or passing
    by."""
    start = root[0] * [1, 1, 0]
    far = float(np.linalg.norm(np.ptp(root[:, :2], axis=0)))
    crop = float(rng.choice([0.35, 1.0, 2.1], p=[0.2, 0.3, 0.5])) * leg
    follow = (root - root[0]) * [1, 1, 0] if rng.random() < 0.55 or far > 4 * leg else None
    focus = [start, start + _UP * crop]
    side = ((45.0, 135.0), (-135.0, -45.0), (0.0, 360.0))[int(rng.integers(3))]
    if follow is None:
        focus += [root[-1] * [1, 1, 0], root[-1] * [1, 1, 0] + _UP * crop]
    return Script(
        (source,), hits, actors, silence(seconds), source.struck, focus, (0.0, 30.0),
        side, follow, slab=False,
        words={"program": how, "ground": source.struck},
    )  # fmt: skip


def walk(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Somebody walks: at any pace, with stops, straight on or in a curve."""
    return _travel(rng, seconds, striker, struck, runs=False)


def run(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Somebody runs."""
    return _travel(rng, seconds, striker, struck, runs=True)


def jump(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Somebody jumps on the spot or along, or a recorded jump, kick or dance."""
    ground, shoe = choose(rng, struck, TRAILS), choose(rng, striker, _SHOES)
    build, t = Build.random(rng), clock(seconds)
    if rng.random() < 0.3:
        name = str(rng.choice(["jump", "jump", "spinkick", "dance_a", "dance_b", "backflip"]))
        joints = perform(name, build, t, float(rng.uniform(0.7, 1.2)), float(rng.uniform(0, 1.5)))
        hits = [Hit(time, loudness(speed, 3.0), point) for time, speed, point in landings(joints, build, t)]
    else:
        name = "jump"
        joints, hits = _jumper(rng, t, seconds, build)
    actors = dressed(rng, joints, build, shoe)
    source = Source("jump", shoe, ground, 0.85)
    return _seen(rng, source, hits, actors, joints["pelvis"], build.leg, name, seconds)


def _jumper(rng: Rng, t: Array, seconds: float, build: Build) -> tuple[Joints, list[Hit]]:
    """Ballistic jumps: off the ground for 2 v / g, landing exactly then."""
    lands = moments(rng, seconds, 0.75, 1.8)
    height = np.zeros(len(t))
    dip = 0.06 * build.leg * np.ones(len(t))
    along = np.zeros(len(t))
    far = float(rng.uniform(0, 0.6)) * float(rng.random() < 0.6)
    hits = []
    for land in lands:
        v = float(rng.uniform(0.9, 2.2)) * np.sqrt(build.leg / 0.85)
        leave = float(land) - 2 * v / 9.81
        flight = np.clip(t - leave, 0, 2 * v / 9.81)
        height += v * flight - 4.905 * flight**2
        along += far * np.clip((t - leave) / (2 * v / 9.81), 0, 1)
        deep = 0.14 * build.leg * v
        ready = smooth((t - leave + 0.3) / 0.2) * (1 - smooth((t - leave + 0.1) / 0.1))
        give = np.clip((t - land) / 0.1, 0, 1) * np.exp(-np.clip(t - land, 0, None) / 0.15) * 1.6
        dip += deep * (ready + give * (t >= land))
        hits.append((float(land), loudness(v, 2.6)))
    forward = np.broadcast_to([1.0, 0.0, 0.0], (len(t), 3))
    root = np.stack(
        [along, 0 * t, height + build.leg + build.sole - np.minimum(dip, 0.5 * build.leg)], axis=-1
    )
    joints = upright(build, root, forward, 0.05 + 0.5 * np.minimum(dip, 0.4))
    raised = smooth(height / 0.25)
    for side, sign in SIDES:
        ground = np.stack([along, 0.9 * sign * build.hips + 0 * t, height + build.sole], axis=-1)
        pose_leg(joints, build, side, ground, forward, 0.6 * raised)
        hand = joints[f"shoulder_{side}"] + np.stack(
            [0.1 + 0.3 * raised, 0.12 * sign * np.ones(len(t)), -0.45 + 0.55 * raised], axis=-1
        )
        pose_arm(joints, build, side, hand, np.array([-0.5, sign, 0.0]))
    at = [np.array([float(np.interp(time, t, along)), 0.0, 0.0]) for time, _ in hits]
    return joints, [Hit(time, s, point) for (time, s), point in zip(hits, at, strict=True)]


def gallop(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Four legs: gallop, trot or walk."""
    ground, hoof = choose(rng, struck, TRAILS), choose(rng, striker, _HOOVES)
    tall = float(np.exp(rng.uniform(np.log(0.25), np.log(1.5))))  # at the shoulder
    t = clock(seconds)
    kind = str(rng.choice(["gallop", "gallop", "trot", "walk"]))
    offsets, duty, rate, far = {
        "gallop": ((0.0, 0.12, 0.5, 0.64), 0.28, 2.0, 2.2),
        "trot": ((0.0, 0.5, 0.5, 0.0), 0.45, 1.4, 1.6),
        "walk": ((0.0, 0.5, 0.25, 0.75), 0.65, 0.9, 1.0),
    }[kind]
    cadence = rate * float(rng.uniform(0.8, 1.2)) / np.sqrt(max(tall, 0.4))
    gait = Gait(t, _phase(rng, t, cadence), far * tall * float(rng.uniform(0.8, 1.1)), duty, 0.18 * tall, 0.0)
    body, forward = gait.way(gait.phase * gait.stride)
    long, thick = tall * float(rng.uniform(0.9, 1.3)), tall * float(rng.uniform(0.16, 0.26))
    beat = 0.05 * tall * np.sin(2 * np.pi * gait.phase)
    middle = body + _UP * (0.86 * tall - thick + 0.4 * beat[:, None])
    rump, chest = (middle + s * (0.5 * long * forward + _UP * beat[:, None]) for s in (-1, 1))
    reach = np.hypot(0.91 * tall - thick, 0.5 * duty * gait.stride)
    length = 0.53 * float(reach)
    actors, hits = [], []
    skin = str(rng.choice(["leaves", "earth", "cloth", "snow", "stone"]))
    hard = float(rng.uniform(0.4, 0.8)) + 0.15 * (kind == "gallop")
    for leg in range(4):
        front, sign = leg < 2, 1.0 if leg % 2 else -1.0
        root = (chest if front else rump) + [0, 0.5 * sign * thick, 0]
        ahead = 0.5 * long if front else -0.5 * long
        sole, _ = gait.foot(offsets[leg], 0.5 * sign * thick, ahead)
        foot = sole + _UP * 0.03 * tall
        knee = bend(root, foot, (length, length), forward if front else -np.array(forward))
        actors += [
            Actor(limb(length, 0.09 * tall, 0.05 * tall), skin, bone(root, knee)),
            Actor(limb(length, 0.05 * tall, 0.03 * tall), skin, bone(knee, foot)),
            Actor(ball(0.05 * tall, 6), hoof, bone(foot, foot + _UP), "striker"),
        ]
        hits += [
            Hit(time, float(np.clip(hard * rng.uniform(0.8, 1.2), 0, 1)), point)
            for time, point in gait.landings(offsets[leg], 0.5 * sign * thick, ahead)
        ]
    actors += _animal(rng, gait, skin, (rump, chest, np.array(forward)), tall, thick)
    source = Source("gallop", hoof, ground, float(np.clip(np.log(tall / 0.02) / np.log(100), 0, 1)))
    return _seen(
        rng, source, sorted(hits, key=lambda h: h.time_s), actors, middle, 0.55 * tall, kind, seconds
    )


def _animal(
    rng: Rng, gait: Gait, skin: str, trunk: tuple[Array, Array, Array], tall: float, thick: float
) -> list[Actor]:
    """Trunk, neck, head and tail."""
    rump, chest, forward = trunk
    nod = (0.1 * np.sin(2 * np.pi * gait.phase + 1.0))[:, None]
    long = float(np.linalg.norm((chest - rump)[0]))
    rise = float(rng.uniform(0.1, 0.6))
    poll = chest + tall * ((0.3 + nod) * forward + rise * _UP)
    nose = poll + tall * (0.3 * forward - (0.1 + nod) * _UP)
    tail = rump + tall * (-0.3 * forward + (0.1 + 3 * nod) * _UP)
    neck = float(np.median(np.linalg.norm(poll - chest, axis=1)))
    head = merge(
        limb(0.28 * tall, 0.1 * tall, 0.055 * tall),
        limb(0.14 * tall, 0.03 * tall, 0.01 * tall).moved([0.06 * tall, 0, 0]),
    )
    return [
        Actor(limb(long, 1.0 * thick, 1.1 * thick, 10), skin, bone(rump, chest)),
        Actor(limb(neck, 0.6 * thick, 0.4 * thick), skin, bone(chest, poll)),
        Actor(head, skin, bone(poll, nose)),
        Actor(limb(0.3 * tall, 0.03 * tall, 0.02 * tall, 5), skin, bone(rump, tail)),
    ]

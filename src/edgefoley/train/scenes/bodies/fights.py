"""Programs of hands and feet that hit: clap and punch (which also kicks)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.arms import arm
from edgefoley.train.scenes.bodies.figures import Mesh, ball, box, cylinder, lathe, merge
from edgefoley.train.scenes.bodies.person import SIDES, Build, dressed, pose_arm, pose_leg, upright
from edgefoley.train.scenes.bodies.rhythm import Strokes, moments
from edgefoley.train.scenes.bodies.script import Actor, Hit, Script, loudness, silence
from edgefoley.train.scenes.bodies.stuff import HARD, Rng, choose
from edgefoley.train.scenes.bodies.tracks import clock, poses, smooth, sway
from edgefoley.train.scenes.truth import Source

Array = NDArray[np.float64]


def clap(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Two hands, or two things in hands (blocks, lids, cymbals), meet in the middle."""
    t = clock(seconds)
    hands = rng.random() < 0.6 if not striker else striker == "flesh"
    stuff = choose(rng, striker, ("flesh",) if hands else HARD)
    other = choose(rng, struck, (stuff,))
    whole = hands and rng.random() < 0.5
    times = moments(rng, seconds, 0.16, 0.9)
    wide = float(rng.uniform(0.12, 0.4)) * (1.4 if whole else 1.0)
    strokes = Strokes.random(rng, times, wide)
    gap = strokes.above(t)
    drift = sway(rng, t, 0.02, 0.2, 1.0)
    middle = np.array([0.35, 0.0, 1.15 if whole else 0.3]) + drift
    thick = 0.018 if hands else float(rng.uniform(0.008, 0.03))
    if hands:
        palm = merge(
            ball(0.05, 8).stretched([0.85, 0.36, 1.2]),
            *(box([0.009, 0.012, 0.045]).moved([x, 0, 0.085]) for x in (-0.033, -0.011, 0.011, 0.033)),
        )
    else:
        r = float(rng.uniform(0.05, 0.16))
        flat = Rotation.from_euler("x", 90, degrees=True)
        disc, block = cylinder(r, 2 * thick, 14).moved([0, 0, 0], flat), box([r, thick, 0.6 * r])
        palm = disc if rng.random() < 0.5 else block
    tilt = float(rng.uniform(-0.6, 0.9))
    actors: list[Actor] = []
    build = Build.random(rng)
    pelvis = np.tile([0.0, 0.0, build.leg + build.sole], (len(t), 1)) + 0.3 * drift
    joints = upright(build, pelvis, np.tile([1.0, 0, 0], (len(t), 1)), 0.03)
    if whole:
        middle = joints["chest"] + np.array([0.36 * build.trunk / 0.5, 0, -0.12]) + 0.3 * drift
    for (side, sign), material in zip(SIDES, (stuff, other), strict=True):
        path = middle + np.stack([0 * gap, sign * (0.5 * gap + thick), 0 * gap], axis=-1)
        open_ = 2.0 * gap
        turn = Rotation.from_euler("x", np.stack([-sign * open_], axis=-1)) * Rotation.from_euler("y", tilt)
        role = "striker" if side == "l" else "struck"
        actors.append(Actor(palm, material, poses(path, turn), role))
        if whole:
            pose_arm(joints, build, side, path, np.array([-0.2, 0.8 * sign, -1.0]))
            pose_leg(joints, build, side, pelvis * [1, 1, 0] + [0, 0.8 * sign * build.hips, build.sole],
                     np.tile([1.0, 0, 0], (len(t), 1)), 0.0)  # fmt: skip
        else:
            actors += arm(rng, path + np.array([0, 0.02 * sign, -0.05]), [-0.8, 0.6 * sign, -0.5], 1.0)
    if whole:
        actors += dressed(rng, joints, build, "rubber", "flesh", role="")
    top = float(rng.uniform(3.0, 5.0))
    hits = [Hit(float(x), loudness(v, top), np.array([np.interp(x, t, middle[:, i]) for i in range(3)]))
            for x, v in zip(times, strokes.speeds, strict=True)]  # fmt: skip
    reach = 0.5 if whole else 0.22
    focus = [middle.mean(axis=0) + np.array(d) * reach for d in ([0, 1, 0.5], [0, -1, -0.5], [-0.6, 0, 0])]
    return Script(
        (Source("clap", stuff, other, 0.4),), hits, actors, silence(seconds), "", focus, (-10.0, 40.0),
        (-55.0, 55.0), words={"program": "clap", "things": "hands" if hands else "two things"},
    )  # fmt: skip


def punch(rng: Rng, seconds: float, striker: str, struck: str) -> Script:
    """Somebody punches or kicks a hanging bag or a dummy, which swings back under each blow."""
    glove, stuff = (
        choose(rng, striker, ("flesh", "cloth", "rubber")),
        choose(rng, struck, ("cloth", "flesh", "rubber")),
    )
    t, build = clock(seconds), Build.random(rng)
    kicks = float(rng.choice([0.0, 0.3, 1.0], p=[0.6, 0.2, 0.2]))
    times = moments(rng, seconds, 0.35 if kicks == 0 else 0.8, 1.2)
    strokes = Strokes.random(rng, times, 0.75 * (build.upper + build.fore))
    forward = np.tile([1.0, 0.0, 0.0], (len(t), 1))
    pelvis = np.tile([0.0, 0.0, 0.95 * build.leg + build.sole], (len(t), 1)) + sway(rng, t, 0.02, 0.4, 1.5)
    press = 1 - np.clip(strokes.above(t) / strokes.heights.max(), 0, 1)
    pelvis[:, 0] += 0.08 * press
    joints = upright(build, pelvis, forward, 0.05 + 0.12 * press)
    far = 0.85 * (build.upper + build.fore) + 0.1
    radius, low, high = 0.17 * build.girth**0.5, 0.35 * build.leg, joints["chest"][0, 2] + 0.35
    swing, at = np.zeros(len(t)), []
    pivot = high + float(rng.uniform(0.3, 1.0))
    rate, fade = float(rng.uniform(3.0, 5.0)), float(rng.uniform(1.0, 2.5))
    for time, speed in zip(times, strokes.speeds, strict=True):
        at.append(float(np.interp(time, t, swing)))
        since = np.clip(t - time, 0, None)
        swing += float(rng.uniform(0.015, 0.03)) * speed * np.sin(rate * since) * np.exp(-fade * since)
    limbs = [("foot" if rng.random() < kicks else "hand", str(rng.choice(["l", "r"]))) for _ in times]
    level = {
        "hand": float(joints["chest"][:, 2].mean() - 0.05),
        "foot": float(rng.uniform(0.6, 1.1)) * build.leg,
    }
    spots = np.array(
        [
            [far + a * (pivot - level[limb_]), 0.0, level[limb_]]
            for a, (limb_, _) in zip(at, limbs, strict=True)
        ]
    )
    for side, sign in SIDES:
        _guard(joints, build, side, sign, forward)
        for limb_ in ("hand", "foot"):
            mine = np.array([k for k, chosen in enumerate(limbs) if chosen == (limb_, side)], int)
            if len(mine):
                blow = Strokes(times[mine], strokes.heights[mine], strokes.falls[mine], strokes.rest)
                _thrust(joints, build, (side, limb_), blow, t, spots[mine], forward)
    bag = _bag(radius, high - low)
    hang = np.tile([far + radius, 0.0, pivot], (len(t), 1))
    turn = Rotation.from_euler("y", np.stack([-swing], axis=-1))
    actors = dressed(rng, joints, build, "rubber" if kicks < 1 else glove, glove)
    actors.append(Actor(bag.moved([0, 0, low - pivot]), stuff, poses(hang, turn), "struck"))
    if rng.random() < 0.6:
        rope = cylinder(0.02, 2.0, 6).moved([0, 0, high - pivot + 1.0])
        actors.append(Actor(rope, "metal", poses(hang, turn)))
    hits = [Hit(float(x), loudness(v, 9.0), p) for x, v, p in zip(times, strokes.speeds, spots, strict=True)]
    ground = str(rng.choice(["wood", "rubber", "concrete", "cloth", "grass"]))
    focus = [np.array([x, 0, z]) for x in (-0.2, far + radius) for z in (0.3 * build.leg, high + 0.2)]
    return Script(
        (Source("punch", glove, stuff, 0.75),), hits, actors, silence(seconds), ground, focus, (0.0, 25.0),
        (30.0, 150.0) if rng.random() < 0.5 else (-150.0, -30.0), slab=False,
        words={"program": "kick" if kicks == 1 else "punch", "ground": ground},
    )  # fmt: skip


def _bag(radius: float, tall: float) -> Mesh:
    profile = [
        [0, 0],
        [0.85 * radius, 0],
        [radius, 0.06 * tall],
        [radius, 0.94 * tall],
        [0.85 * radius, tall],
        [0, tall],
    ]
    return lathe(profile, 14)


def _guard(joints: dict[str, Array], build: Build, side: str, sign: float, forward: Array) -> None:
    """Fists up, one foot in front."""
    hand = joints["chest"] + np.array([0.16, 0.1 * sign, -0.02]) * build.trunk / 0.5
    pose_arm(joints, build, side, hand, np.array([-0.1, 0.5 * sign, -1.0]))
    step = 0.15 * build.leg * sign
    ankle = joints["pelvis"].mean(axis=0) * [1, 1, 0] + [step, 0.9 * sign * build.hips, build.sole]
    pose_leg(joints, build, side, np.tile(ankle, (len(forward), 1)), forward, 0.0)


def _thrust(
    joints: dict[str, Array],
    build: Build,
    which: tuple[str, str],
    blow: Strokes,
    t: Array,
    spots: Array,
    forward: Array,
) -> None:
    """Send a hand or foot from where it rests to each spot, there exactly at the blow."""
    side, limb_ = which
    foot = limb_ == "foot"
    home = joints[f"ankle_{side}" if foot else f"hand_{side}"]
    index = np.clip(np.searchsorted(blow.times, t), 0, len(spots) - 1)
    before = np.clip(np.searchsorted(blow.times, t) - 1, 0, len(spots) - 1)
    nearer = np.where(np.abs(blow.times[index] - t) < np.abs(blow.times[before] - t), index, before)
    near = blow.times[nearer]
    fall = blow.falls[nearer] * (1.6 if foot else 1.0)
    until = np.where(t < near, (near - t) / fall, (t - near) / (2.2 * fall))
    share = np.clip(1 - until, 0, 1)
    out = np.where(t < near, share**2, smooth(share))[:, None]  # fastest when it arrives
    target = spots[nearer] - [0.05 if not foot else 0.75 * build.foot * 0.4, 0, 0]
    path = home + out * (target - home)
    if foot:
        pose_leg(joints, build, side, path, forward, -1.0 * out[:, 0])
    else:
        pose_arm(joints, build, side, path, np.array([-0.2, 0.7 if side == "l" else -0.7, -0.6]))

"""A person of limbs: proportions, a mesh per bone, and the joints that the programs move.

Joints are paths (T, 3) by name: pelvis, chest, neck, head, and per side (suffix _l, _r) shoulder, elbow,
hand, hip, knee, ankle, toe. Bones are drawn round, so that joints alone fix them; the trunk and the head
also turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.bodies.figures import ball, box, limb, merge
from edgefoley.train.scenes.bodies.script import Actor
from edgefoley.train.scenes.bodies.stuff import Rng
from edgefoley.train.scenes.bodies.tracks import bend, bone

Array = NDArray[np.float64]
Joints = dict[str, Array]
SIDES: Final = (("l", 1.0), ("r", -1.0))


@dataclass(frozen=True)
class Build:
    """Lengths in metres; girth: 1 for an average body."""

    thigh: float
    shin: float
    foot: float
    trunk: float
    hips: float
    shoulders: float
    upper: float
    fore: float
    girth: float

    @classmethod
    def random(cls, rng: Rng) -> Build:
        """A child to a tall adult, thin to stout."""
        tall = float(np.clip(rng.normal(1.0, 0.12), 0.6, 1.2))
        a = rng.uniform(0.9, 1.1, 8) * tall
        return cls(
            *(0.43 * a[0], 0.42 * a[1], 0.24 * a[2], 0.5 * a[3], 0.09 * a[4], 0.19 * a[5]),
            *(0.28 * a[6], 0.27 * a[7]),
            tall * float(rng.uniform(0.8, 1.4)),
        )

    @property
    def leg(self) -> float:
        """From the hip to the ankle."""
        return self.thigh + self.shin

    @property
    def sole(self) -> float:
        """Height of the ankle over the sole."""
        return 0.3 * self.foot


def upright(build: Build, pelvis: Array, forward: Array, lean: Array | float = 0.05) -> Joints:
    """Trunk, head, hips and shoulders (T, 3) over a pelvis path, facing forward (T, 3), leaning by lean
    rad."""
    up = np.array([0.0, 0.0, 1.0])
    left = np.cross(up, forward)
    tilt = np.reshape(np.asarray(lean, np.float64), (-1, 1))
    spine = np.cos(tilt) * up + np.sin(tilt) * forward
    out = {"pelvis": pelvis, "chest": pelvis + build.trunk * spine}
    out["neck"] = out["chest"] + 0.07 * spine * build.trunk / 0.5
    out["head"] = out["neck"] + 0.26 * (0.8 * up + 0.2 * spine) * build.trunk / 0.5
    for side, sign in SIDES:
        out[f"hip_{side}"] = pelvis + sign * build.hips * left
        out[f"shoulder_{side}"] = out["chest"] + sign * build.shoulders * left - 0.04 * spine
    return out


def pose_leg(
    joints: Joints, build: Build, side: str, ankle: Array, forward: Array, pitch: Array | float
) -> None:
    """Put a foot at ankle (T, 3), toes down by pitch (T,) radians, and bend the knee forward."""
    joints[f"ankle_{side}"] = ankle
    joints[f"knee_{side}"] = bend(joints[f"hip_{side}"], ankle, (build.thigh, build.shin), forward)
    down = np.reshape(np.asarray(pitch, np.float64), (-1, 1))
    toe = np.cos(down) * forward - np.sin(down) * np.array([0.0, 0.0, 1.0])
    joints[f"toe_{side}"] = ankle + 0.75 * build.foot * toe


def pose_arm(joints: Joints, build: Build, side: str, hand: Array, pole: Array) -> None:
    """Put a hand somewhere and bend the elbow towards pole."""
    shoulder = joints[f"shoulder_{side}"]
    reach = hand - shoulder
    far = np.linalg.norm(reach, axis=1, keepdims=True)
    longest = 0.99 * (build.upper + build.fore)
    joints[f"hand_{side}"] = shoulder + reach * np.minimum(1.0, longest / (far + 1e-9))
    joints[f"elbow_{side}"] = bend(shoulder, joints[f"hand_{side}"], (build.upper, build.fore), pole)


def dressed(
    rng: Rng, joints: Joints, build: Build, shoe: str = "rubber", glove: str = "flesh", role: str = "striker"
) -> list[Actor]:
    """The actors of a person. shoe, glove: materials of feet and hands, which have the role."""
    g = build.girth
    top, trousers = ("cloth", str(rng.choice(["cloth", "cloth", "flesh"])))
    across = joints["shoulder_l"] - joints["shoulder_r"]
    wide = build.shoulders / 0.19
    trunk = merge(
        limb(0.62 * build.trunk, 0.13 * g, 0.15 * g).stretched([1.0, 0.68, 1.0]),
        limb(0.2 * build.trunk, 0.15 * g, 0.13 * g)
        .stretched([1.15 * wide, 0.68, 1.0])
        .moved([0, 0, 0.62 * build.trunk]),
    )
    hair = ball(0.105, 8).stretched([0.95, 1.0, 0.9]).moved([0, 0, 0.17])
    face = merge(ball(0.1, 10).stretched([0.85, 1.0, 1.25]).moved([0, 0, 0.12]), limb(0.1, 0.05, 0.05))
    scale = build.trunk / 0.5
    out = [
        Actor(trunk, top, bone(joints["pelvis"], joints["chest"], across)),
        Actor(face.stretched([scale] * 3), "flesh", bone(joints["neck"], joints["head"], across)),
        Actor(hair.stretched([scale] * 3), str(rng.choice(["leaves", "earth", "cloth", "rubber"])),
              bone(joints["neck"], joints["head"], across)),
    ]  # fmt: skip
    bare = rng.random() < 0.4
    hand = ball(0.05 * g, 8).stretched([0.9, 0.7, 1.3])
    fist = hand if glove == "flesh" else ball(0.08 * g, 8)
    foot = merge(
        box([0.35 * build.sole * g, 0.4 * build.foot, 0.3 * build.sole]).moved([0, 0.25 * build.foot, 0]),
        ball(0.45 * build.sole, 6).stretched([1, 1.2, 1.3]).moved([0, -0.05 * build.foot, 0.3 * build.sole]),
    )
    for side, _ in SIDES:
        j = {name: joints[f"{name}_{side}"] for name in
             ("shoulder", "elbow", "hand", "hip", "knee", "ankle", "toe")}  # fmt: skip
        sole = j["toe"] - j["ankle"]
        shin = j["knee"] - j["ankle"]
        out += [
            Actor(limb(build.upper, 0.055 * g, 0.045 * g), top, bone(j["shoulder"], j["elbow"])),
            Actor(
                limb(build.fore, 0.045 * g, 0.032 * g), "flesh" if bare else top, bone(j["elbow"], j["hand"])
            ),
            Actor(fist, glove, bone(j["hand"], 2 * j["hand"] - j["elbow"]), role if glove != "flesh" else ""),
            Actor(limb(build.thigh, 0.085 * g, 0.06 * g), trousers, bone(j["hip"], j["knee"])),
            Actor(limb(build.shin, 0.058 * g, 0.042 * g), trousers, bone(j["knee"], j["ankle"])),
            Actor(foot, shoe, _flat(j["ankle"], sole, shin, build), role),
        ]
    return out


def _flat(ankle: Array, sole: Array, shin: Array, build: Build) -> Array:
    """The track of a foot whose mesh points its toes along +y: the sole build.sole below the ankle."""
    across = np.cross(sole, shin)
    upwards = np.cross(across, sole)
    upwards = upwards / (np.linalg.norm(upwards, axis=1, keepdims=True) + 1e-9)
    base = ankle - 0.7 * build.sole * upwards
    return bone(base, base + upwards, across)

"""Recorded human motion: the humanoid3d clips of the pybullet_data package, played on bodies of any build.

The files hold joint rotations of the skeleton of DeepMimic (Peng et al. 2018, arXiv:1804.02717), y up, at
about 60 a second. Feet are found to land by their height; nothing is simulated.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from edgefoley.train.scenes.bodies.person import SIDES, Build, Joints

Array = NDArray[np.float64]
_ROTATIONS: Final = {  # first column of each joint's quaternion (w, x, y, z)
    "root": 4, "chest": 8, "neck": 12, "hip_r": 16, "ankle_r": 21, "shoulder_r": 25,
    "hip_l": 30, "ankle_l": 35, "shoulder_l": 39,
}  # fmt: skip
_HINGES: Final = {"knee_r": 20, "elbow_r": 29, "knee_l": 34, "elbow_l": 43}
_UPRIGHT: Final = Rotation.from_euler("x", 90, degrees=True)  # y up to z up


@lru_cache(maxsize=16)
def _clip(name: str) -> tuple[Array, bool]:
    import pybullet_data

    path = Path(pybullet_data.getDataPath()) / "data" / "motions" / f"humanoid3d_{name}.txt"
    content = json.loads(path.read_text(encoding="utf-8"))
    return np.array(content["Frames"], np.float64), content["Loop"] == "wrap"


def perform(name: str, build: Build, t: Array, speed: float = 1.0, start: float = 0.0) -> Joints:
    """The joints (T, 3) of a clip at times t (s), looped (loops travel on) or held at its end. The lowest
    foot of the clip stands on z = 0."""
    frames, loops = _clip(name)
    at = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    length = float(at[-1])
    x = np.asarray(t) * speed + start
    laps = np.floor(x / length) if loops else np.zeros(len(x))
    u = np.clip(x - laps * length, 0, length)
    root = np.stack([np.interp(u, at, frames[:, i]) for i in (1, 2, 3)], axis=-1)
    travel = frames[-1, 1:4] - frames[0, 1:4]
    root = root + laps[:, None] * travel * [1, 0, 1]
    turns = {
        joint: Slerp(at, Rotation.from_quat(frames[:, [i + 1, i + 2, i + 3, i]]))(u)
        for joint, i in _ROTATIONS.items()
    }
    hinges = {joint: np.interp(u, at, frames[:, i]) for joint, i in _HINGES.items()}
    joints = _forward(build, root * [build.leg / 0.83, 1.0, build.leg / 0.83], turns, hinges)
    joints = {k: _UPRIGHT.apply(v) for k, v in joints.items()}
    low = min(float(np.percentile(_lowest(joints, build, side)[0], 5)) for side, _ in SIDES)
    shift = np.array([0, 0, -low])
    return {k: v + shift for k, v in joints.items()}


def _forward(build: Build, root: Array, turns: dict[str, Rotation], hinges: dict[str, Array]) -> Joints:
    """Joint positions from rotations, y up, x forward, z to the right."""
    base = turns["root"]
    chest = base * turns["chest"]
    head = chest * turns["neck"]
    out = {"pelvis": root, "chest": root + base.apply([0, 0.45 * build.trunk, 0])}
    top = out["chest"] + chest.apply([0, 0.5 * build.trunk, 0])
    out["neck"] = top
    out["head"] = top + head.apply([0, 0.5 * build.trunk, 0])
    for side, sign in (("r", 1.0), ("l", -1.0)):
        hip = out[f"hip_{side}"] = root + base.apply([0, 0, sign * build.hips])
        thigh = base * turns[f"hip_{side}"]
        knee = out[f"knee_{side}"] = hip + thigh.apply([0, -build.thigh, 0])
        shin = thigh * Rotation.from_rotvec(np.outer(hinges[f"knee_{side}"], [0, 0, 1]))
        ankle = out[f"ankle_{side}"] = knee + shin.apply([0, -build.shin, 0])
        foot = shin * turns[f"ankle_{side}"]
        out[f"toe_{side}"] = ankle + foot.apply([0.75 * build.foot, 0, 0])
        shoulder = out[f"shoulder_{side}"] = out["chest"] + chest.apply(
            [0, 0.48 * build.trunk, sign * build.shoulders]
        )
        upper = chest * turns[f"shoulder_{side}"]
        elbow = out[f"elbow_{side}"] = shoulder + upper.apply([0, -build.upper, 0])
        fore = upper * Rotation.from_rotvec(np.outer(hinges[f"elbow_{side}"], [0, 0, 1]))
        out[f"hand_{side}"] = elbow + fore.apply([0, -build.fore, 0])
    out["chest"] = top  # the trunk is drawn as one piece
    return out


def _lowest(joints: Joints, build: Build, side: str) -> tuple[Array, Array]:
    """The height (T,) of the lower of heel and tip of a foot's sole, and that point (T, 3)."""
    ankle = joints[f"ankle_{side}"]
    along = joints[f"toe_{side}"] - ankle
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    up = joints[f"knee_{side}"] - ankle
    up = up - (up * along).sum(axis=1, keepdims=True) * along
    up = up / (np.linalg.norm(up, axis=1, keepdims=True) + 1e-9)
    heel = ankle - build.sole * up - 0.2 * build.foot * along
    tip = heel + build.foot * along
    point = np.where(heel[:, 2:] < tip[:, 2:], heel, tip)
    return point[:, 2], point


def landings(joints: Joints, build: Build, t: Array) -> list[tuple[float, float, Array]]:
    """When feet land: (time s, speed m/s before, point (3,)), in time order. A foot has landed when its sole
    comes within 1.5 cm of where it stands after having been 4 cm or more above it, and at least 0.25 s after
    its last landing."""
    out = []
    rate = 1 / float(t[1] - t[0])
    for side, _ in SIDES:
        low, place = _lowest(joints, build, side)
        level = float(np.percentile(low, 10))
        up, last = False, -1.0
        for i in range(1, len(t)):
            up = up or low[i] - level > 0.04
            if up and low[i] - level < 0.015:
                first = max(0, i - int(0.08 * rate))
                speed = float(-np.diff(low[first : i + 1]).min() * rate)
                if t[i] - last >= 0.25:
                    out.append((float(t[i]), max(speed, 0.05), place[i] * [1, 1, 0]))
                up, last = False, float(t[i])
    return sorted(out, key=lambda landing: landing[0])

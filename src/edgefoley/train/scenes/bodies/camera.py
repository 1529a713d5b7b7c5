"""Where the picture is taken from: framing, slow motion, the shake of a hand, and the way from space to
picture.

OpenGL conventions: the camera looks along its -z, x to the right, y up. Matrices are row-major here and
transposed for the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.script import Actor, Script
from edgefoley.train.scenes.bodies.stuff import Rng
from edgefoley.train.scenes.bodies.tracks import POSE_RATE, clock, sample, sway

Array = NDArray[np.float64]
NEAR, FAR = 0.02, 60.0


@dataclass(frozen=True)
class Camera:
    """eyes, targets (T, 3): where it is and what it looks at, POSE_RATE a second; roll (T,) radians; fov:
    vertical field of view in degrees."""

    eyes: Array
    targets: Array
    roll: Array
    fov: float

    def view(self, t: float) -> Array:
        """The view matrix (4, 4) at time t."""
        x = float(np.clip(t * POSE_RATE, 0, len(self.eyes) - 1.001))
        i, u = int(x), x - int(x)
        eye = (1 - u) * self.eyes[i] + u * self.eyes[i + 1]
        target = (1 - u) * self.targets[i] + u * self.targets[i + 1]
        roll = (1 - u) * self.roll[i] + u * self.roll[i + 1]
        back = eye - target
        back = back / np.linalg.norm(back)
        right = np.cross([0.0, 0.0, 1.0], back)
        right = right / (np.linalg.norm(right) + 1e-9)
        up = np.cross(back, right)
        right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        turn = np.stack([right, up, back])
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = turn, -turn @ eye
        return out

    def projection(self, jitter: tuple[float, float] = (0.0, 0.0)) -> Array:
        """The projection matrix (4, 4); jitter shifts the picture by fractions of its width and height."""
        f = 1 / np.tan(np.radians(self.fov) / 2)
        out = np.zeros((4, 4))
        out[0, 0], out[1, 1] = f, f
        out[0, 2], out[1, 2] = 2 * jitter[0], 2 * jitter[1]
        out[2, 2], out[2, 3] = -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
        out[3, 2] = -1
        return out

    def place(self, point: Array, t: float) -> tuple[tuple[float, float], float]:
        """Where a point (3,) is in the picture at time t (fractions, y down; (-1, -1) behind the camera),
        and its distance in metres."""
        seen = self.view(t) @ np.append(point, 1.0)
        distance = float(np.linalg.norm(seen[:3]))
        if seen[2] > -NEAR:
            return (-1.0, -1.0), distance
        f = 1 / np.tan(np.radians(self.fov) / 2)
        x, y = f * seen[:2] / -seen[2]
        return (float(0.5 + 0.5 * x), float(0.5 - 0.5 * y)), distance

    def heading(self, t: float) -> tuple[float, float]:
        """Azimuth and elevation of the line of sight in radians, for what is far away."""
        back = self.view(t)[2, :3]
        return float(np.arctan2(back[1], back[0])), float(np.arcsin(np.clip(back[2], -1, 1)))


def frame(rng: Rng, script: Script, seconds: float) -> Camera:
    """A camera on the box around the contacts and the focus points, from a direction the action allows and
    where few contacts are hidden behind something: the first of five that will do, or the best."""
    t = clock(seconds)
    hits = np.array([h.point for h in script.hits]).reshape(-1, 3)
    if script.follow is not None and len(hits):
        at = (np.array([h.time_s for h in script.hits]) * POSE_RATE).astype(int)
        hits = hits - script.follow[np.minimum(at, len(script.follow) - 1)]
    focus = np.array(script.focus, np.float64).reshape(-1, 3)
    if len(hits):  # what flies off farthest may leave the picture
        most = np.percentile(hits, [8, 92], axis=0)
        focus = np.concatenate([focus, most])
    best, least = None, np.inf
    for _ in range(5):
        camera = _aimed(rng, script, t, focus.min(axis=0), focus.max(axis=0))
        hidden = _hidden(camera, script, seconds)
        if hidden < least:
            best, least = camera, hidden
        if hidden < 0.3:
            break
    assert best is not None
    return best


def _aimed(rng: Rng, script: Script, t: Array, low: Array, high: Array) -> Camera:
    """A camera that sees most of a box from somewhere."""
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 0.02)
    radius = float(np.linalg.norm(half)) * float(np.exp(rng.uniform(np.log(0.85), np.log(1.4)))) + 0.03
    fov = float(rng.uniform(28, 70))
    distance = max(radius / np.sin(np.radians(fov) / 2), 0.12)
    azimuth = np.radians(rng.uniform(*script.azimuth))
    elevation = np.radians(rng.uniform(*script.elevation))
    off = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    target = middle + rng.uniform(-0.18, 0.18, 3) * radius
    eye = middle + off * distance
    if script.ground:
        eye[2] = max(eye[2], 0.06 * distance + 0.02)
    follow = np.zeros((len(t), 3)) if script.follow is None else script.follow[: len(t)]
    return _moving(rng, t, follow, eye, target, fov)


def _hidden(camera: Camera, script: Script, seconds: float) -> float:
    """The share of the contacts that some body other than those that meet stands in front of. Bodies count as
    capsules along their longest side."""
    inside = [h for h in script.hits if h.time_s < seconds]
    if not inside:
        return 0.0
    some = [inside[int(i)] for i in np.linspace(0, len(inside) - 1, min(8, len(inside)))]
    hidden = 0
    for hit in some:
        eye = camera.eyes[min(int(hit.time_s * POSE_RATE), len(camera.eyes) - 1)]
        # from the lens to shortly before the contact, which lies on its bodies' surfaces
        line = eye + np.linspace(0, 0.93, 24)[:, None] * (hit.point - eye)
        hidden += any(_crosses(actor, hit.time_s, line) for actor in script.actors if not actor.role)
    return hidden / len(some)


def _crosses(actor: Actor, t: float, line: Array) -> bool:
    """Whether one of the points (N, 3) is in an actor's capsule at time t."""
    pose = sample(actor.poses, t)
    points = Rotation.from_quat(pose[3:]).inv().apply(line - pose[:3]) - actor.mesh.middle
    half = actor.mesh.half
    order = np.argsort(half)
    core, radius = int(order[2]), float(half[order[1]])
    rest = np.abs(points)
    rest[:, core] = np.maximum(rest[:, core] - max(half[core] - radius, 0.0), 0.0)
    return bool((np.linalg.norm(rest, axis=1) < 0.9 * radius).any())


def _moving(rng: Rng, t: Array, follow: Array, eye: Array, target: Array, fov: float) -> Camera:
    """Dolly, pan and shake on top of a fixed view."""
    off = eye - target
    distance = float(np.linalg.norm(off))
    drift = np.zeros((len(t), 3))
    zoom = np.ones(len(t))
    turn = np.zeros(len(t))
    if rng.random() < 0.35:
        drift = (t[:, None] - t[-1] / 2) * rng.normal(0, 0.03 * distance, 3) * [1, 1, 0.3]
    if rng.random() < 0.25:
        zoom = 1 + (t - t[-1] / 2) * float(rng.uniform(-0.05, 0.05))
    if rng.random() < 0.3:
        turn = np.radians(float(rng.normal(0, 6))) * (t - t[-1] / 2)
    c, s = np.cos(turn), np.sin(turn)
    around = np.stack([c * off[0] - s * off[1], s * off[0] + c * off[1], np.full(len(t), off[2])], axis=-1)
    roll = np.full(len(t), np.radians(float(rng.normal(0, 3))))
    look = target + follow + drift
    if rng.random() < 0.45:  # held in a hand
        amount = float(np.exp(rng.uniform(np.log(0.002), np.log(0.02)))) * distance
        look = look + sway(rng, t, amount, 0.3, 5.0)
        roll = roll + sway(rng, t, 0.01, 0.3, 3.0)[:, 0]
    eyes = target + follow + drift + around * np.clip(zoom, 0.7, 1.4)[:, None]
    eyes[:, 2] = np.maximum(eyes[:, 2], 0.02)
    return Camera(eyes, look, roll, fov)

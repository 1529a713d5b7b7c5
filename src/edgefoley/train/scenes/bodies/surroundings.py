"""What stands around an action and makes no sound: the ground or a table, walls, furniture, things that drift
through the picture, something in front of the lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.camera import Camera
from edgefoley.train.scenes.bodies.figures import Mesh, ball, box, cylinder, limb, merge
from edgefoley.train.scenes.bodies.script import Actor, Script
from edgefoley.train.scenes.bodies.stuff import THINGS, Rng
from edgefoley.train.scenes.bodies.things import thing
from edgefoley.train.scenes.bodies.tracks import clock, poses, still, sway

Array = NDArray[np.float64]


def around(rng: Rng, script: Script, camera: Camera, seconds: float) -> list[Actor]:
    """Silent bodies for a script, placed by its camera so that they do not hide the contacts."""
    t = clock(seconds)
    points = [np.asarray(f, np.float64) for f in script.focus] + [h.point for h in script.hits]
    tracks = [a.poses[::8, :3] for a in script.actors if a.role and a.poses.ndim > 1]
    reach = np.concatenate(tracks or [np.array(points)])
    low = np.minimum(np.min(points, axis=0), np.percentile(reach, 5, axis=0))
    high = np.maximum(np.max(points, axis=0), np.percentile(reach, 95, axis=0))
    out = _ground(rng, script, low, high, camera)
    eye, target = camera.eyes[0], camera.targets[0]
    distance = float(np.linalg.norm(eye - target))
    ahead = (target - eye) / distance
    if rng.random() < 0.3:
        out.append(_wall(rng, ahead, low, high, distance))
    for _ in range(int(rng.choice([0, 1, 2, 3, 5], p=[0.3, 0.25, 0.2, 0.15, 0.1]))):
        out.append(_bystander(rng, script, camera, t))
    if rng.random() < 0.12:
        out.append(_person(rng, camera, t))
    if rng.random() < 0.08:
        out.append(_foreground(rng, camera, t))
    return out


def _ground(rng: Rng, script: Script, low: Array, high: Array, camera: Camera) -> list[Actor]:
    if not script.ground:
        return []
    middle, half = (low + high) / 2, (high - low) / 2 + 0.1
    distance = float(np.linalg.norm(camera.eyes[0] - camera.targets[0]))
    span = float(half[:2].max()) + 0.1
    if script.slab and span < 1.5 and rng.random() < 0.45:
        half = half[:2] * rng.uniform(1.1, 1.6, 2) + 0.1 * span
        thick = float(rng.uniform(0.02, 0.1)) * max(1.0, span)
        slab = box([half[0], half[1], thick / 2])
        out = [Actor(slab, script.ground, still([middle[0], middle[1], script.level - thick / 2]), "ground")]
        if rng.random() < 0.4:
            legs = [
                box([0.04 * span, 0.04 * span, 0.4 * span]).moved([x * half[0] * 0.9, y * half[1] * 0.9, 0])
                for x in (-1, 1)
                for y in (-1, 1)
            ]
            out.append(
                Actor(merge(*legs), script.ground, still([*middle[:2], script.level - thick - 0.4 * span]))
            )
        return out
    far = max(3.0 * distance, 2.5 * span + distance)
    floor = box([far, far, 0.02])
    floor = Mesh(floor.vertices, floor.normals, floor.uvs * float(rng.uniform(1.0, 2.0 + far)), floor.indices)
    return [Actor(floor, script.ground, still([middle[0], middle[1], script.level - 0.02]), "ground")]


def _wall(rng: Rng, ahead: Array, low: Array, high: Array, distance: float) -> Actor:
    """A wall behind the action, turned somewhat."""
    flat = ahead * [1, 1, 0]
    flat = flat / (np.linalg.norm(flat) + 1e-9)
    radius = float(np.linalg.norm((high - low)[:2])) / 2
    place = (low + high) / 2 + flat * (radius + distance * float(rng.uniform(0.3, 1.0)) + 0.2)
    place[2] = 0.0
    turn = Rotation.from_euler("z", float(np.arctan2(flat[1], flat[0]) + rng.normal(0, 0.3)))
    size = 4 * distance + radius
    return Actor(
        box([0.03, size, size]), str(rng.choice(["wood", "concrete", "stone", "paper"])), still(place, turn)
    )


def _spot(rng: Rng, camera: Camera, depth: tuple[float, float], side: tuple[float, float]) -> Array:
    """A point at a share of the camera's distance, `side` of the way to the picture's border or beyond."""
    eye, target = camera.eyes[0], camera.targets[0]
    ahead = target - eye
    d = float(np.linalg.norm(ahead)) * float(rng.uniform(*depth))
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, [0, 0, 1.0])
    right = right / (np.linalg.norm(right) + 1e-9)
    wide = np.tan(np.radians(camera.fov) / 2) * d * float(rng.uniform(*side)) * float(rng.choice([-1, 1]))
    return np.asarray(eye + ahead * d + right * wide)


def _bystander(rng: Rng, script: Script, camera: Camera, t: Array) -> Actor:
    """An object that stands or, without a sound, floats, turns or waves off to the side."""
    place = _spot(rng, camera, (1.2, 2.2), (0.3, 1.1))
    distance = float(np.linalg.norm(camera.eyes[0] - place))
    item = thing(rng, str(rng.choice(THINGS)), (), 0.25 * distance * float(rng.uniform(0.15, 0.7)))
    turn = Rotation.from_euler("z", float(rng.uniform(0, 6.28)))
    if rng.random() < 0.55:
        height = item.half[2] + script.level if script.ground else place[2]
        return Actor(item.mesh, item.material, still([place[0], place[1], height], turn))
    path = place + sway(rng, t, 0.12 * distance, 0.1, 1.5)
    if script.ground:
        path[:, 2] = np.maximum(path[:, 2], item.half.max())
    spin = Rotation.from_rotvec(np.outer(t, rng.normal(0, 1.2, 3)))
    return Actor(item.mesh, item.material, poses(path, spin))


def _person(rng: Rng, camera: Camera, t: Array) -> Actor:
    """Somebody who stands behind and shifts from foot to foot."""
    place = _spot(rng, camera, (1.3, 2.5), (0.2, 0.9))
    tall = float(rng.uniform(0.9, 1.1))
    body = merge(
        limb(0.75, 0.1, 0.14).moved([0, 0.1, 0.1]),
        limb(0.75, 0.1, 0.14).moved([0, -0.1, 0.1]),
        limb(0.55, 0.17, 0.2).stretched([0.7, 1, 1]).moved([0, 0, 0.85]),
        limb(0.55, 0.05, 0.06).moved([0, 0.26, 0.85]),
        limb(0.55, 0.05, 0.06).moved([0, -0.26, 0.85]),
        ball(0.12, 10).stretched([1, 0.85, 1.2]).moved([0, 0, 1.68]),
    ).stretched([tall, tall, tall])
    path = np.array([place[0], place[1], 0.0]) + sway(rng, t, 0.03, 0.2, 0.8) * [1, 1, 0]
    lean = Rotation.from_euler("z", float(rng.uniform(0, 6.28))) * Rotation.from_rotvec(
        sway(rng, t, 0.04, 0.2, 0.8)
    )
    return Actor(body, str(rng.choice(["cloth", "flesh"])), poses(path, lean))


def _foreground(rng: Rng, camera: Camera, t: Array) -> Actor:
    """A post or an edge close to the lens that hides part of the picture."""
    place = _spot(rng, camera, (0.3, 0.5), (0.45, 1.0))
    distance = float(np.linalg.norm(camera.eyes[0] - place))
    post = cylinder(0.06 * distance, 6 * distance, 8) if rng.random() < 0.6 else box([0.1 * distance] * 3)
    path = place + sway(rng, t, 0.02 * distance, 0.1, 0.6)
    return Actor(
        post, str(rng.choice(["wood", "metal", "plastic", "leaves"])), poses(path, Rotation.identity())
    )

"""Motion in arrays: poses (T, 7) of position and quaternion (x, y, z, w), 240 a second."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
Rng = np.random.Generator

POSE_RATE: Final = 240


def clock(seconds: float) -> Array:
    """The times (T,) of a track: from 0 to a little beyond the end."""
    return np.arange(int(np.ceil(seconds * POSE_RATE)) + 3) / POSE_RATE


def smooth(x: ArrayLike) -> Array:
    """0 below 0, 1 above 1, an S in between, at rest at both ends."""
    u = np.clip(x, 0.0, 1.0)
    return np.asarray(u * u * (3 - 2 * u))


def still(position: ArrayLike, turn: Rotation | None = None) -> Array:
    """The pose (7,) of a body at rest."""
    quat = (Rotation.identity() if turn is None else turn).as_quat()
    return np.concatenate([np.asarray(position, np.float64), quat])


def poses(positions: Array, turns: Rotation) -> Array:
    """A track (T, 7) of positions (T, 3) and T rotations (or one)."""
    quats = np.broadcast_to(turns.as_quat(), (len(positions), 4))
    return np.concatenate([positions, quats], axis=1)


def aimed(axis: ArrayLike, side: ArrayLike) -> Rotation:
    """Rotations that take +z to axis (T, 3) and +x as near to side (T, 3) or (3,) as it can be."""
    z = np.atleast_2d(np.asarray(axis, np.float64))
    z = z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-12)
    x = np.broadcast_to(np.asarray(side, np.float64), z.shape)
    x = x - (x * z).sum(axis=1, keepdims=True) * z
    short = np.linalg.norm(x, axis=1) < 1e-6
    if short.any():
        spare = np.where(np.abs(z[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
        spare = spare - (spare * z).sum(axis=1, keepdims=True) * z
        x = np.where(short[:, None], spare, x)
    x = x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)
    return Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=-1))


def bone(start: Array, end: Array, side: ArrayLike = (1.0, 0.0, 0.0)) -> Array:
    """The track (T, 7) of a limb (its mesh runs from the origin along +z) from start to end, (T, 3) each."""
    return poses(np.broadcast_to(start, end.shape).astype(np.float64), aimed(end - start, side))


def bend(root: Array, tip: Array, lengths: tuple[float, float], pole: ArrayLike) -> Array:
    """The middle joint (T, 3) of two bones from root to tip, bent towards pole; straight where too far."""
    reach = tip - root
    d = np.linalg.norm(reach, axis=1, keepdims=True) + 1e-9
    axis = reach / d
    first, second = lengths
    far = np.clip(d, abs(first - second) + 1e-6, first + second - 1e-6)
    along = (first**2 - second**2 + far**2) / (2 * far)
    off = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    p = np.broadcast_to(np.asarray(pole, np.float64), axis.shape)
    p = p - (p * axis).sum(axis=1, keepdims=True) * axis
    p = p / (np.linalg.norm(p, axis=1, keepdims=True) + 1e-9)
    return np.asarray(root + axis * along * (d / far) + p * off)


def sample(track: Array, t: float) -> Array:
    """The pose (7,) of a track (T, 7) or (7,) at time t; held beyond its ends."""
    if track.ndim == 1:
        return track
    x = min(max(t * POSE_RATE, 0.0), len(track) - 1.0)
    i = min(int(x), len(track) - 2)
    u = x - i
    a, b = track[i], track[i + 1]
    if float(np.dot(a[3:], b[3:])) < 0:
        b = np.concatenate([b[:3], -b[3:]])
    out = (1 - u) * a + u * b
    out[3:] /= np.linalg.norm(out[3:])
    return np.asarray(out)


def sway(rng: Rng, times: Array, size: float, slowest: float, fastest: float) -> Array:
    """A smooth wandering (len(times), 3) of about `size` metres, of sines from slowest to fastest hertz."""
    f = np.exp(rng.uniform(np.log(slowest), np.log(fastest), (4, 3)))
    phase = rng.uniform(0, 2 * np.pi, (4, 3))
    waves = np.sin(2 * np.pi * f * times[:, None, None] + phase)
    return np.asarray(waves.sum(axis=1) * size / 2)

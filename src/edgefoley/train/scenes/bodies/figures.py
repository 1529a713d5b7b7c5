"""Triangle meshes of simple solids: bodies of revolution, boxes, prisms, limbs. Lengths in metres.

Low counts of sides on purpose: a picture is about a hundred pixels wide, and the software rasteriser pays for
each triangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """vertices, normals (V, 3); uvs (V, 2); indices (3 * triangles,) int64."""

    vertices: Array
    normals: Array
    uvs: Array
    indices: NDArray[np.int64]

    @property
    def half(self) -> Array:
        """Half extents (3,) of the bounding box."""
        return np.asarray(np.ptp(self.vertices, axis=0) / 2)

    @property
    def middle(self) -> Array:
        """Centre (3,) of the bounding box."""
        return np.asarray((self.vertices.max(axis=0) + self.vertices.min(axis=0)) / 2)

    def moved(self, offset: ArrayLike, turn: Rotation | None = None) -> Mesh:
        """The mesh turned about its origin, then shifted by offset (3,)."""
        vertices, normals = self.vertices, self.normals
        if turn is not None:
            vertices, normals = turn.apply(vertices), turn.apply(normals)
        return Mesh(vertices + np.asarray(offset, np.float64), normals, self.uvs, self.indices)

    def stretched(self, factors: ArrayLike) -> Mesh:
        """The mesh scaled by factors (3,)."""
        f = np.asarray(factors, np.float64)
        normals = self.normals / f
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        return Mesh(self.vertices * f, normals, self.uvs, self.indices)

    def centred(self) -> Mesh:
        """The mesh with the middle of its bounding box at the origin."""
        return self.moved(-self.middle)


def merge(*meshes: Mesh) -> Mesh:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uvs for m in meshes]),
        np.concatenate([m.indices + s for m, s in zip(meshes, starts, strict=False)]),
    )


def lathe(profile: ArrayLike | Sequence[Any], sides: int = 12) -> Mesh:
    """The body of revolution about z of a profile (P, 2) of (radius, z), listed so that the outside lies to
    the right of its direction (upwards outside)."""
    p = np.asarray(profile, np.float64)
    p = np.column_stack([np.maximum(p[:, 0], 1e-4), p[:, 1]])
    a = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(a), np.sin(a)], axis=-1)
    vertices = np.concatenate(
        [p[:, None, :1] * ring[None], np.broadcast_to(p[:, None, 1:], (len(p), sides + 1, 1))], axis=-1
    )
    step = np.gradient(p, axis=0)
    out = np.column_stack([step[:, 1], -step[:, 0]])
    out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-12
    normals = np.concatenate(
        [out[:, None, :1] * ring[None], np.broadcast_to(out[:, None, 1:], (len(p), sides + 1, 1))], axis=-1
    )
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    u, v = np.meshgrid(np.linspace(0, 1, sides + 1), length / max(length[-1], 1e-9))
    i = np.arange(len(p) - 1)[:, None] * (sides + 1) + np.arange(sides)[None]
    indices = np.stack([i, i + 1, i + sides + 2, i, i + sides + 2, i + sides + 1], axis=-1)
    return Mesh(
        vertices.reshape(-1, 3),
        normals.reshape(-1, 3),
        np.stack([u, v], axis=-1).reshape(-1, 2),
        indices.reshape(-1).astype(np.int64),
    )


def ball(radius: float, sides: int = 14) -> Mesh:
    """A sphere about the origin."""
    a = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    return lathe(np.column_stack([radius * np.cos(a), radius * np.sin(a)]), sides)


def cylinder(radius: float, height: float, sides: int = 14) -> Mesh:
    """A cylinder about the origin, its axis along z."""
    h, r, edge = height / 2, radius, 1e-3 * min(radius, height)
    return lathe([[0, -h], [r - edge, -h], [r, -h + edge], [r, h - edge], [r - edge, h], [0, h]], sides)


def limb(length: float, thick: float, thin: float, sides: int = 8) -> Mesh:
    """A tapered capsule from the origin along +z; radii in metres at its start and its end."""
    a = np.linspace(-np.pi / 2, 0, 3)
    start = np.column_stack([thick * np.cos(a), thick * np.sin(a)])
    b = np.linspace(0, np.pi / 2, 3)
    end = np.column_stack([thin * np.cos(b), length + thin * np.sin(b)])
    return lathe(np.concatenate([start, end]), sides)


def box(half: ArrayLike) -> Mesh:
    """A box about the origin with half extents (3,)."""
    faces, normals, uvs = [], [], []
    h = np.asarray(half, np.float64)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            face = np.zeros((4, 3))
            face[:, axis] = sign
            face[:, first], face[:, second] = corners[:, 0] * sign, corners[:, 1]
            faces.append(face * h)
            normals.append(np.tile(np.eye(3)[axis] * sign, (4, 1)))
            uvs.append((corners + 1) / 2)
    quads = np.arange(6)[:, None] * 4 + np.array([0, 1, 2, 0, 2, 3])
    return Mesh(np.concatenate(faces), np.concatenate(normals), np.concatenate(uvs), quads.reshape(-1))


def prism(outline: ArrayLike, height: float) -> Mesh:
    """A star-shaped outline (N, 2), counter-clockwise about the origin, extruded to height along z about
    0."""
    o = np.asarray(outline, np.float64)
    n, h = len(o), height / 2
    span = np.ptp(o, axis=0).max() + 1e-9
    caps = []
    for sign in (-1.0, 1.0):
        points = np.vstack([np.column_stack([o, np.full(n, sign * h)]), [[0, 0, sign * h]]])
        i = np.arange(n)
        pairs = [np.full(n, n), i, (i + 1) % n] if sign > 0 else [np.full(n, n), (i + 1) % n, i]
        uvs = (points[:, :2] / span) + 0.5
        normals = np.tile([0.0, 0.0, sign], (n + 1, 1))
        caps.append(Mesh(points, normals, uvs, np.stack(pairs, axis=-1).reshape(-1)))
    ends = np.roll(o, -1, axis=0)
    quads = np.stack([o, ends, ends, o], axis=1)
    z = np.tile([-h, -h, h, h], (n, 1))[..., None]
    side = ends - o
    out = np.column_stack([side[:, 1], -side[:, 0], np.zeros(n)])
    out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-12
    uvs = np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64), (n, 1))
    indices = (np.arange(n)[:, None] * 4 + np.array([0, 1, 2, 0, 2, 3])).reshape(-1)
    wall = Mesh(np.concatenate([quads, z], axis=-1).reshape(-1, 3), np.repeat(out, 4, axis=0), uvs, indices)
    return merge(*caps, wall)

"""Draws a settled scene with pybullet's software rasteriser: one client, textures from memory, any instant.

Neighbouring instants are drawn with different sub-pixel shifts, so that the two or more exposures a frame is
averaged from also smooth its edges.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes import look
from edgefoley.train.scenes.bodies.camera import Camera
from edgefoley.train.scenes.bodies.script import Actor
from edgefoley.train.scenes.bodies.stuff import Rng
from edgefoley.train.scenes.bodies.tracks import sample
from edgefoley.train.scenes.bodies.world import engine, lent

_MARGIN = 1.7  # how much larger than the picture the backdrop is


class Picture:
    """The drawing side of a stage. Holds an engine client until close()."""

    def __init__(self, rng: Rng, actors: list[Actor], camera: Camera, size: int) -> None:
        self._p = engine()
        self._camera, self._size, self._actors = camera, size, actors
        self._c = self._p.connect(self._p.DIRECT)
        self._uids = [self._body(actor) for actor in actors]
        with tempfile.TemporaryDirectory(prefix="edgefoley-") as folder:
            self._paint(rng, Path(folder))
        self._moving = [i for i, actor in enumerate(actors) if actor.poses.ndim > 1]
        wide = int(np.ceil(size * _MARGIN))
        self._backdrop = look.backdrop(rng, wide)
        self._light(rng)
        self._soft = float(rng.uniform(0.25, 0.8))
        self._heading = camera.heading(0.0)

    def _body(self, actor: Actor) -> int:
        p, mesh = self._p, actor.mesh
        shape = p.createVisualShape(
            p.GEOM_MESH,
            vertices=lent("vertices", mesh.vertices),
            indices=lent("indices", mesh.indices),
            uvs=lent("uvs", mesh.uvs),
            normals=lent("normals", mesh.normals),
            rgbaColor=[1, 1, 1, 1],
            physicsClientId=self._c,
        )
        pose = sample(actor.poses, 0.0)
        return int(p.createMultiBody(0, -1, shape, pose[:3], pose[3:], physicsClientId=self._c))

    def _paint(self, rng: Rng, folder: Path) -> None:
        """One texture per material and role; large still bodies get a finer one."""
        p, known = self._p, dict[tuple[str, str, int], int]()
        for number, (uid, actor) in enumerate(zip(self._uids, self._actors, strict=True)):
            size = 256 if actor.poses.ndim == 1 and actor.mesh.half.max() > 1.0 else 64
            own = number if actor.role and rng.random() < 0.5 else -1
            key = (actor.material, actor.role, own)
            if key not in known:
                image = look.surface(rng, actor.material, size)
                path = folder / f"{number}.png"
                cv2.imwrite(
                    str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
                )
                known[key] = p.loadTexture(str(path), physicsClientId=self._c)
            p.changeVisualShape(uid, -1, textureUniqueId=known[key], physicsClientId=self._c)

    def _light(self, rng: Rng) -> None:
        azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 2.0)
        warm, ambient = rng.normal(0, 0.06), float(rng.uniform(0.3, 0.65))
        self._lamp: dict[str, Any] = {
            "lightDirection": [float(np.cos(azimuth)), float(np.sin(azimuth)), float(height)],
            "lightColor": np.clip([1 + warm, 1.0, 1 - warm], 0.6, 1.2).tolist(),
            "lightDistance": 6.0,
            "shadow": int(rng.random() < 0.3),
            "lightAmbientCoeff": ambient,
            "lightDiffuseCoeff": float(rng.uniform(0.8, 1.1)) - ambient,
            "lightSpecularCoeff": float(rng.uniform(0.0, 0.3)),
        }

    def shoot(self, t: float) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The picture (size, size, 3) uint8 RGB at time t, and which actor each pixel shows (size, size),
        -1 for the backdrop."""
        p, n = self._p, self._size
        for i in self._moving:
            pose = sample(self._actors[i].poses, t).tolist()
            p.resetBasePositionAndOrientation(self._uids[i], pose[:3], pose[3:], physicsClientId=self._c)
        code = struct.unpack("<Q", struct.pack("<d", t))[0] * 0x9E3779B97F4A7C15 >> 32
        jitter = ((code & 0xFF) / 255 - 0.5, ((code >> 8) & 0xFF) / 255 - 0.5)
        view = self._camera.view(t)
        projection = self._camera.projection((0.7 * jitter[0] / n, 0.7 * jitter[1] / n))
        image = p.getCameraImage(
            n,
            n,
            view.T.reshape(-1).tolist(),
            projection.T.reshape(-1).tolist(),
            renderer=p.ER_TINY_RENDERER,
            physicsClientId=self._c,
            **self._lamp,
        )
        owner = np.asarray(image[4]).reshape(n, n)
        out = np.asarray(image[2]).reshape(n, n, 4)[..., :3]
        out = np.where((owner < 0)[..., None], self._behind(t), out).astype(np.uint8)
        return np.asarray(cv2.GaussianBlur(out, (3, 3), self._soft), np.uint8), owner.astype(np.int64)

    def _behind(self, t: float) -> NDArray[np.uint8]:
        """The part of the backdrop that the line of sight meets."""
        azimuth, elevation = self._camera.heading(t)
        pixels = self._size / np.radians(self._camera.fov)
        dx = (np.angle(np.exp(1j * (azimuth - self._heading[0])))) * pixels
        dy = (elevation - self._heading[1]) * pixels
        spare = (len(self._backdrop) - self._size) / 2
        x, y = (float(np.clip(spare + d, 0, 2 * spare - 1)) for d in (-dx, dy))
        shift = np.array([[1, 0, x], [0, 1, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(self._backdrop, shift, (self._size, self._size), flags=flags), np.uint8
        )

    def close(self) -> None:
        """Hand the client back."""
        if self._c >= 0:
            self._p.disconnect(self._c)
            self._c = -1

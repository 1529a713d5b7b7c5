"""Everyday objects by name: a mesh, a solid for the physics, a mass. Sizes from a coin to a wardrobe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from edgefoley.train.scenes.bodies.figures import Mesh, ball, box, cylinder, lathe, merge, prism
from edgefoley.train.scenes.bodies.stuff import STUFF, Rng

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """A body's build: mesh about its origin; solid: "sphere", "cylinder" (along z), "box" or "hull"; mass
    kg."""

    name: str
    material: str
    mesh: Mesh
    solid: str
    mass: float

    @cached_property
    def half(self) -> Array:
        """Half extents (3,) m of the bounding box."""
        return self.mesh.half

    @property
    def size(self) -> float:
        """Source.size: 0 for a 2 cm coin to 1 for a 2 m wardrobe, on a logarithmic scale."""
        return float(np.clip(np.log(2 * self.half.max() / 0.02) / np.log(100), 0, 1))

    def solid_size(self) -> dict[str, Any]:
        """The arguments of the engine's collision shape."""
        h = self.half
        if self.solid == "sphere":
            return {"radius": float(h[2])}
        if self.solid == "cylinder":
            return {"radius": float(h[0]), "height": float(2 * h[2])}
        if self.solid == "box":
            return {"halfExtents": h.tolist()}
        return {"vertices": np.unique(self.mesh.vertices.round(5), axis=0)}


def make(name: str, material: str, mesh: Mesh, solid: str = "hull", fill: float = 1.0) -> Thing:
    """A thing about the middle of its mesh; fill: how much of its bounding box is matter."""
    mesh = mesh.centred()
    volume = float(np.prod(2 * mesh.half)) * {"sphere": 0.52, "cylinder": 0.78}.get(solid, 1.0)
    return Thing(name, material, mesh, solid, max(0.005, volume * fill * STUFF[material].density))


def _ball(rng: Rng, material: str, s: float) -> Thing:
    hollow = material in ("rubber", "plastic") or s > 0.15
    return make("ball", material, ball(s / 2, 16), "sphere", 0.15 if hollow else 1.0)


def _block(rng: Rng, material: str, s: float) -> Thing:
    half = np.array([s, s * rng.uniform(0.4, 1.0), s * rng.uniform(0.25, 1.0)]) / 2
    return make("block", material, box(half), "box", 0.3 if s > 0.25 else 0.9)


def _board(rng: Rng, material: str, s: float) -> Thing:
    half = np.array([s, s * rng.uniform(0.15, 0.5), max(0.006, s * rng.uniform(0.02, 0.07))]) / 2
    return make("board", material, box(half), "box")


def _can(rng: Rng, material: str, s: float) -> Thing:
    return make("can", material, cylinder(s * rng.uniform(0.2, 0.4), s), "cylinder", 0.2)


def _rod(rng: Rng, material: str, s: float) -> Thing:
    return make("rod", material, cylinder(s * rng.uniform(0.025, 0.07), s, 8), "cylinder", 0.9)


def _coin(rng: Rng, material: str, s: float) -> Thing:
    return make("disc", material, cylinder(s / 2, s * rng.uniform(0.06, 0.14), 18), "cylinder")


def _plate(rng: Rng, material: str, s: float) -> Thing:
    r, deep = s / 2, s * rng.uniform(0.08, 0.16)
    profile = [
        [0, 0],
        [0.55 * r, 0],
        [r, deep],
        [0.97 * r, deep * 1.05],
        [0.55 * r, 0.2 * deep],
        [0, 0.2 * deep],
    ]
    return make("plate", material, lathe(profile, 16), "hull", 0.25)


def _bowl(rng: Rng, material: str, s: float) -> Thing:
    r, h = s / 2, s * rng.uniform(0.3, 0.6)
    a = np.linspace(0.2, np.pi / 2, 5)
    out = np.column_stack([r * np.sin(a), h * (1 - np.cos(a))])
    profile = np.concatenate([[[0, out[0, 1]]], out, out[::-1] * [0.92, 1.0], [[0, h * 0.12]]])
    return make("bowl", material, lathe(profile, 14), "hull", 0.2)


def _mug(rng: Rng, material: str, s: float) -> Thing:
    r, h = s * rng.uniform(0.32, 0.45), s
    cup = lathe([[0, 0], [r, 0], [r, h], [0.9 * r, h], [0.88 * r, 0.1 * h], [0, 0.1 * h]], 12)
    bar = [box([0.16 * s, 0.05 * s, 0.05 * s]).moved([r + 0.12 * s, 0, z * h]) for z in (0.25, 0.75)]
    post = box([0.05 * s, 0.05 * s, 0.28 * s]).moved([r + 0.26 * s, 0, 0.5 * h])
    return make("mug", material, merge(cup, *bar, post), "hull", 0.2)


def _bottle(rng: Rng, material: str, s: float) -> Thing:
    r, neck = s * rng.uniform(0.12, 0.2), s * rng.uniform(0.04, 0.07)
    profile = [[0, 0], [r, 0], [r, 0.55 * s], [neck, 0.75 * s], [neck, s], [0, s]]
    return make("bottle", material, lathe(profile, 12), "hull", 0.35)


def _pan(rng: Rng, material: str, s: float) -> Thing:
    r, h = 0.28 * s, 0.1 * s
    dish = lathe([[0, 0], [0.85 * r, 0], [r, h], [0.94 * r, h], [0.8 * r, 0.15 * h], [0, 0.15 * h]], 14)
    grip = box([0.22 * s, 0.025 * s, 0.015 * s]).moved([r + 0.2 * s, 0, 0.9 * h])
    return make("pan", material, merge(dish, grip), "hull", 0.12)


def _book(rng: Rng, material: str, s: float) -> Thing:
    return make("book", material, box(np.array([s, 0.7 * s, s * rng.uniform(0.06, 0.25)]) / 2), "box")


def _pin(rng: Rng, material: str, s: float) -> Thing:
    r = 0.16 * s
    profile = [
        [0, 0],
        [0.6 * r, 0],
        [r, 0.3 * s],
        [0.4 * r, 0.7 * s],
        [0.55 * r, 0.85 * s],
        [0.3 * r, s],
        [0, s],
    ]
    return make("pin", material, lathe(profile, 10), "hull", 0.5)


def _chair(rng: Rng, material: str, s: float) -> Thing:
    w, seat, leg = 0.25 * s, 0.5 * s, 0.025 * s
    legs = [
        box([leg, leg, seat / 2]).moved([x * w * 0.85, y * w * 0.85, seat / 2])
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    back = box([leg, w, 0.24 * s]).moved([-w * 0.9, 0, seat + 0.24 * s])
    return make("chair", material, merge(*legs, box([w, w, leg]).moved([0, 0, seat]), back), "hull", 0.08)


def _stool(rng: Rng, material: str, s: float) -> Thing:
    r = s * rng.uniform(0.3, 0.5)
    top = cylinder(r, 0.08 * s, 12).moved([0, 0, s])
    legs = [
        cylinder(0.04 * s, s, 6).moved([0.7 * r * np.cos(a), 0.7 * r * np.sin(a), s / 2])
        for a in (0, 2.1, 4.2)
    ]
    return make("stool", material, merge(top, *legs), "hull", 0.1)


def _mallet(rng: Rng, material: str, s: float) -> Thing:
    shaft = cylinder(0.03 * s, 0.9 * s, 8).moved([0, 0, -0.45 * s])
    head = (
        box([0.16 * s, 0.06 * s, 0.06 * s])
        if rng.random() < 0.5
        else cylinder(0.08 * s, 0.3 * s, 10).moved([0, 0, 0], Rotation.from_euler("y", 90, degrees=True))
    )
    return make("hammer", material, merge(shaft, head), "hull", 0.15)


def _stone(rng: Rng, material: str, s: float) -> Thing:
    raw = ball(s / 2, 10)
    wave = 1 + 0.18 * np.sin(raw.vertices @ rng.normal(0, 6 / s, (3, 3)) + rng.uniform(0, 6, 3)).mean(axis=1)
    lump = Mesh(raw.vertices * wave[:, None] * [1, rng.uniform(0.6, 1), rng.uniform(0.5, 0.9)], *_rest(raw))
    return make("lump", material, lump, "hull", 0.55)


def _rest(mesh: Mesh) -> tuple[Array, Array, NDArray[np.int64]]:
    return mesh.normals, mesh.uvs, mesh.indices


def _nut(rng: Rng, material: str, s: float) -> Thing:
    a = np.linspace(0, 2 * np.pi, int(rng.integers(3, 8)), endpoint=False)
    outline = np.column_stack([np.cos(a), np.sin(a)]) * s / 2
    return make("prism", material, prism(outline, s * rng.uniform(0.2, 1.2)), "hull", 0.7)


MAKERS: Final = {
    "ball": (_ball, 0.02, 0.4),
    "block": (_block, 0.03, 0.9),
    "board": (_board, 0.15, 2.0),
    "can": (_can, 0.06, 0.9),
    "rod": (_rod, 0.1, 1.5),
    "disc": (_coin, 0.02, 0.3),
    "plate": (_plate, 0.12, 0.35),
    "bowl": (_bowl, 0.1, 0.4),
    "mug": (_mug, 0.07, 0.13),
    "bottle": (_bottle, 0.15, 0.35),
    "pan": (_pan, 0.25, 0.5),
    "book": (_book, 0.12, 0.35),
    "pin": (_pin, 0.1, 0.5),
    "chair": (_chair, 0.7, 1.1),
    "stool": (_stool, 0.3, 0.8),
    "hammer": (_mallet, 0.2, 0.9),
    "lump": (_stone, 0.03, 0.35),
    "prism": (_nut, 0.02, 0.3),
}
_ONLY: Final = {  # what some things are made of, where not of anything
    "mug": ("ceramic", "glass", "metal", "plastic", "wood"),
    "bottle": ("glass", "plastic", "metal"),
    "plate": ("ceramic", "glass", "metal", "plastic", "paper", "wood"),
    "pan": ("metal",),
    "book": ("paper",),
    "chair": ("wood", "metal", "plastic"),
    "stool": ("wood", "metal", "plastic"),
    "lump": ("stone", "earth", "rubber", "flesh", "snow", "ice", "concrete", "cloth"),
}


def thing(rng: Rng, material: str, names: tuple[str, ...] = (), scale: float | None = None) -> Thing:
    """A random object of a material; names: which it may be (all if empty); scale: its length in metres
    (within what such a thing can have). Names the material cannot be made into are passed over where others
    remain."""
    wanted = names or tuple(MAKERS)
    fitting = [n for n in wanted if material in _ONLY.get(n, (material,))] or list(wanted)
    maker, low, high = MAKERS[fitting[int(rng.integers(len(fitting)))]]
    drawn = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return maker(rng, material, drawn if scale is None else float(np.clip(scale, low, high)))

"""Drawing for the 2-D scenes: sprites, an anti-aliased RGB canvas under an affine camera, and shots.

OpenCV is a development dependency: only training imports this file.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.look import Image, backdrop, texture
from edgefoley.train.scenes.motion import Rng, Wobble, pick

Affine = NDArray[np.float64]  # (2, 3)
Point = NDArray[np.float64]  # (2,)
SHIFT = 4  # fixed-point bits of OpenCV's sub-pixel coordinates


def affine(
    x: float = 0.0, y: float = 0.0, sx: float = 1.0, sy: float | None = None, angle: float = 0.0
) -> Affine:
    """Scale, then rotate by `angle` radians, then move to (x, y)."""
    sy = sx if sy is None else sy
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c * sx, -s * sy, x], [s * sx, c * sy, y]])


def chain(outer: Affine, inner: Affine) -> Affine:
    """outer after inner."""
    out: Affine = outer[:, :2] @ inner
    out[:, 2] += outer[:, 2]
    return out


def point(x: float, y: float) -> Point:
    """A position (2,)."""
    return np.array([x, y], np.float64)


def direction(angle: float) -> Point:
    """Unit vector; angle 0 points right, positive turns down."""
    return np.array([math.cos(angle), math.sin(angle)])


def rgb(colour: NDArray[np.generic], gain: float = 1.0) -> tuple[int, int, int]:
    """A colour (3,) as OpenCV wants it, brighter by `gain`."""
    r, g, b = (min(255, int(gain * float(c))) for c in colour)
    return r, g, b


def _outline(rng: Rng, shape: str, half: float) -> NDArray[np.float64]:
    """Corners (N, 2) of a shape around 0."""
    n = {"disc": 40, "polygon": int(rng.integers(3, 8)), "blob": 24}[shape]
    angles = np.linspace(0, 2 * math.pi, n, False)
    if shape == "polygon":
        angles = np.sort(rng.uniform(0, 2 * math.pi, n))
    radius = half * np.ones(n)
    if shape == "blob":
        waves = [rng.uniform(-0.5, 0.5) * np.sin(k * angles + rng.uniform(0, 6)) for k in (2, 3, 5)]
        radius *= 0.8 + 0.2 * np.sum(waves, axis=0)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)


class Sprite:
    """A textured shape (disc, box, polygon, blob, soft, any) over the local square -1..1, drawn with alpha
    through an affine. skin: its surface (size, size, 3), None draws one."""

    def __init__(self, rng: Rng, shape: str = "any", size: int = 48, skin: Image | None = None) -> None:
        if shape == "any":
            shape = pick(rng, "disc", "box", "polygon", "blob")
        mask = np.zeros((size, size), np.uint8)
        if shape == "soft":
            ramp = np.linspace(-1, 1, size, dtype=np.float32)
            r2 = ramp[:, None] ** 2 + ramp[None, :] ** 2
            mask = (255 * np.clip(1 - r2, 0, 1) ** 1.5).astype(np.uint8)
        elif shape == "box":
            mask[2:-2, 2:-2] = 255
        else:
            corners = size / 2 + _outline(rng, shape, size / 2 - 1.5)
            cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, SHIFT)
        self._setup(texture(rng, size) if skin is None else skin, mask)

    def _setup(self, image: Image, mask: Image) -> None:
        alpha = np.repeat(mask[..., None], 3, 2)
        self.inverse = (255 - alpha).astype(np.uint8)
        self.premultiplied = (image.astype(np.uint16) * alpha // 255).astype(np.uint8)
        self.to_unit = affine(-1.0, -1.0, 2.0 / (image.shape[0] - 1))

    @staticmethod
    def glow(rng: Rng, colour: NDArray[np.generic] | tuple[int, int, int]) -> Sprite:
        """A soft spot of one colour."""
        return Sprite(rng, "soft", 32, np.full((32, 32, 3), colour, np.uint8))


_TURN = np.linspace(0, 2 * math.pi, 18, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


class Canvas:
    """An RGB image (size, size, 3) and the affine from world to pixels; calls take world coordinates."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.image: Image = np.zeros((size, size, 3), np.uint8)
        self.view: Affine = affine()

    def begin(self, background: Image, cover: float, view: Affine) -> None:
        """Start a picture: `background` spans -cover..cover of the world."""
        self.view = view
        half = (background.shape[0] - 1) / 2
        matrix = chain(view, affine(-cover, -cover, cover / half))
        size = (self.size, self.size)
        self.image = np.asarray(
            cv2.warpAffine(background, matrix, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8
        )

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """World points (..., 2) to fixed-point pixels."""
        out = points @ self.view[:, :2].T + self.view[:, 2]
        return np.round(np.clip(out, -2000, 2000) * (1 << SHIFT)).astype(np.int32)

    def scale(self) -> float:
        """Pixels per world unit, about."""
        return math.sqrt(abs(float(np.linalg.det(self.view[:, :2]))))

    def poly(self, points: NDArray[np.float64], colour: NDArray[np.generic], gain: float = 1.0) -> None:
        """A filled polygon (N, 2)."""
        cv2.fillPoly(self.image, [self.pixels(points)], rgb(colour, gain), cv2.LINE_AA, SHIFT)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: NDArray[np.generic]) -> None:
        """A filled rectangle between two corners."""
        self.poly(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour)

    def bar(self, a: Point, b: Point, width: float, colour: NDArray[np.generic], taper: float = 1.0) -> None:
        """A thick line from a to b, `width` world units at a and width * taper at b."""
        d = b - a
        n = np.array([-d[1], d[0]]) * (0.5 * width / (math.hypot(d[0], d[1]) + 1e-9))
        self.poly(np.stack([a + n, b + taper * n, b - taper * n, a - n]), colour)

    def disc(self, centre: Point, rx: float, ry: float, colour: NDArray[np.generic]) -> None:
        """A filled ellipse."""
        self.poly(centre + _CIRCLE * (rx, ry), colour)

    def streaks(
        self, a: NDArray[np.float64], b: NDArray[np.float64], width: float, colour: NDArray[np.generic]
    ) -> None:
        """Lines with round ends from a (N, 2) to b (N, 2), all of one width and colour; a == b is a dot."""
        if len(a):
            lines = self.pixels(np.stack([a, b], 1))
            thick = max(1, round(width * self.scale()))
            cv2.polylines(self.image, list(lines), False, rgb(colour), thick, cv2.LINE_AA, SHIFT)

    def line(self, points: NDArray[np.float64], width: float, colour: NDArray[np.generic]) -> None:
        """An open line through points (N, 2)."""
        thick = max(1, round(width * self.scale()))
        cv2.polylines(self.image, [self.pixels(points)], False, rgb(colour), thick, cv2.LINE_AA, SHIFT)

    def sprite(self, sprite: Sprite, place: Affine, alpha: float = 1.0) -> None:
        """Blend a sprite whose square -1..1 is placed by `place`; `alpha` 0..1 fades it."""
        matrix = chain(self.view, place)
        corners = _CORNERS @ matrix[:, :2].T + matrix[:, 2]
        x0, y0 = (max(0, math.floor(v) - 1) for v in np.minimum(corners.min(0), self.size + 2))
        x1, y1 = (min(self.size, math.ceil(v) + 2) for v in np.maximum(corners.max(0), -2))
        if x0 >= x1 or y0 >= y1:
            return
        matrix = chain(matrix, sprite.to_unit)  # only the part of the picture that it can touch is warped
        matrix[:, 2] -= (x0, y0)
        size = (x1 - x0, y1 - y0)
        inverse = cv2.warpAffine(sprite.inverse, matrix, size, borderValue=(255, 255, 255))
        colour = cv2.warpAffine(sprite.premultiplied, matrix, size)
        if alpha < 1.0:
            colour = cv2.convertScaleAbs(colour, alpha=alpha)
            inverse = cv2.convertScaleAbs(inverse, alpha=alpha, beta=255 * (1 - alpha))
        part = self.image[y0:y1, x0:x1]
        part[:] = cv2.add(cv2.multiply(part, inverse, scale=1 / 255), colour)


class Shot:
    """A background and a camera between two cuts: placement of the action, shake, slow pan and zoom.

    `camera` maps the world (-1..1 is the undisturbed view) to itself, `place` the action's units into the
    world. wide: the action fills the picture; upright: it stands on the ground and is hardly turned.
    """

    def __init__(self, rng: Rng, wide: bool = False, upright: bool = False) -> None:
        self.background = backdrop(rng, 192)
        self.cover = float(rng.uniform(1.3, 2.2))
        self.scale, self.place = 1.0, affine()
        self.aim(rng, wide, upright)
        mode = pick(rng, "static", "static", "hand", "hand", "shaky", "pan")
        shake = {"static": 0.0, "hand": 0.02, "shaky": 0.05, "pan": 0.015}[mode]
        self.shake = [Wobble.random(rng, shake, 0.3, 6.0) for _ in range(2)]
        self.roll = Wobble.random(rng, 0.3 * shake, 0.3, 3.0)
        self.pan = rng.normal(0, 0.12, 2) * (mode == "pan")
        self.zoom = float(rng.normal(0, 0.04)) * (rng.random() < 0.3)
        # how much the camera itself feels a strong event
        self.jolt = float(rng.uniform(0, 0.04)) * (rng.random() < 0.25)
        self.jolt_angle = float(rng.uniform(0, 2 * math.pi))

    def aim(self, rng: Rng, wide: bool, upright: bool) -> None:
        """Place the action anew."""
        scale = math.exp(rng.uniform(math.log(0.35), math.log(1.5)))
        squash = float(rng.uniform(0.6, 1.0))
        flip = -1.0 if rng.random() < 0.5 else 1.0
        turn = float(rng.normal(0, 0.15)) if rng.random() < 0.8 else float(rng.uniform(-1.6, 1.6))
        x, y = rng.uniform(-0.45, 0.45, 2)
        if wide:
            scale, squash, turn, x, y = 0.85 + 0.3 * scale, 1.0, 0.02 * turn, 0.3 * x, 0.3 * y
        elif upright:
            squash, turn = 0.8 + 0.2 * squash, float(np.clip(0.4 * turn, -0.15, 0.15))
        self.scale = scale
        self.place = chain(affine(x, y, squash, 1.0), affine(0, 0, flip * scale, scale, turn))

    def camera(self, t: float, jolt: float) -> Affine:
        """World to world as seen at time t; `jolt` is the newest event's kick, about -1..1."""
        kick = self.jolt * jolt
        x = self.shake[0].at(t) + self.pan[0] * t + kick * math.cos(self.jolt_angle)
        y = self.shake[1].at(t) + self.pan[1] * t + kick * math.sin(self.jolt_angle)
        return affine(x, y, math.exp(self.zoom * t), angle=self.roll.at(t))

"""Drawing for the rendered scenes: textures, an anti-aliased canvas under an affine camera, and a cheap
video camera.

OpenCV is a development dependency: only training imports this file.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.motion import Rng, Wobble, pick

Image = NDArray[np.uint8]
Affine = NDArray[np.float64]  # (2, 3)
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


def noise_image(rng: Rng, size: int) -> NDArray[np.float32]:
    """Multi-octave noise of about -1..1, (size, size)."""
    out = np.zeros((size, size), np.float32)
    fall = rng.uniform(0.35, 0.9)
    for octave in range(int(rng.integers(2, 7))):
        cells = min(size, 2 << octave)
        shape = (cells, max(2, int(cells * rng.uniform(0.4, 1.0))))
        grid = rng.uniform(-1, 1, shape).astype(np.float32)
        out += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(fall**octave)
    return (out / (np.abs(out).max() + 1e-6)).astype(np.float32)


def texture(rng: Rng, size: int) -> Image:
    """A random surface (size, size): noise, gradient, stripes, polygons or clutter, with random level and
    contrast.
    """
    level, contrast = rng.uniform(15, 240), math.exp(rng.uniform(math.log(3), math.log(110)))
    kind = pick(rng, "noise", "noise", "gradient", "stripes", "polygons", "clutter", "flat")
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    if kind == "noise":
        values = noise_image(rng, size)
    elif kind == "gradient":
        values = (
            np.float32(rng.uniform(-1, 1)) * ramp[:, None] + np.float32(rng.uniform(-1, 1)) * ramp[None, :]
        )
    elif kind == "stripes":
        angle, rate = rng.uniform(0, math.pi), rng.uniform(3, 40)
        wave = np.sin(
            rate * (math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None]) + rng.uniform(0, 6)
        )
        values = np.sign(wave).astype(np.float32) if rng.random() < 0.5 else wave.astype(np.float32)
    elif kind == "flat":
        values = 0.1 * noise_image(rng, size)
    else:
        values = _clutter(rng, size, words=kind == "clutter")
    if rng.random() < 0.5:
        values = values + np.float32(rng.uniform(0.1, 0.6)) * noise_image(rng, size)
    return np.clip(level + contrast * values, 0, 255).astype(np.uint8)


def _clutter(rng: Rng, size: int, words: bool) -> NDArray[np.float32]:
    img = np.full((size, size), 128, np.uint8)
    for _ in range(int(rng.integers(3, 25))):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), math.exp(rng.uniform(1.0, math.log(size / 2)))
        shade = int(rng.integers(0, 256))
        what = int(rng.integers(4))
        if words and what == 0:
            text = "".join(chr(c) for c in rng.integers(48, 122, int(rng.integers(2, 10))))
            cv2.putText(
                img,
                text,
                (int(x) - 20, int(y)),
                cv2.FONT_HERSHEY_SIMPLEX,
                float(rng.uniform(0.2, 1.0)),
                shade,
                int(rng.integers(1, 3)),
                cv2.LINE_AA,
            )
        elif what == 1:
            cv2.line(
                img,
                (int(x), int(y)),
                (int(x + rng.normal(0, r)), int(y + rng.normal(0, r))),
                shade,
                int(rng.integers(1, 6)),
                cv2.LINE_AA,
            )
        elif what == 2:
            cv2.rectangle(
                img,
                (int(x - r), int(y - r * rng.random())),
                (int(x + r), int(y + r * rng.random())),
                shade,
                -1,
            )
        else:
            pts = np.stack([x + rng.normal(0, r, 5), y + rng.normal(0, r, 5)], 1)
            cv2.fillPoly(img, [pts.astype(np.int32)], shade, cv2.LINE_AA)
    return np.asarray((img.astype(np.float32) - 128) / 128, np.float32)


class Sprite:
    """A textured shape over the local square -1..1, drawn with alpha through an affine."""

    def __init__(self, rng: Rng, shape: str = "any", size: int = 48) -> None:
        if shape == "any":
            shape = pick(rng, "disc", "box", "polygon", "blob")
        mask = np.zeros((size, size), np.uint8)
        half = size / 2 - 1.5
        if shape == "soft":
            ramp = np.linspace(-1, 1, size, dtype=np.float32)
            r2 = ramp[:, None] ** 2 + ramp[None, :] ** 2
            mask = (255 * np.clip(1 - r2, 0, 1) ** 1.5).astype(np.uint8)
        elif shape == "box":
            mask[2:-2, 2:-2] = 255
        else:
            n = {"disc": 40, "polygon": int(rng.integers(3, 8)), "blob": 24}[shape]
            angles = (
                np.sort(rng.uniform(0, 2 * math.pi, n))
                if shape == "polygon"
                else np.linspace(0, 2 * math.pi, n, False)
            )
            radius = half * np.ones(n)
            if shape == "blob":
                radius *= 0.8 + 0.2 * sum(
                    rng.uniform(-0.5, 0.5) * np.sin(k * angles + rng.uniform(0, 6)) for k in (2, 3, 5)
                )
            pts = np.stack([size / 2 + radius * np.cos(angles), size / 2 + radius * np.sin(angles)], 1)
            cv2.fillPoly(mask, [np.round(pts * 16).astype(np.int32)], 255, cv2.LINE_AA, SHIFT)
        self._setup(texture(rng, size), mask)

    def _setup(self, image: Image, mask: Image) -> None:
        self.size = image.shape[0]
        self.inverse = (255 - mask).astype(np.uint8)
        self.premultiplied = (image.astype(np.uint16) * mask // 255).astype(np.uint8)
        half = (self.size - 1) / 2
        self.to_unit = affine(-1.0, -1.0, 1.0 / half)

    @staticmethod
    def glow(rng: Rng, shade: float) -> Sprite:
        """A soft spot of one shade."""
        out = Sprite(rng, "soft", 32)
        out._setup(np.full((32, 32), shade, np.uint8), (255 - out.inverse).astype(np.uint8))
        return out


class Canvas:
    """A gray image (size, size) and the affine from world to pixels; every draw call takes world
    coordinates.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.image: Image = np.zeros((size, size), np.uint8)
        self.view: Affine = affine()

    def begin(self, background: Image, cover: float, view: Affine) -> None:
        """Start a picture: `background` spans -cover..cover of the world."""
        self.view = view
        half = (background.shape[0] - 1) / 2
        matrix = chain(view, affine(-cover, -cover, cover / half))
        self.image = np.asarray(
            cv2.warpAffine(background, matrix, (self.size, self.size), borderMode=cv2.BORDER_REFLECT_101),
            np.uint8,
        )

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """World points (N, 2) to fixed-point pixels."""
        out = points @ self.view[:, :2].T + self.view[:, 2]
        return np.round(np.clip(out, -2000, 2000) * (1 << SHIFT)).astype(np.int32)

    def poly(self, points: NDArray[np.float64], shade: float) -> None:
        """A filled polygon (N, 2)."""
        cv2.fillPoly(self.image, [self.pixels(points)], int(shade), cv2.LINE_AA, SHIFT)

    def bar(
        self, a: NDArray[np.float64], b: NDArray[np.float64], width: float, shade: float, taper: float = 1.0
    ) -> None:
        """A thick line from a to b, `width` world units at a and width * taper at b."""
        d = b - a
        n = np.array([-d[1], d[0]]) * (0.5 * width / (math.hypot(d[0], d[1]) + 1e-9))
        self.poly(np.stack([a + n, b + taper * n, b - taper * n, a - n]), shade)

    def disc(self, centre: NDArray[np.float64], rx: float, ry: float, shade: float) -> None:
        """A filled ellipse."""
        self.poly(centre + _CIRCLE * (rx, ry), shade)

    def sprite(self, sprite: Sprite, place: Affine, alpha: float = 1.0) -> None:
        """Blend a sprite whose square -1..1 is placed by `place`; `alpha` 0..1 fades it."""
        matrix = chain(self.view, chain(place, sprite.to_unit))
        size = (self.size, self.size)
        inverse = cv2.warpAffine(sprite.inverse, matrix, size, borderValue=255)
        colour = cv2.warpAffine(sprite.premultiplied, matrix, size)
        if alpha < 1.0:
            colour = cv2.convertScaleAbs(colour, alpha=alpha)
            inverse = cv2.convertScaleAbs(inverse, alpha=alpha, beta=255 * (1 - alpha))
        self.image = np.asarray(cv2.add(cv2.multiply(self.image, inverse, scale=1 / 255), colour), np.uint8)


_TURN = np.linspace(0, 2 * math.pi, 18, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


class Shot:
    """A background and a camera between two cuts: placement of the action, shake, slow pan and zoom."""

    def __init__(self, rng: Rng, size: int, calm: bool = False) -> None:
        self.background = texture(rng, 192)
        if rng.random() < 0.6:
            layer = texture(rng, 192)
            keep = noise_image(rng, 192) > rng.uniform(-0.3, 0.3)
            self.background = np.where(keep, self.background, layer).astype(np.uint8)
        self.cover = float(rng.uniform(1.3, 2.5))
        scale = math.exp(rng.uniform(math.log(0.35), math.log(1.7)))
        squash = float(rng.uniform(0.55, 1.0))
        flip = -1.0 if rng.random() < 0.5 else 1.0
        turn = float(rng.normal(0, 0.15)) if rng.random() < 0.8 else float(rng.uniform(-1.6, 1.6))
        x, y = rng.uniform(-0.45, 0.45, 2)
        self.place = chain(affine(x, y, squash, 1.0), affine(0, 0, flip * scale, scale, turn))
        self.to_pixels = affine((size - 1) / 2, (size - 1) / 2, size / 2)
        mode = pick(rng, "static", "static", "hand", "hand", "shaky", "pan")
        shake = {"static": 0.0, "hand": 0.02, "shaky": 0.05, "pan": 0.015}[mode] * (0.5 if calm else 1.0)
        self.shake = [Wobble.random(rng, shake, 0.3, 6.0) for _ in range(2)] + [
            Wobble.random(rng, 0.3 * shake, 0.3, 3.0)
        ]
        self.pan = rng.normal(0, 0.12, 2) * (mode == "pan")
        self.zoom = float(rng.normal(0, 0.04)) * (rng.random() < 0.3)
        self.jolt = float(rng.uniform(0, 0.04)) * (
            rng.random() < 0.25
        )  # how much the camera itself feels a strong event
        self.jolt_angle = float(rng.uniform(0, 2 * math.pi))

    def camera(self, t: float, jolt: float) -> Affine:
        """World to pixels for the background at time t; `jolt` is the newest event's kick, about -1..1."""
        kick = self.jolt * jolt
        x = self.shake[0].at(t) + self.pan[0] * t + kick * math.cos(self.jolt_angle)
        y = self.shake[1].at(t) + self.pan[1] * t + kick * math.sin(self.jolt_angle)
        return chain(self.to_pixels, affine(x, y, math.exp(self.zoom * t), angle=self.shake[2].at(t)))


class Sensor:
    """What a camera and a codec do to a picture: gain, flicker, gamma, blur, noise, coding, letterbox."""

    def __init__(self, rng: Rng, size: int) -> None:
        self._rng = rng
        low, high = rng.uniform(0, 40), rng.uniform(160, 255)
        gamma = math.exp(rng.normal(0, 0.25))
        self.curve = np.clip(low + (high - low) * (np.arange(256) / 255.0) ** gamma, 0, 255).astype(
            np.float32
        )
        self.flicker = Wobble.random(rng, 0.03 * (rng.random() < 0.25), 1.0, 30.0)
        self.exposure = float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.35)
        self._mean: float | None = None
        self._reference = 0.0
        self.blur = float(rng.uniform(0.4, 1.4)) if rng.random() < 0.35 else 0.0
        sigma = float(rng.exponential(2.0)) if rng.random() < 0.6 else 0.0
        self.noise = rng.normal(0, sigma, (2, size + 32, size + 32)).astype(np.int16) if sigma > 0.4 else None
        self.quality = int(rng.uniform(12, 95)) if rng.random() < 0.65 else 0
        self.group = int(rng.integers(8, 60))
        self.bars = (0, 0)
        if rng.random() < 0.15:
            self.bars = (int(rng.uniform(4, 16)), 0) if rng.random() < 0.6 else (0, int(rng.uniform(4, 20)))

    def develop(self, image: Image, index: int, t: float) -> Image:
        """One exposed picture (size, size) as the decoder would give it."""
        gain = 1.0 + self.flicker.at(t)
        if self.exposure:
            mean = float(image.mean()) + 8.0
            if self._mean is None:
                self._mean = self._reference = mean
            self._mean += 0.12 * (mean - self._mean)  # slow auto-exposure
            gain *= (self._reference / self._mean) ** self.exposure
        image = np.asarray(cv2.LUT(image, np.clip(self.curve * gain, 0, 255).astype(np.uint8)), np.uint8)
        if self.blur:
            image = np.asarray(cv2.GaussianBlur(image, (5, 5), self.blur), np.uint8)
        if self.noise is not None:
            a, b, c = self._rng.integers(0, 32, 3)
            size = image.shape[0]
            image = np.asarray(
                cv2.add(image, self.noise[c & 1, a : a + size, b : b + size], dtype=cv2.CV_8U), np.uint8
            )
        if self.bars[0]:
            image[: self.bars[0]] = image[-self.bars[0] :] = 0
        if self.bars[1]:
            image[:, : self.bars[1]] = image[:, -self.bars[1] :] = 0
        if self.quality:
            quality = min(
                97, self.quality + 15 * (index % self.group == 0)
            )  # key frames are sharper than the rest
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
        return image

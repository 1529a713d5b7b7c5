"""A cheap video camera: what a sensor and a codec do to the pictures of a rendered scene.

Left out: lens distortion, and the slant of a rolling shutter (its delay is part of ``film``).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.look import Image
from edgefoley.train.scenes.motion import Rng, Wobble


class Sensor:
    """What a camera and a codec do to pictures (size, size, 3): exposure, contrast, gamma, white balance,
    flicker, vignette, blur, sharpening, noise, ghosting, coding. Pictures are developed in order: exposure
    has a memory, and contrast is set by the first.

    Usual video uses all shades from black to white, is sharpened, and is coded at many times the size that is
    drawn here, so that little of its grain and its blocks is left.
    """

    def __init__(self, rng: Rng, size: int) -> None:
        self._rng = np.random.default_rng(
            int(rng.integers(2**62))
        )  # its own: frames drawn later change nothing
        rng = self._rng
        low, high = rng.uniform(0, 25), rng.uniform(200, 255)
        self._to_stretch = rng.random() < 0.8  # by the first picture
        gamma = math.exp(rng.normal(0, 0.22))
        curve = low + (high - low) * (np.arange(256) / 255.0) ** gamma
        white = np.exp(rng.normal(0, 0.1, 3)) if rng.random() < 0.6 else np.ones(3)
        self._curve = np.clip(curve[:, None] * (white / white.max())[None], 0, 255).astype(np.float32)
        grayness = float(rng.uniform(0.2, 1.0)) if rng.random() < 0.15 else 0.0
        self._mixing = (
            ((1 - grayness) * np.eye(3) + grayness * np.array([0.3, 0.59, 0.11])[None]).astype(np.float32)
            if grayness
            else None
        )
        self._flicker = Wobble.random(rng, 0.03 * (rng.random() < 0.25), 1.0, 30.0)
        self._light = Wobble.random(
            rng, 0.2 * (rng.random() < 0.1), 0.1, 0.5
        )  # clouds, a lamp that is turned
        self._exposure = float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.35)
        self._mean = self._reference = 0.0
        self._blur = float(rng.uniform(0.4, 1.3)) if rng.random() < 0.15 else 0.0
        self._sharp = float(rng.uniform(0.3, 1.5)) if rng.random() < 0.7 else 0.0
        sigma = float(rng.exponential(1.5)) if rng.random() < 0.4 else 0.0
        self._noise = (
            rng.normal(0, sigma, (2, size + 32, size + 32, 3)).astype(np.int16) if sigma > 0.4 else None
        )
        self._ghost = float(rng.uniform(0.1, 0.4)) if rng.random() < 0.06 else 0.0
        self._before: Image | None = None
        self._vignette = _vignette(size, float(rng.uniform(0.15, 0.6))) if rng.random() < 0.2 else None
        self._quality = int(rng.uniform(30, 97)) if rng.random() < 0.5 else 0
        self._group = int(rng.integers(8, 60))

    def develop(self, image: Image, index: int, t: float) -> Image:
        """The picture (size, size, 3) uint8 RGB exposed as frame `index` at t seconds, as it is decoded."""
        if self._to_stretch:
            self._curve, self._to_stretch = _stretched(self._curve, image), False
        gain = (1.0 + self._flicker.at(t)) * math.exp(self._light.at(t))
        if self._exposure:
            mean = float(image.mean()) + 8.0
            if self._mean == 0.0:
                self._mean = self._reference = mean
            self._mean += 0.12 * (mean - self._mean)  # slow auto-exposure
            gain *= (self._reference / self._mean) ** self._exposure
        table = np.clip(self._curve * gain, 0, 255).astype(np.uint8)[None]
        image = np.asarray(cv2.LUT(image, table), np.uint8)
        if self._mixing is not None:
            image = np.asarray(cv2.transform(image, self._mixing), np.uint8)
        if self._vignette is not None:
            image = np.asarray(cv2.multiply(image, self._vignette, scale=1 / 255), np.uint8)
        if self._blur:
            image = np.asarray(cv2.GaussianBlur(image, (5, 5), self._blur), np.uint8)
        if self._sharp:
            soft = cv2.GaussianBlur(image, (3, 3), 0.8)
            image = np.asarray(cv2.addWeighted(image, 1 + self._sharp, soft, -self._sharp, 0), np.uint8)
        if self._ghost and self._before is not None:
            image = np.asarray(
                cv2.addWeighted(image, 1 - self._ghost, self._before, self._ghost, 0), np.uint8
            )
        self._before = image
        if self._noise is not None:
            a, b, c = self._rng.integers(0, 32, 3)
            size = image.shape[0]
            grains = self._noise[c & 1, a : a + size, b : b + size]
            image = np.asarray(cv2.add(image, grains, dtype=cv2.CV_8U), np.uint8)
        return _code(image, self._quality, index % self._group == 0) if self._quality else image


def _stretched(curve: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
    """``curve`` (256, 3) for shades that lie between the darkest and the brightest of ``image``, left and
    right of which a fiftieth of its pixels lie; at most four times steeper."""
    low, high = np.percentile(image[::2, ::2].mean(2), (2, 98))
    reach = max(float(high - low), 64.0)
    whole = np.arange(256)
    shades = (whole - (low + high) / 2) / reach * 255 + 127.5
    return np.stack([np.interp(shades, whole, curve[:, k]) for k in range(3)], 1).astype(np.float32)


def _vignette(size: int, depth: float) -> Image:
    ramp = np.linspace(-1, 1, size)
    shade = 255 * (1 - depth * np.clip(ramp[:, None] ** 2 + ramp[None] ** 2, 0, 2) / 2)
    return np.repeat(shade[..., None], 3, 2).astype(np.uint8)


def _code(image: Image, quality: int, key: bool) -> Image:
    """A JPEG round trip; key frames are sharper than the rest. Red and blue change places on the way in and
    back on the way out, which only swaps their shares of the luma."""
    quality = min(97, quality + 15 * key)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

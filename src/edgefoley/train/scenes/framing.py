"""How a stage is framed: crops, zooms and mirrors that change at cuts, a hand that shakes, letterbox bars.

Both the pictures and the places of contacts go through the same maps.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edgefoley.train.scenes.draw import Affine, affine, chain
from edgefoley.train.scenes.look import Image
from edgefoley.train.scenes.motion import Rng, Wobble, pick

Place = tuple[float, float]


class Bars:
    """A letterbox: the picture is squeezed to leave black bars above and below, or left and right."""

    def __init__(self, rng: Rng) -> None:
        self.x = self.y = 0.0  # each bar's share of the width, of the height
        if rng.random() < 0.1:
            share = float(rng.uniform(0.04, 0.16))
            self.x, self.y = (share, 0.0) if rng.random() < 0.4 else (0.0, share)

    def apply(self, image: Image) -> Image:
        """The picture (size, size, 3) with its bars."""
        if not (self.x or self.y):
            return image
        size = image.shape[0]
        dx, dy = round(self.x * size), round(self.y * size)
        out = np.zeros_like(image)
        inner = cv2.resize(image, (size - 2 * dx, size - 2 * dy), interpolation=cv2.INTER_AREA)
        out[dy : size - dy, dx : size - dx] = inner
        return out

    def place(self, place: Place) -> Place:
        """Where a place of the full picture goes; one outside stays as far outside."""
        x, y = place
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            return place
        return 0.5 + (x - 0.5) * (1 - 2 * self.x), 0.5 + (y - 0.5) * (1 - 2 * self.y)


class Framing:
    """What part of a stage is shown. restless: the stage has no cuts of its own, so they are made here.
    places: what had better stay in the picture."""

    def __init__(self, rng: Rng, seconds: float, restless: bool, places: list[Place]) -> None:
        busy = bool(rng.random() < (0.35 if restless else 0.15))
        cuts = int(rng.integers(1, 4)) if restless and rng.random() < 0.15 else 0
        self._starts = np.array([0.0, *sorted(float(x) for x in rng.uniform(0.3, max(0.4, seconds), cuts))])
        self._views = [
            _view(rng, busy or cuts > 0, bool(rng.random() < 0.5) and restless, places) for _ in self._starts
        ]
        mode = pick(rng, "static", "hand", "hand", "shaky") if busy else "static"
        shake = {"static": 0.0, "hand": 0.01, "shaky": 0.025}[mode]
        self._shake = [Wobble.random(rng, a, 0.3, 6.0) for a in (shake, shake, 0.4 * shake)]
        self._drift = float(rng.normal(0, 0.03)) * (busy and rng.random() < 0.3)  # slow zoom
        self._plain = not busy and cuts == 0 and np.array_equal(self._views[0], affine())

    def _map(self, t: float) -> Affine:
        """From picture to picture, both with the origin in the middle and the width 1."""
        view = self._views[max(0, int(np.searchsorted(self._starts, t, side="right")) - 1)]
        x, y, roll = (wobble.at(t) for wobble in self._shake)
        return chain(affine(x, y, math.exp(self._drift * t), angle=roll), view)

    def apply(self, image: Image, t: float) -> Image:
        """The stage's picture (size, size, 3) at time t as it is framed, without bars."""
        if self._plain:
            return image
        size, centre = image.shape[0], (image.shape[0] - 1) / 2
        matrix = chain(
            affine(centre, centre, size),
            chain(self._map(t), affine(-centre / size, -centre / size, 1 / size)),
        )
        return np.asarray(
            cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101), np.uint8
        )

    def place(self, place: Place, t: float) -> tuple[Place, float]:
        """Where a place of the stage's picture is shown at time t, and how much it is enlarged."""
        if not (0.0 <= place[0] <= 1.0 and 0.0 <= place[1] <= 1.0):
            return place, 1.0
        matrix = self._map(t)
        x, y = matrix[:, :2] @ (np.array(place) - 0.5) + matrix[:, 2] + 0.5
        return (float(x), float(y)), math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def _view(rng: Rng, crop: bool, mirror: bool, places: list[Place]) -> Affine:
    """A crop, drawn again a few times while it loses what is in the picture."""
    inside = np.array([p for p in places if 0 <= p[0] <= 1 and 0 <= p[1] <= 1]).reshape(-1, 2) - 0.5
    for _ in range(5):
        zoom = math.exp(rng.uniform(0.0, math.log(1.7))) if crop else 1.0
        x, y = rng.uniform(-0.4, 0.4, 2) * (zoom - 1)
        view = affine(x, y, -zoom if mirror else zoom, zoom)
        kept = np.abs(inside @ view[:, :2].T + view[:, 2]).max(1, initial=0.0) < 0.48
        if kept.mean() > 0.85 if len(kept) else True:
            break
    return view

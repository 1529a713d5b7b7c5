"""What else is in the picture of a film in which something sounds: another film over or around it, people and
things in front of it, a camera that pans.

Everything that is laid over frames, or moves them, is taken at the instants at which these were exposed
("stamps"), so that a frame that is shown again is the same again.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.restless import Frames, Restless
from edgefoley.train.scenes.motion import Wobble
from edgefoley.train.scenes.pool import SYNC_RATE, Pool

Stamps = NDArray[np.float64]  # (F,) s, rising, equal where a frame is shown again
Places = NDArray[np.float64]  # (E, 2): x, y of events as fractions of the picture

DISTRACTED = 0.25  # share of stretches over which a film without events lies half transparent
DISTANT = 0.25  # share of stretches that fill a small part of such a film's picture
STIRRED = 0.2  # share of the others in front of which people, arms or things move that make no sound
PANNED = 0.25  # share of stretches over which the camera moves


def stamps_of(ages: NDArray[np.float32]) -> Stamps:
    """When the frame at each place of the grid was exposed: ages (S,) s -> (S,) s."""
    stamps: Stamps = np.round(np.arange(len(ages)) / SYNC_RATE - ages, 4)
    return stamps


def mapped(matrix: NDArray[np.float64], places: Places, size: int) -> Places:
    """Where a map of pixels (2, 3) takes ``places``, fractions of a picture of ``size`` pixels."""
    pixels = places * size - 0.5  # a pixel's own coordinates are those of its middle
    return (pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5) / size


def overlaid(rng: np.random.Generator, frames: Frames, other: Frames) -> Frames:
    """``frames`` with ``other``'s, which move or stand still, shining through them: more of a still picture,
    before which all that moves is faint."""
    moving = rng.random() < 0.5
    share = rng.uniform(0.15, 0.45 if moving else 0.65)
    return np.round((1 - share) * frames + share * (other if moving else other[:1])).astype(np.uint8)


def distant(rng: np.random.Generator, frames: Frames, places: Places, other: Frames) -> tuple[Frames, Places]:
    """``frames`` as a soft-edged part of ``other``'s picture, which moves or stands still, and where the
    ``places`` are there."""
    size = frames.shape[1]
    width, height = np.round(size * rng.uniform(0.35, 0.75) * rng.uniform(0.8, 1.0, 2)).astype(int)
    x, y = (int(rng.integers(size - side + 1)) for side in (width, height))
    soft = np.zeros((height, width), np.float32)
    edge = max(1, min(width, height) // 8)
    soft[edge:-edge, edge:-edge] = 1
    soft = cv2.GaussianBlur(soft, (0, 0), edge / 2)
    out = other.copy() if rng.random() < 0.5 else other[:1].repeat(len(frames), 0)
    for picture, frame in zip(out, frames, strict=True):
        part = picture[y : y + height, x : x + width]
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        part[:] = np.round(part + soft * (small.astype(np.float32) - part)).astype(np.uint8)
    return out, (places * [width, height] + [x, y]) / size


def panned(
    rng: np.random.Generator, frames: Frames, stamps: Stamps, times: NDArray[np.float64], places: Places
) -> tuple[Frames, Places]:
    """``frames``, a little enlarged, by a camera that pans and sways, and the ``places`` of events at
    ``times`` (E,) s as they are when they happen."""
    size, zoom = frames.shape[1], rng.uniform(1.05, 1.3)
    reach = size * (zoom - 1) / 2
    sway = [Wobble.random(rng, reach * rng.uniform(0.2, 1.0), 0.15, 3.0) for _ in range(2)]

    def matrix(t: float) -> NDArray[np.float64]:
        x, y = (np.clip(wobble.at(t), -reach, reach) - reach for wobble in sway)
        return np.array([[zoom, 0, x], [0, zoom, y]])

    out = np.empty_like(frames)
    for i, t in enumerate(stamps):
        out[i] = cv2.warpAffine(frames[i], matrix(t), (size, size), borderMode=cv2.BORDER_REFLECT_101)
    moved = [mapped(matrix(t), place, size) for t, place in zip(times, places, strict=True)]
    return out, np.array(moved, np.float64).reshape(-1, 2)


class Among:
    """What else is in the picture of a film. ``pool``: films, of which those without events lie over and
    around others. ``others``: photographs in which things move, of the films' size; None: only films."""

    def __init__(self, pool: Pool, others: Restless | None = None) -> None:
        self.pool, self.others = pool, others
        self.calm = [i for i, film in enumerate(pool.films) if not len(film["times"])]

    def __call__(
        self,
        rng: np.random.Generator,
        frames: Frames,
        stamps: Stamps,
        times: NDArray[np.float64],
        places: Places,
    ) -> tuple[Frames, Places]:
        """The frames, and the places of the events at ``times`` (E,) s, at times together with a film in
        which nothing sounds, behind things that move, or panned."""
        way = rng.random()
        other = self._other(rng, stamps) if way < DISTRACTED + DISTANT else None
        if other is not None and way < DISTRACTED:
            frames = overlaid(rng, frames, other)
        elif other is not None:
            frames, places = distant(rng, frames, places, other)
        if self.others is not None and rng.random() < STIRRED:
            frames = self.others.stir(rng, frames, stamps)
        return panned(rng, frames, stamps, times, places) if rng.random() < PANNED else (frames, places)

    def _other(self, rng: np.random.Generator, stamps: Stamps) -> Frames | None:
        """Frames in which nothing sounds, exposed at ``stamps``; None where there are none."""
        if self.others is not None and (not self.calm or rng.random() < 0.5):
            return self.others.film(rng, stamps)
        if not self.calm:
            return None
        at = np.ceil((stamps - stamps[0]) * SYNC_RATE - 0.01).astype(int)  # where the grid shows it first
        count = int(at[-1]) + 1
        start = self.pool.start(rng, count)
        return self.pool.crop(int(rng.choice(self.calm)), start, count).frames[at]

"""What the sync encoder sees in training: stretches of films, changed in look and frame rate, and twins.

Real pictures move everywhere, and most of it is no event; what sounds is often small and far away, and the
camera is held by hand. So a part of the stretches is seen through another film in which things move and
nothing sounds, a part is a small piece of such a film's picture, in a part people and things move in front,
and a part is panned. Where there are photographs, half of those other films, and a part of the stretches, are
photographs in which things move (``restless``).

A twin is the same stretch seen otherwise: other shades, other place in the picture, mirrored, fewer frames
per second. Features of the same instant must agree between twins and differ between instants
(``agreement``), an objective that needs no labels.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgefoley.train.among import Among, Places, mapped, stamps_of
from edgefoley.train.restless import Restless
from edgefoley.train.scenes.pool import EVENT_RATE, QUIET, Crop, Pool
from edgefoley.train.scenes.truth import ACTIONS

KINDS = (*ACTIONS, QUIET)  # what a film is mainly about, for the head that names it
SPREAD_S = 0.015  # of the Gaussian target around an event
SPREAD = 0.1  # the same in space, in widths of the picture
PLACE = 16  # pixels of a place at which the encoder may tell events apart
RESTLESS = 0.2  # share of stretches without twins that are photographs in which things move, without events
VIVID = 0.5  # share of stretches with the contrast and the sharpness of photographs, whatever was drawn
HELD = 0.75  # share of stretches in which what hardly changes does not change at all, as in coded video
THINNED = 0.35  # share of stretches of films above 20 frames/s that lose every second frame
FAR = 4  # grid frames between instants that must differ
SHARPNESS = 0.1  # temperature of the agreement


def targets(crop: Crop) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(2S,) Gaussian bumps of height 1 at the events, and (2S,) the strength of the nearest event."""
    instants = np.arange(2 * len(crop.ages)) / EVENT_RATE
    if not len(crop.times):
        return np.zeros(len(instants), np.float32), np.zeros(len(instants), np.float32)
    distance = np.abs(instants[:, None] - crop.times[None])
    bumps = np.exp(-0.5 * (distance.min(1) / SPREAD_S) ** 2)
    return bumps.astype(np.float32), crop.strengths[distance.argmin(1)].astype(np.float32)


def spots(times: NDArray[np.float64], places: Places, count: int, side: int) -> NDArray[np.float16]:
    """(2 * count, side, side): how near in time and place each cell of the picture is to an event; events at
    ``times`` (E,) s and ``places`` outside the picture are left out."""
    found = np.zeros((2 * count, side, side), np.float32)
    instants = np.arange(2 * count) / EVENT_RATE
    middles = (np.arange(side) + 0.5) / side
    for t, place in zip(times, places, strict=True):
        if np.any(place < 0) or np.any(place > 1):
            continue
        x, y = (np.exp(-0.5 * ((middles - p) / SPREAD) ** 2) for p in place)
        span = slice(max(0, int(t * EVENT_RATE) - 5), int(t * EVENT_RATE) + 7)
        near = np.exp(-0.5 * ((instants[span] - t) / SPREAD_S) ** 2)
        bump = near[:, None, None] * (y[:, None] * x[None])
        found[span] = np.maximum(found[span], bump)
    return found.astype(np.float16)


def shaded(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Random gamma, gain, offset and inversion of the shades; one choice for the whole stretch."""
    shades = np.arange(256) / 255.0
    shades = shades ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.5, 1.2) + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.1:
        shades = 1 - shades
    return (np.clip(shades, 0, 1) * 255).astype(np.uint8)[frames]


def vivid(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sharper, and with the contrast and level of usual video (a deviation of about 48 of 255)."""
    amount, sigma = rng.uniform(0.0, 2.0), rng.uniform(0.6, 1.2)
    out = np.empty(frames.shape, np.float32)
    for i, frame in enumerate(frames.astype(np.float32)):
        out[i] = frame + amount * (frame - cv2.GaussianBlur(frame, (0, 0), sigma))
    gain = min(4.0, np.exp(rng.normal(np.log(48), 0.35)) / (out[::8].std() + 4.0))
    out = (out - out[::8].mean()) * gain + rng.normal(114, 25)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def held(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks of 4 pixels that changed less than a few shades stay as they were: coders of video skip them."""
    limit, size = rng.uniform(1.5, 7.0), frames.shape[1]
    out = frames.copy()
    for before, now in itertools.pairwise(out):  # ``before`` is what was shown, not what was seen
        change = cv2.absdiff(now, before)
        small = cv2.resize(change, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
        still = cv2.resize((small < limit).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(before, still, now)
    return out


def placed(
    rng: np.random.Generator, frames: NDArray[np.uint8], places: Places
) -> tuple[NDArray[np.uint8], Places]:
    """Mirrored or not, shrunk by up to 45 % per axis between bars or enlarged by 10 %, moved a little: real
    clips are letterboxed, squashed and framed in every way."""
    size = frames.shape[1]
    scale = rng.uniform(0.55, 1.1, 2) if rng.random() < 0.5 else np.full(2, rng.uniform(0.75, 1.1))
    offset = size * (1 - scale) * rng.random(2)
    flip = rng.random() < 0.5
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    if flip:
        matrix[0] = [-scale[0], 0, offset[0] + scale[0] * (size - 1)]
    bar = int(rng.choice([0, 0, 16, 128, 255]))
    whole, out = (size, size), np.empty_like(frames)
    for i, frame in enumerate(frames):
        out[i] = cv2.warpAffine(frame, matrix, whole, borderMode=cv2.BORDER_CONSTANT, borderValue=bar)
    return out, mapped(matrix, places, size)


def augment(
    rng: np.random.Generator, frames: NDArray[np.uint8], places: Places
) -> tuple[NDArray[np.uint8], Places]:
    """Other shades, in half of the cases another place in the picture, at times blur, and noise that differs
    from frame to frame."""
    if rng.random() < 0.5:
        frames, places = placed(rng, frames, places)
    elif rng.random() < 0.5:
        frames, places = frames[:, :, ::-1], np.array([1.0, 0.0]) + places * [-1, 1]
    frames = vivid(rng, frames) if rng.random() < VIVID else shaded(rng, frames)
    if rng.random() < 0.2:  # out of focus, or enlarged from a small picture
        sigma = rng.uniform(0.4, 1.4)
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if rng.random() < 0.25:
        grain = rng.normal(0, rng.uniform(1, 6), (8, *frames.shape[1:])).astype(np.int16)
        noisy = frames.astype(np.int16) + grain[rng.integers(0, 8, len(frames))]
        frames = np.clip(noisy, 0, 255).astype(np.uint8)
    if rng.random() < HELD:
        frames = held(rng, frames)
    return np.ascontiguousarray(frames), places


def only_restless(rng: np.random.Generator, crop: Crop, others: Restless) -> Crop:
    """In place of a stretch a photograph in which things move, seen as often as it. Whether something lasting
    is to be heard there nobody knows (nan)."""
    frames, unknown = others.film(rng, stamps_of(crop.ages)), np.full_like(crop.activity, np.nan)
    return Crop(frames, crop.ages, np.zeros(0), np.zeros(0), np.zeros((0, 2)), unknown, QUIET)


class Batches:
    """Batch `step` is a pure function of (seed, step), so a resumed run sees what it would have seen. The
    last ``twins`` of ``size`` stretches are the first ones seen otherwise. ``others``: see ``Among``."""

    def __init__(
        self, pool: Pool, size: int, frames: int, seed: int, twins: int = 0,
        others: Restless | None = None,
    ) -> None:  # fmt: skip
        if not 0 <= 2 * twins <= size:
            raise ValueError(f"twins must be at most half of {size}, got {twins}")
        self.pool, self.size, self.frames, self.seed, self.twins = pool, size, frames, seed, twins
        self.among = Among(pool, others)

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        cuts = []
        for _ in range(self.size - self.twins):
            speed = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35)))) if rng.random() < 0.6 else 1.0
            film = int(rng.integers(len(self.pool)))
            cuts.append((film, self.pool.start(rng, self.frames, speed), self.frames, speed))
        alone = range(self.twins, len(cuts))  # without a twin that would have to show the same
        rows = [self._row(cut, rng, i in alone) for i, cut in enumerate(cuts + cuts[: self.twins])]
        return {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}

    def _row(
        self, cut: tuple[int, float, int, float], rng: np.random.Generator, alone: bool
    ) -> dict[str, NDArray]:
        stamps = self.pool.films[cut[0]]["timestamps"]
        rate = len(stamps) / self.pool.seconds * cut[3]
        crop = self.pool.crop(*cut, 2 if rate > 20 and rng.random() < THINNED else 1)
        if alone and self.among.others is not None and rng.random() < RESTLESS:
            crop = only_restless(rng, crop, self.among.others)
        bumps, strength = targets(crop)
        frames, places = self.among(rng, crop.frames, stamps_of(crop.ages), crop.times, crop.places)
        frames, places = augment(rng, frames, places)
        return {
            "frames": frames,
            "where": spots(crop.times, places, len(crop.ages), frames.shape[1] // PLACE),
            "ages": crop.ages,
            "bumps": bumps,
            "strength": strength,
            "activity": crop.activity,
            "action": np.array(KINDS.index(crop.action)),
        }


def agreement(one: Tensor, other: Tensor) -> Tensor:
    """Cross-entropy of finding each instant of a stretch in its twin among instants at least ``FAR`` frames
    away, both ways (van den Oord et al. 2018, "InfoNCE", arXiv 1807.03748).

    one, other: (n, S, d) features of twins. Returns a scalar.
    """
    one, other = functional.normalize(one.float(), dim=-1), functional.normalize(other.float(), dim=-1)
    score = one @ other.transpose(1, 2) / SHARPNESS
    place = torch.arange(score.shape[1], device=score.device)
    apart = (place[:, None] - place[None]).abs()
    score = score.masked_fill((apart > 0) & (apart < FAR), -1e4)
    goal = place.expand(len(score), -1)
    both = functional.cross_entropy(score, goal) + functional.cross_entropy(score.transpose(1, 2), goal)
    return 0.5 * both

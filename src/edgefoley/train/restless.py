"""Motion that makes no sound, for films of the sync encoder: people, arms and things cut from photographs
that sway, wave, shift about and turn back smoothly, and parts of the picture that flutter like water, leaves
and fur. Most of what moves in real video is of this kind; a blow differs from it by its suddenness.

What moves is drawn once, as transparent layers over time (``Restless``), and laid over pictures in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.draw import affine, chain
from edgefoley.train.scenes.motion import Rng, Wobble, pick
from edgefoley.train.scenes.photos import Panoramas

Frames = NDArray[np.uint8]
Track = NDArray[np.float64]  # (T,) a value at each of T instants

VIEWS = 384  # pictures of a gallery: half of them wide views, half of them near ones
PATCH = 48  # pixels of a part's texture
LAYERS = 220  # transparent films of things that move
LAYER_RATE, LAYER_FRAMES = 50, 175  # frames/s, and frames of each: enough for 64 at 25/s a third faster
EXPOSED_S = 0.015  # a part is drawn twice so far apart, as a shutter would blur it


def gallery(panoramas: Panoramas, size: int, seed: int = 0) -> Frames:
    """(VIEWS, size, size) gray views of photographs; the same for the same seed."""
    rng = np.random.default_rng([seed, VIEWS])
    views = [panoramas.view(rng, size, narrow=i % 2 == 1) for i in range(VIEWS)]
    return np.stack([np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), np.uint8) for view in views])


def sway(rng: Rng, t: Track, low_hz: float, high_hz: float) -> Track:
    """A sum of three sinusoids of about 1 together, slower ones larger."""
    return Wobble.random(rng, 1.0, low_hz, high_hz).many(t)


def cycle(rng: Rng, t: Track) -> Track:
    """To and fro 0.5 to 5 times a second, as in bowing, wiping and waving: at one speed or slower towards the
    ends, wider and narrower, in two cases of three with rests. Its turns are quick but not abrupt."""
    rate = math.exp(rng.uniform(math.log(0.5), math.log(5.0)))
    turn = np.sin(2 * math.pi * (rate * t + rng.uniform()) + 0.6 * sway(rng, t, 0.2, 0.8))
    round_ends = rng.uniform(0.5, 0.95)  # the arc sine of 1 would turn in no time
    wave: Track = np.arcsin(round_ends * turn) / math.asin(round_ends)
    wave = wave * (1.0 + 0.3 * sway(rng, t, 0.1, 0.7))
    if rng.random() < 2 / 3:
        wave = wave * moves(rng, t).clip(0, 1)
    return wave


def moves(rng: Rng, t: Track) -> Track:
    """From place to place within -1..1 in 0.2 to 0.8 s, with rests of up to 3 s between."""
    knots, values = [float(t[0]) - 1.0], [rng.uniform(-1, 1)]
    while knots[-1] < t[-1] + 1.0:
        rest, way = math.exp(rng.uniform(math.log(0.05), math.log(3.0))), rng.uniform(0.2, 0.8)
        knots += [knots[-1] + rest, knots[-1] + rest + way]
        values += [values[-1], rng.uniform(-1, 1)]
    at = np.searchsorted(knots, t, side="right") - 1
    ends, heights = np.array(knots), np.array(values)
    u = (t - ends[at]) / (ends[at + 1] - ends[at])
    track: Track = heights[at] + (heights[at + 1] - heights[at]) * u**3 * (10 - 15 * u + 6 * u * u)
    return track


def driven(rng: Rng, t: Track) -> Track:
    """One of the three, about -1..1. What lives is still for most of the time, and then moves."""
    way = pick(rng, "sway", "cycle", "moves", "moves")
    if way == "sway":
        return sway(rng, t, 0.15, math.exp(rng.uniform(math.log(0.4), math.log(4.0))))
    return cycle(rng, t) if way == "cycle" else moves(rng, t)


@dataclass(frozen=True)
class Part:
    """A soft-edged piece of texture (PATCH, PATCH) with its middle at x, y, turned by ``angle`` (radians),
    ``wide`` by ``high`` pixels, at every instant."""

    texture: Frames
    mask: NDArray[np.uint8]
    x: Track
    y: Track
    angle: Track
    wide: float
    high: float

    def paint(self, colour: NDArray[np.uint8], cover: NDArray[np.uint8], i: int) -> None:
        """Draw it as it is at instant i over a layer (h, h): its shades, times how far it ``cover``s what is
        behind (255: wholly)."""
        half = (PATCH - 1) / 2
        place = affine(self.x[i], self.y[i], self.wide / PATCH, self.high / PATCH, self.angle[i])
        matrix = chain(place, affine(-half, -half))
        reach = 0.5 * math.hypot(self.wide, self.high) + 2
        size = colour.shape[0]
        left, right = (int(np.clip(self.x[i] + s * reach, 0, size)) for s in (-1, 1))
        top, bottom = (int(np.clip(self.y[i] + s * reach, 0, size)) for s in (-1, 1))
        if right <= left or bottom <= top:
            return
        matrix[:, 2] -= [left, top]
        box = (right - left, bottom - top)
        over = cv2.warpAffine(self.texture, matrix, box, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(self.mask, matrix, box)
        for whole, drawn in ((colour, cv2.multiply(over, mask, scale=1 / 255)), (cover, mask)):
            under = whole[top:bottom, left:right]
            under[:] = cv2.add(cv2.multiply(under, 255 - mask, scale=1 / 255), drawn)


def _texture(rng: Rng, views: Frames) -> Frames:
    view = views[int(rng.integers(len(views)))]
    y, x = rng.integers(0, view.shape[0] - PATCH + 1, 2)
    patch = view[y : y + PATCH, x : x + PATCH].astype(np.float32)
    if rng.random() < 0.4:  # skin and cloth: smoother, and of another shade than what is behind
        patch = cv2.GaussianBlur(patch, (0, 0), rng.uniform(1, 5))
    patch = patch - patch.mean() + rng.uniform(30, 225)
    return np.asarray(patch.clip(0, 255), np.uint8)


def _mask(rng: Rng, lumps: int) -> NDArray[np.uint8]:
    """A round or lumpy shape with a soft edge."""
    mask = np.zeros((PATCH, PATCH), np.uint8)
    for k in range(lumps):
        middle = rng.uniform(0.35, 0.65, 2) * PATCH if lumps > 1 else np.full(2, PATCH / 2)
        radii = rng.uniform(0.15, 0.33, 2) * PATCH if k else rng.uniform(0.3, 0.44, 2) * PATCH
        cv2.ellipse(
            mask, (int(middle[0]), int(middle[1])), (int(radii[0]), int(radii[1])),
            float(rng.uniform(0, 180)), 0, 360, 255, -1,
        )  # fmt: skip
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 2.0)), np.uint8)


def _bar(rng: Rng) -> NDArray[np.uint8]:
    """A long shape with round corners: a limb that fills its patch."""
    mask = np.zeros((PATCH, PATCH), np.uint8)
    mask[4:-4, 2:-2] = 255
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(1.0, 3.0)), np.uint8)


def thing(rng: Rng, t: Track, views: Frames, size: int) -> list[Part]:
    """Something that moves about as a whole."""
    wide, high = size * np.exp(rng.uniform(math.log(0.08), math.log(0.6), 2))
    reach = size * math.exp(rng.uniform(math.log(0.02), math.log(0.25)))
    track = driven(rng, t)
    heading = rng.uniform(0, 2 * math.pi)
    x = rng.uniform(0, size) + reach * (math.cos(heading) * track + 0.3 * sway(rng, t, 0.1, 1.0))
    y = rng.uniform(0, size) + reach * (math.sin(heading) * track + 0.3 * sway(rng, t, 0.1, 1.0))
    angle = rng.uniform(0, 2 * math.pi) + rng.uniform(0, 0.5) * driven(rng, t)
    lumps = int(rng.integers(1, 5))
    return [Part(_texture(rng, views), _mask(rng, lumps), x, y, angle, float(wide), float(high))]


def arm(rng: Rng, t: Track, views: Frames, size: int, joint: tuple[Track, Track] | None = None) -> list[Part]:
    """An upper arm, a forearm and a hand, at a place or on a body's ``joint``."""
    length = size * math.exp(rng.uniform(math.log(0.12), math.log(0.5)))
    thick = length * rng.uniform(0.15, 0.4)
    x, y = joint or (np.full(len(t), v) for v in rng.uniform(-0.1, 1.1, 2) * size)
    shoulder = rng.uniform(0, 2 * math.pi) + rng.uniform(0.05, 0.5) * driven(rng, t)
    elbow = shoulder + rng.uniform(-1.8, 1.8) + rng.uniform(0.05, 0.8) * driven(rng, t)
    sleeve, skin = _texture(rng, views), _texture(rng, views)
    parts = list[Part]()
    for angle, texture in ((shoulder, sleeve), (elbow, sleeve if rng.random() < 0.5 else skin)):
        dx, dy = length * np.cos(angle), length * np.sin(angle)
        parts.append(Part(texture, _bar(rng), x + dx / 2, y + dy / 2, angle, 1.15 * length, thick))
        x, y = x + dx, y + dy
    parts.append(Part(skin, _mask(rng, 2), x, y, elbow, 2.2 * thick, 1.8 * thick))
    return parts


def figure(rng: Rng, t: Track, views: Frames, size: int) -> list[Part]:
    """A body with a head and one or two arms that sways as a whole."""
    tall = size * rng.uniform(0.2, 0.7)
    reach = tall * math.exp(rng.uniform(math.log(0.01), math.log(0.15)))
    x = rng.uniform(0.1, 0.9) * size + reach * driven(rng, t)
    y = rng.uniform(0.3, 1.0) * size + 0.3 * reach * driven(rng, t)
    lean = 0.1 * driven(rng, t)
    top = (x + 0.5 * tall * np.sin(lean), y - 0.5 * tall * np.cos(lean))
    nod = lean + rng.uniform(0, 0.3) * driven(rng, t)
    head = tall * rng.uniform(0.25, 0.5)
    body = Part(_texture(rng, views), _mask(rng, 3), x, y, lean, tall * rng.uniform(0.4, 0.8), 1.2 * tall)
    face = Part(
        _texture(rng, views), _mask(rng, 1), top[0] + 0.5 * head * np.sin(nod), top[1] - 0.4 * head, nod,
        0.8 * head, 1.1 * head,
    )  # fmt: skip
    joint = (top[0], top[1] + 0.2 * tall)
    arms = [arm(rng, t, views, size, joint) for _ in range(int(rng.integers(1, 3)))]
    return [body, face, *(part for limb in arms for part in limb)]


def layer(rng: Rng, views: Frames, count: int, most: int = 3) -> tuple[Frames, Frames]:
    """One to ``most`` people, arms or things over ``count`` frames: their shades times their cover, and their
    cover (count, h, h), as a shutter blurs them."""
    size = views.shape[1]
    t = np.arange(2 * count) // 2 / LAYER_RATE + np.arange(2 * count) % 2 * EXPOSED_S
    parts = list[Part]()
    for _ in range(int(rng.integers(1, most + 1))):
        make = (thing, arm, figure)[int(rng.integers(3))]
        parts += make(rng, t, views, size)
    out = np.zeros((2, 2 * count, size, size), np.uint8)
    for i, (colour, cover) in enumerate(zip(*out, strict=True)):
        for part in parts:
            part.paint(colour, cover, i)
    early, late = out[:, ::2].astype(np.uint16), out[:, 1::2]
    shades, covers = ((early + late) // 2).astype(np.uint8)
    return shades, covers


def flutter(rng: Rng, frames: Frames, stamps: Track) -> Frames:
    """A part of the picture moves in itself, by a few pixels and many ways, as water and leaves do; frames
    (F, h, h) at ``stamps`` (F,) s."""
    size, ways = frames.shape[1], 3
    coarse = int(rng.integers(3, 16))
    raw = rng.normal(0, 1, (2 * ways, coarse, coarse)).astype(np.float32)
    fields = np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_CUBIC) for f in raw])
    middle, radius = rng.uniform(0, size, 2), size * rng.uniform(0.15, 0.8)
    near = np.hypot(*(np.mgrid[:size, :size] - middle[:, None, None])) / radius
    fields *= ((2.0 - 2.0 * near).clip(0, 1) * rng.uniform(0.5, 2.5)).astype(np.float32)
    pace = np.stack([driven(rng, stamps) for _ in range(ways)]).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        dx, dy = (np.tensordot(pace[:, i], fields[k::2], 1) for k in range(2))
        out[i] = cv2.remap(frame, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return out


class Restless:
    """Photographs and layers of things that move, drawn once (a minute, 1 GB); the same for the same seed.

    size: pixels of the pictures. layers: how many films of things there are, of ``count`` frames each.
    """

    def __init__(
        self, panoramas: Panoramas, size: int, layers: int = LAYERS, count: int = LAYER_FRAMES, seed: int = 0
    ) -> None:
        self.views = gallery(panoramas, size, seed)
        self.layers = [layer(np.random.default_rng([seed, k]), self.views, count) for k in range(layers)]

    def stir(self, rng: Rng, frames: Frames, stamps: Track) -> Frames:
        """People, arms or things in front of ``frames`` (F, h, h), exposed at ``stamps`` (F,) s in rising
        order: a layer, mirrored, backwards, faster or slower. Raises ValueError for more than it holds."""
        shades, covers = self.layers[int(rng.integers(len(self.layers)))]
        last, span = len(shades) - 1, LAYER_RATE * float(stamps[-1] - stamps[0])
        if span > last:
            raise ValueError(f"a layer lasts {last / LAYER_RATE} s, not {span / LAYER_RATE} s")
        pace = min(math.exp(rng.uniform(-0.3, 0.3)), last / max(span, 1.0))
        at = rng.uniform(0, last - pace * span) + pace * LAYER_RATE * (stamps - stamps[0])
        at = np.round(at).astype(int).clip(0, last)
        if rng.random() < 0.5:
            at = last - at
        step = 1 if rng.random() < 0.5 else -1
        out = np.empty_like(frames)
        for i, (frame, k) in enumerate(zip(frames, at, strict=True)):
            shade, cover = (np.ascontiguousarray(kind[k][:, ::step]) for kind in (shades, covers))
            out[i] = cv2.add(cv2.multiply(frame, 255 - cover, scale=1 / 255), shade)
        return out

    def film(self, rng: Rng, stamps: Track) -> Frames:
        """(F, h, h): a photograph in which things move and nothing sounds, at ``stamps`` (F,) s in rising
        order."""
        frames = self.views[int(rng.integers(len(self.views)))][None].repeat(len(stamps), 0)
        if rng.random() < 0.35:
            frames = flutter(rng, frames, stamps)
        return self.stir(rng, frames, stamps) if rng.random() < 0.85 else frames

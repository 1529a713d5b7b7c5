"""Drawn animals and people that call: the mouth opens with each call, everything else about them is silent.

Breathing, turning the head, chewing, a wagging tail and gestures are there to be ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Point, Sprite, affine, direction, point
from edgefoley.train.scenes.motion import Calls, Mark, Rng, Wobble, pick
from edgefoley.train.scenes.program import Cast, Program

_MUTE = Calls((), (), 0.05, ())


@dataclass(frozen=True)
class _Build:
    """metres: body length; legs; leg length, body thickness, neck length and its angle, head radius, snout
    length, tail length (body lengths); size: how big it sounds."""

    metres: float
    legs: int
    leg: float
    thick: float
    neck: float
    rise: float
    head: float
    snout: float
    tail: float
    size: float


_BUILDS = {
    "dog": _Build(0.8, 4, 0.5, 0.2, 0.3, -0.8, 0.17, 0.24, 0.45, 0.4),
    "cat": _Build(0.5, 4, 0.35, 0.17, 0.2, -0.7, 0.17, 0.1, 0.6, 0.25),
    "cow": _Build(2.2, 4, 0.5, 0.3, 0.3, -0.5, 0.16, 0.26, 0.4, 0.9),
    "horse": _Build(2.2, 4, 0.65, 0.22, 0.5, -0.9, 0.13, 0.3, 0.5, 0.9),
    "sheep": _Build(1.1, 4, 0.35, 0.32, 0.2, -0.6, 0.14, 0.16, 0.1, 0.5),
    "bird": _Build(0.2, 2, 0.3, 0.22, 0.25, -1.0, 0.16, 0.2, 0.4, 0.1),
    "rooster": _Build(0.5, 2, 0.35, 0.26, 0.4, -1.2, 0.12, 0.14, 0.4, 0.25),
    "frog": _Build(0.12, 4, 0.15, 0.25, 0.1, -0.4, 0.24, 0.12, 0.0, 0.1),
}


class Animal(Program):
    """An animal in profile that barks, moos, crows or croaks: its jaws part and its body thrusts.
    mute: it does all else."""

    upright = True

    def __init__(self, rng: Rng, seconds: float, cast: Cast, mute: bool = False) -> None:
        self.kind = pick(rng, *_BUILDS)
        self.build = _BUILDS[self.kind]
        super().__init__(rng, cast, self.build.size)
        self.metres = self.build.metres
        self.calls = _MUTE if mute else Calls.random(rng, seconds)
        self.body = Sprite(rng, pick(rng, "disc", "blob"))
        self.coat = self.body.premultiplied[24, 24].copy()
        self.gape, self.thrust = float(rng.uniform(0.5, 1.1)), float(rng.uniform(0.0, 0.15))
        self.nod, self.swell = float(rng.uniform(-0.5, 0.3)), float(rng.uniform(0.0, 0.15))
        self.turn, self.breath = Wobble.random(rng, 0.12, 0.1, 1.0), float(rng.uniform(0.3, 1.5))
        self.chew = float(rng.uniform(1.0, 2.2)) * (rng.random() < 0.25)
        self.wag = float(rng.uniform(0.0, 4.0))
        self.closeup = rng.random() < 0.4  # only the head and the chest
        self.marks = [
            Mark(t, s, tuple(float(v) for v in self._mouth(t)[1]))  # type: ignore[arg-type]
            for t, s in zip(self.calls.times, self.calls.strengths, strict=True)
        ]

    def activity(self, t: float) -> float:
        return self.calls.openness(t)

    def _mouth(self, t: float) -> tuple[Point, Point, float]:
        """Centre of the head, middle of the mouth, and the head's angle."""
        b, zoom = self.build, 2.2 if self.closeup else 1.0
        jerk, gape = self.calls.jerk(t), self.calls.openness(t)
        chest = point(0.42, -0.08) * (1.0 if not self.closeup else 0.0) + point(self.thrust * jerk, 0)
        head = chest + zoom * (b.neck + 0.5 * b.head) * direction(
            b.rise + self.nod * gape * 0.5 + self.turn.at(t)
        )
        angle = self.turn.at(t) + self.nod * gape
        return head, head + zoom * (b.head + 0.5 * b.snout) * direction(angle + 0.2), angle

    def draw(self, canvas: Canvas, t: float) -> None:
        b, zoom = self.build, 2.2 if self.closeup else 1.0
        head, mouth, angle = self._mouth(t)
        gape = self.calls.openness(t)
        swell = 1 + self.swell * gape + 0.02 * math.sin(2 * math.pi * self.breath * t)
        shove = self.thrust * self.calls.jerk(t)
        chest = point(0.42, -0.08) * (not self.closeup) + point(shove, 0)
        if self.closeup:
            canvas.sprite(self.body, affine(-0.7 + 0.5 * shove, 1.0, 1.1 * swell, 0.95 * swell))
        else:
            self._trunk(canvas, t, shove, swell)
        canvas.bar(chest + point(-0.1, 0.1) * zoom, head, 1.5 * b.head * zoom, self.coat, 0.8)
        canvas.disc(head, b.head * zoom, 0.9 * b.head * zoom, self.coat)
        self._jaws(canvas, head, mouth, angle, gape, t)
        ear = head + zoom * b.head * direction(angle - 2.1)
        if self.kind == "rooster":
            canvas.disc(ear, 0.5 * b.head * zoom, 0.6 * b.head * zoom, np.array([205, 40, 40]))
        elif b.legs == 4 and self.kind != "frog":
            canvas.bar(
                ear, ear + zoom * b.head * direction(angle - 1.8), 0.6 * b.head * zoom, self.shades[0], 0.3
            )
        eye = head + zoom * b.head * 0.45 * direction(angle - 0.8)
        canvas.disc(eye, 0.16 * b.head * zoom, 0.16 * b.head * zoom, np.array([15, 15, 15]))

    def _trunk(self, canvas: Canvas, t: float, shove: float, swell: float) -> None:
        b, floor = self.build, 0.12 + self.build.leg
        for k in range(b.legs):
            x = (-0.4, 0.36, -0.3, 0.44)[k] if b.legs == 4 else (-0.05, 0.08)[k]
            hip, foot = point(x + shove, 0.05), point(x, floor)
            canvas.bar(hip, foot, 0.11 if b.legs == 4 else 0.05, self.coat if k < 2 else self.shades[1], 0.7)
        if b.tail:
            root = point(-0.45 + shove, -0.05)
            angle = math.pi + 0.5 + 0.4 * math.sin(2 * math.pi * self.wag * t)
            canvas.bar(root, root + b.tail * direction(angle), 0.11, self.shades[0], 0.5)
        canvas.sprite(self.body, affine(shove, 0.0, 0.55 * swell, b.thick * 1.2 * swell))

    def _jaws(self, canvas: Canvas, head: Point, mouth: Point, angle: float, gape: float, t: float) -> None:
        b, zoom = self.build, 2.2 if self.closeup else 1.0
        chewing = 0.12 * max(0.0, math.sin(2 * math.pi * self.chew * t)) * (gape == 0.0)
        part = self.gape * gape + chewing
        hinge = head + zoom * 0.4 * b.head * direction(angle + 0.4)
        reach, width = zoom * (0.6 * b.head + b.snout), zoom * 0.9 * b.head
        colour = np.array([220, 170, 60]) if b.legs == 2 else self.coat
        if part > 0.02:
            wedge = [
                hinge,
                hinge + 0.9 * reach * direction(angle),
                hinge + 0.9 * reach * direction(angle + part + 0.1),
            ]
            canvas.poly(np.stack(wedge), np.array([120, 25, 35]))
        canvas.bar(hinge, hinge + reach * direction(angle - 0.25 * part), width, colour, 0.6)
        canvas.bar(hinge, hinge + 0.9 * reach * direction(angle + part + 0.25), 0.5 * width, colour, 0.5)
        nose = hinge + reach * direction(angle - 0.25 * part - 0.1)
        canvas.disc(nose, 0.18 * width, 0.18 * width, self.shades[2])


class Person(Program):
    """A person from the chest up who speaks, laughs or shouts: lips part and the jaw drops. Gestures,
    blinks and turns of the head go on all the time. mute: only those."""

    metres, upright = 0.5, True

    def __init__(self, rng: Rng, seconds: float, cast: Cast, mute: bool = False) -> None:
        super().__init__(rng, cast, 0.5)
        speaks = rng.random() < 0.5
        calls = self._speech(rng, seconds) if speaks else Calls.random(rng, seconds)
        self.calls = _MUTE if mute else calls
        self.size = float(rng.uniform(0.35, 0.7))
        self.face = Sprite(rng, "disc", skin=np.full((48, 48, 3), self.skin, np.uint8))
        self.torso = Sprite(rng, pick(rng, "disc", "box"))
        self.gape, self.nod = float(rng.uniform(0.15, 0.5)), float(rng.uniform(-0.1, 0.1))
        self.sway = [Wobble.random(rng, 0.05, 0.2, 1.5) for _ in range(3)]
        self.gesture = Wobble.random(rng, 0.6, 0.3, 2.0) if rng.random() < 0.4 else None
        self.hair, self.long = self.shades[4], rng.random() < 0.5
        self.marks = [
            Mark(t, s, (float((m := self._mouth(t))[0]), float(m[1])))
            for t, s in zip(self.calls.times, self.calls.strengths, strict=True)
        ]

    @staticmethod
    def _speech(rng: Rng, seconds: float) -> Calls:
        """Phrases of syllables of 0.12-0.25 s."""
        times: list[float] = []
        durations: list[float] = []
        t = float(rng.uniform(0.1, 1.0))
        while t < seconds - 0.05:
            for _ in range(int(rng.integers(2, 9))):
                length = float(rng.uniform(0.05, 0.16))
                times.append(t)
                durations.append(length)
                t += length + float(rng.uniform(0.1, 0.16))
            t += float(rng.uniform(0.4, 1.5))
        keep = [i for i, x in enumerate(times) if x < seconds - 0.05]
        strengths = tuple(float(rng.uniform(0.4, 1.0)) for _ in keep)
        return Calls(tuple(times[i] for i in keep), tuple(durations[i] for i in keep), 0.05, strengths)

    def activity(self, t: float) -> float:
        return self.calls.openness(t)

    def _head(self, t: float) -> Point:
        return point(self.sway[0].at(t), self.sway[1].at(t) - 0.2 - self.nod * self.calls.jerk(t))

    def _mouth(self, t: float) -> Point:
        return self._head(t) + self.size * point(0.4 * self.sway[2].at(t), 0.48)

    def draw(self, canvas: Canvas, t: float) -> None:
        head, r, gape = self._head(t), self.size, self.calls.openness(t)
        turn = point(0.8 * self.sway[2].at(t) * r, 0)
        if self.long:
            canvas.disc(head + point(0, 0.15 * r), 0.95 * r, 1.15 * r, self.hair)
        canvas.sprite(self.torso, affine(0.5 * head[0], 2.1 * r - 0.1, 1.4 * r, 1.1 * r))
        canvas.bar(head, point(0.5 * head[0], 1.3 * r), 0.55 * r, self.skin)
        canvas.sprite(self.face, affine(head[0], head[1], 0.78 * r, (1 + 0.12 * gape) * r))
        cap = np.linspace(math.pi, 2 * math.pi, 12)
        canvas.poly(
            head
            + r * np.stack([0.84 * np.cos(cap), 0.2 + 1.25 * np.sin(cap)], 1)[[*range(12)]] * (1, 0.9)
            - point(0, 0.3 * r),
            self.hair,
        )
        blink = 0.15 if math.sin(2.1 * t + self.nod * 50) > 0.985 else 1.0
        for side in (-0.32, 0.32):
            eye = head + turn + r * point(side, 0.0)
            canvas.disc(eye, 0.13 * r, 0.09 * r * blink, np.array([245, 245, 240]))
            canvas.disc(eye, 0.06 * r, 0.08 * r * blink, np.array([30, 25, 20]))
        canvas.bar(
            head + turn + point(0, 0.08 * r),
            head + turn * 1.2 + point(0, 0.28 * r),
            0.1 * r,
            self.skin // 2 + 20,
        )
        wide = 0.03 * r + self.gape * gape * r * 0.5
        canvas.disc(self._mouth(t) + turn, 0.3 * r, wide + 0.05 * r, np.array([170, 75, 75]))
        if gape > 0.05:
            canvas.disc(self._mouth(t) + turn, 0.24 * r, wide, np.array([55, 10, 15]))
        if self.gesture is not None:
            hand = point(0.9 * r + 0.4 * self.gesture.at(t), 0.9 * r + self.gesture.at(t + 3.0) * 0.5)
            canvas.bar(point(0.8 * r, 2.4 * r), hand, 0.3 * r, self.shades[0], 0.7)
            canvas.disc(hand, 0.18 * r, 0.2 * r, self.skin)


class Quiet(Program):
    """Things that move without sound: waving limbs, drifting and turning shapes, people shifting about."""

    def __init__(self, rng: Rng, count: int) -> None:
        super().__init__(rng, Cast("ambience"))
        self.sprites = [Sprite(rng) for _ in range(count)]
        self.sizes = np.exp(rng.uniform(math.log(0.08), math.log(0.7), (count, 2)))
        pace = float(rng.uniform(0.3, 2.0))
        self.paths = [[Wobble.random(rng, a, 0.1, pace) for a in (0.5, 0.3, 0.5)] for _ in range(count)]
        self.homes = rng.uniform(-1, 1, (count, 2))
        self.limb = rng.random(count) < 0.5

    def draw(self, canvas: Canvas, t: float) -> None:
        for i, (sprite, (rx, ry), (wx, wy, wa), home) in enumerate(
            zip(self.sprites, self.sizes, self.paths, self.homes, strict=True)
        ):
            if self.limb[i]:
                joint, colour = home + 0.5 * direction(2 * wa.at(t) - 1.5), self.shades[i % 6]
                hand = joint + 0.5 * direction(2 * wx.at(t) - 1.5)
                canvas.bar(home, joint, 0.3 * rx + 0.05, colour, 0.8)
                canvas.bar(joint, hand, 0.25 * rx + 0.04, colour, 0.7)
                canvas.disc(hand, 0.12 * rx + 0.03, 0.12 * rx + 0.03, self.skin)
            else:
                canvas.sprite(sprite, affine(home[0] + wx.at(t), home[1] + wy.at(t), rx, ry, wa.at(t)))

"""Drawn figures that walk, run, gallop and jump; a foot sounds when its phase reaches a whole number."""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Sprite, affine, point
from edgefoley.train.scenes.look import surface
from edgefoley.train.scenes.motion import Mark, Phase, Rng, pick, smoothstep
from edgefoley.train.scenes.program import Cast, Program, limb

_GROUNDS = (
    "wood",
    "concrete",
    "stone",
    "earth",
    "grass",
    "gravel",
    "sand",
    "snow",
    "leaves",
    "water",
    "ice",
    "metal",
)
_GAITS = {"walk": (0.0, 0.5, 0.25, 0.75), "run": (0.0, 0.5, 0.5, 0.0), "gallop": (0.0, 0.12, 0.5, 0.62)}


class Ground:
    """A strip of ground below y = 0 that scrolls with the camera."""

    def __init__(self, rng: Rng, material: str) -> None:
        self.sprite = Sprite(rng, "box", 64, surface(rng, material, 64))
        self.shown = rng.random() < 0.75

    def draw(self, canvas: Canvas, scroll: float) -> None:
        """Draw it, `scroll` units further to the left."""
        if self.shown:
            start = -(scroll % 3.0)
            for k in (-1, 0, 1):
                canvas.sprite(self.sprite, affine(start + 3.0 * k + 1.5, 0.99, 1.56, 1.0))


class Step(Program):
    """Two- or four-legged figures that walk, run or gallop, seen from the side or the front."""

    metres, upright, fit = 1.0, True, (0.7, 0.68)
    strikers = ("rubber", "rubber", "wood", "flesh", "metal")
    struck = _GROUNDS

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.3, 0.8)))
        run = cast.action != "walk"
        self.legs = 4 if cast.action == "gallop" or rng.random() < 0.25 else 2
        low, high = {"walk": (0.6, 1.2), "run": (1.1, 1.9), "gallop": (1.0, 2.2)}[cast.action]
        self.phase = Phase.random(rng, seconds, low, high)
        self.offsets = (0.0, 0.5) if self.legs == 2 else _GAITS[cast.action]
        self.duty = float(rng.uniform(0.3, 0.42) if run else rng.uniform(0.5, 0.65))
        self.stride = float(rng.uniform(0.35, 0.7)) * (1.2 if run else 1.0)
        self.lift, self.leg = float(rng.uniform(0.06, 0.3)) + 0.1 * run, float(rng.uniform(0.7, 1.1))
        self.front = rng.random() < 0.25  # seen from the front: feet lift and land, no stride
        self.follow = self.front or rng.random() < 0.5
        self.width = float(rng.uniform(0.1, 0.22))
        self.body = Sprite(rng, pick(rng, "box", "blob", "disc"))
        self.ground = Ground(rng, self.source.struck)
        self.feet_only = rng.random() < 0.2 and self.legs == 2
        level = float(rng.uniform(0.3, 0.8)) + 0.2 * run
        hits = sorted((t, k) for k, o in enumerate(self.offsets) for t in self.phase.crossings(o, seconds))
        for t, leg in hits:
            if not self.marks or t - self.marks[-1].time_s > 0.03:
                strength = float(np.clip(level + rng.normal(0, 0.06), 0.1, 1.0))
                self.marks.append(
                    Mark(t, strength, (self._x(t) + self._base(leg) + self._foot(leg, 0.0, True)[0], 0.0))
                )

    def _travel(self, t: float) -> float:
        return self.phase.at(t) * self.stride / self.duty

    def _x(self, t: float) -> float:
        return 0.0 if self.follow else -1.2 + self._travel(t) % 2.4

    def _base(self, leg: int) -> float:
        base = (0.5 if leg >= 2 else -0.5) * (self.legs == 4)
        return base + (0.12 if leg % 2 else -0.12) * self.front

    def scroll(self, t: float) -> float:
        return self._travel(t) if self.follow and not self.front else 0.0

    def _foot(self, leg: int, phase: float, landing: bool = False) -> tuple[float, float]:
        """Where a foot is ahead of its hip and over the ground; landing: as it meets the ground."""
        p = 0.0 if landing else (phase + self.offsets[leg]) % 1.0
        forward = 0.0 if self.front else self.stride
        if p < self.duty:
            return forward * (0.5 - p / self.duty), 0.0
        u = (p - self.duty) / (1 - self.duty)
        return forward * (smoothstep(u) - 0.5), self.lift * math.sin(math.pi * u) * (1 - 0.3 * u)

    def draw(self, canvas: Canvas, t: float) -> None:
        phase, x = self.phase.at(t), self._x(t)
        self.ground.draw(canvas, self.scroll(t))
        bob = 0.04 * math.cos(4 * math.pi * phase)
        for leg in range(self.legs):
            fx, fy = self._foot(leg, phase)
            hip = point(x + self._base(leg), -self.leg + bob)
            foot = point(x + self._base(leg) + fx, -fy)
            limb(canvas, hip, foot, 1.1 * self.leg, self.width, self.shades[leg % 2])
            canvas.bar(foot - point(0.05, 0.03), foot + point(0.16, -0.03), 0.08, self.shades[2])
        if self.feet_only:
            return
        if self.legs == 4:
            self._beast(canvas, x, bob, phase)
        else:
            self._person(canvas, x, bob, phase)

    def _person(self, canvas: Canvas, x: float, bob: float, phase: float) -> None:
        top = -self.leg + bob
        canvas.sprite(self.body, affine(x, top - 0.36, 0.24, 0.45))
        swing = 0.0 if self.front else 0.5 * self.stride
        for side in (0.0, 0.5):
            shoulder = point(x + (0.22 - 0.88 * side) * self.front, top - 0.6)
            hand = shoulder + point(swing * math.sin(2 * math.pi * (phase + side)), 0.6)
            canvas.bar(shoulder, hand, 0.12, self.shades[3], 0.7)
            canvas.disc(hand, 0.07, 0.07, self.skin)
        head = point(x, top - 0.98)
        canvas.disc(head, 0.15, 0.18, self.skin)
        canvas.disc(head - point(0.02, 0.1), 0.16, 0.11, self.shades[4])

    def _beast(self, canvas: Canvas, x: float, bob: float, phase: float) -> None:
        top = -self.leg + bob
        canvas.sprite(self.body, affine(x, top - 0.12, 0.7, 0.26, 0.04 * math.sin(2 * math.pi * phase)))
        neck, head = point(x + 0.55, top - 0.15), point(x + 0.8, top - 0.6 - 2 * bob)
        canvas.bar(neck, head, 0.28, self.shades[0], 0.6)
        canvas.bar(head - point(0.05, 0.02), head + point(0.3, 0.14), 0.2, self.shades[0], 0.6)
        canvas.bar(head, head + point(-0.05, -0.18), 0.09, self.shades[3], 0.3)
        tail = point(x - 0.65, top - 0.2)
        canvas.bar(tail, tail + point(-0.3, 0.3 - 3 * bob), 0.1, self.shades[3], 0.5)


class Jump(Program):
    """A person who jumps: crouch, flight under gravity, landing, which sounds; the take-off a little."""

    metres, upright, fit = 1.0, True, (0.7, 0.68)
    strikers = ("rubber", "flesh", "wood")
    struck = _GROUNDS

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.6)
        self.jumps: list[tuple[float, float, float]] = []  # take-off, landing, gravity
        gravity, t = float(rng.uniform(6.0, 11.0)), float(rng.uniform(0.4, 1.2))
        self.hop = rng.random() < 0.4
        while t < seconds:
            height = float(rng.uniform(0.08, 0.25)) if self.hop else float(rng.uniform(0.2, 0.6))
            air = 2 * math.sqrt(2 * height / gravity)
            self.jumps.append((t, t + air, gravity))
            t += air + float(rng.uniform(0.15, 0.4) if self.hop else rng.uniform(0.4, 1.6))
        self.leg, self.width = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.1, 0.2))
        self.body, self.ground = Sprite(rng, pick(rng, "box", "blob")), Ground(rng, self.source.struck)
        self.spread = float(rng.uniform(0.05, 0.25))
        for off, land, _ in self.jumps:
            strength = min(1.0, 0.35 + (land - off))
            self.marks += [Mark(off, 0.12, (0.0, 0.0)), Mark(land, strength, (0.0, 0.0))]
        self.marks = [m for m in self.marks if m.time_s < seconds]

    def height(self, t: float) -> float:
        """Height of the feet over the ground."""
        for off, land, gravity in self.jumps:
            if off < t < land:
                return 0.5 * gravity * (t - off) * (land - t)
        return 0.0

    def _crouch(self, t: float) -> float:
        """How far the knees are bent, 0..1: before the take-off and after the landing."""
        bent = 0.0
        for off, land, _ in self.jumps:
            if t <= off:
                bent = max(bent, smoothstep((t - off + 0.22) / 0.15) * smoothstep((off - t) / 0.06))
            elif t >= land:
                bent = max(bent, smoothstep((t - land) / 0.06) * (1 - smoothstep((t - land - 0.06) / 0.3)))
        return bent

    def draw(self, canvas: Canvas, t: float) -> None:
        self.ground.draw(canvas, 0.0)
        lift, bent = self.height(t), self._crouch(t)
        hip = point(0, -lift - self.leg * (1 - 0.35 * bent))
        for side in (-1.0, 1.0):
            foot = point(side * self.spread, -lift)
            limb(canvas, hip + point(0.06 * side, 0), foot, 1.02 * self.leg, self.width, self.shades[0])
            canvas.bar(foot - point(0.05, 0.03), foot + point(0.15, -0.03), 0.08, self.shades[2])
            raised = 0.5 * min(1.0, 4 * lift) - 0.4 * bent
            hand = hip + point(side * (0.3 + 0.2 * raised), -0.35 - 0.9 * raised)
            canvas.bar(hip + point(0.2 * side, -0.62), hand, 0.11, self.shades[3], 0.7)
        canvas.sprite(self.body, affine(hip[0], hip[1] - 0.36, 0.24, 0.44))
        canvas.disc(hip + point(0, -0.98), 0.15, 0.18, self.skin)
        canvas.disc(hip + point(0, -1.1), 0.15, 0.09, self.shades[4])

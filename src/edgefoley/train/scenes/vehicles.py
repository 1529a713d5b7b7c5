"""Drawn machines: vehicles that idle, drive off, pass by and come closer, and blades that turn."""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Sprite, affine, direction, point
from edgefoley.train.scenes.look import surface, tint
from edgefoley.train.scenes.motion import Rng, pick
from edgefoley.train.scenes.program import Cast, Emitter, Level, Program

_SIZES = {
    "car": (4.0, 0.7),
    "truck": (8.0, 0.95),
    "bike": (2.0, 0.5),
    "boat": (6.0, 0.8),
    "train": (15.0, 1.0),
}


class Engine(Program):
    """A vehicle or machine with an engine.

    mode idle: it stands and trembles with its revolutions; trip: it starts, is followed by the camera, and
    stops; pass: it crosses the picture, loudest when it is nearest; near: it comes to the camera and goes.
    """

    upright = True

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.kind = pick(rng, "car", "car", "truck", "bike", "boat", "train", "machine")
        metres, size = _SIZES.get(self.kind, (0.8, 0.4))
        super().__init__(rng, cast, size)
        self.metres = 0.6 * metres
        modes = ("idle",) if self.kind == "machine" else ("idle", "trip", "pass", "pass", "near")
        self.mode = pick(rng, *modes)
        self.paint, self.glass = tint(rng, "metal"), np.array([150, 190, 205])
        self.revolutions, self.shake = float(rng.uniform(9, 22)), float(rng.uniform(0.025, 0.06))
        self.level = Level(rng, seconds, 0.3, 0.2)
        self.speed = float(rng.uniform(1.2, 4.0))
        self.smoke = Emitter(rng, 12.0, 0.8, self.level)
        self.puff = Sprite.glow(rng, (150, 150, 150))
        self.ground, self.grounded = Sprite(rng, "box", skin=surface(rng, "concrete", 48)), rng.random() < 0.6
        self.hull = Sprite(rng, "box", skin=surface(rng, "metal", 48))
        if self.mode in ("pass", "near"):
            self._plan_visits(rng, seconds)

    def _plan_visits(self, rng: Rng, seconds: float) -> None:
        """Instants of closest approach and how fast; the level follows from the distance."""
        span = (3.0 if self.mode == "pass" else 5.0) / self.speed
        visits, t = [], float(rng.uniform(0.2 * span, 0.6 * span + 0.6))
        while t < seconds + span:
            visits.append(t)
            t += 2 * span + float(rng.uniform(0.0, 1.5))
        self.visits, self.span = np.array(visits), span
        grid = Level.grid(seconds)
        away = np.array([self._away(float(t)) for t in grid])
        loud = 1 / (1 + (away / (0.6 if self.mode == "pass" else 1.0)) ** 2)
        self.level = Level.of(np.where(np.abs(away) < self.speed * span, loud, 0.0))

    def _away(self, t: float) -> float:
        """Signed distance from the closest approach, in units; nan-free, far between the visits."""
        i = int(np.argmin(np.abs(self.visits - t)))
        return float(np.clip(self.speed * (t - self.visits[i]), -9.0, 9.0))

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def nearness(self, t: float) -> float:
        return self._closeness(t) if self.mode == "near" else 1.0

    def _closeness(self, t: float) -> float:
        """How large it looks when it comes nearer: one over the distance."""
        return 0.9 / (0.5 + 0.7 * abs(self._away(t)))

    def scroll(self, t: float) -> float:
        return self.speed * self.level.total(t) if self.mode == "trip" else 0.0

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.grounded and self.mode != "near":
            canvas.sprite(self.ground, affine(0, 1.33, 2.6, 1.0))
        now, x = self.level.at(t), 0.0
        if self.mode == "near":
            self._oncoming(canvas, t)
            return
        if self.mode == "pass":
            x = self._away(t)
            if abs(x) > 3.2:
                return
        turned = x if self.mode == "pass" else self.scroll(t)
        tremble = (
            self.shake
            * now
            * point(
                0.6 * math.sin(17 * t * self.revolutions / 3), math.sin(2 * math.pi * self.revolutions * t)
            )
        )
        if self.mode == "idle":
            tremble = tremble * 1.5
        base = point(x, 0) + tremble
        ages, traits, level = self.smoke.alive(t)
        for age, trait, puffed in list(zip(ages, traits, level, strict=True))[:8]:
            p = point(x - 1.0 - 0.6 * age, 0.2 - 0.4 * age * trait[0])
            canvas.sprite(
                self.puff,
                affine(p[0], p[1], 0.07 + 0.2 * age, 0.07 + 0.2 * age),
                0.6 * puffed * (1 - age / 0.8),
            )
        if self.kind == "machine":
            self._machine(canvas, base, t)
        elif self.kind == "boat":
            self._boat(canvas, base, t)
        else:
            self._wheeled(canvas, base, point(x, 0), turned)

    def _wheeled(self, canvas: Canvas, base: np.ndarray, axle: np.ndarray, turned: float) -> None:
        long = {"car": 0.9, "truck": 1.1, "bike": 0.55, "train": 1.6}[self.kind]
        if self.kind == "bike":
            canvas.bar(base + point(-0.45, 0.1), base + point(0.45, 0.0), 0.16, self.paint)
            canvas.bar(base + point(0.45, 0.2), base + point(0.25, -0.35), 0.07, self.shades[0])
            canvas.bar(base + point(-0.2, 0.0), base + point(0.0, -0.55), 0.3, self.shades[1], 0.8)
            canvas.disc(base + point(0.05, -0.7), 0.15, 0.16, self.shades[2])
        else:
            tall = {"car": 0.25, "truck": 0.7, "train": 0.6}[self.kind]
            back = {"car": -0.55, "truck": 0.45, "train": -1.6}[self.kind]
            front = {"car": 0.35, "truck": 1.1, "train": 1.6}[self.kind]
            canvas.sprite(
                self.hull, affine(base[0], base[1] + 0.15 - 0.5 * (tall - 0.25), long, 0.15 + 0.5 * tall)
            )
            canvas.box(base[0] - long, base[1] + 0.12, base[0] + long, base[1] + 0.3, self.paint)
            cabin = [(back - 0.15, -0.05), (back, -0.38), (front, -0.38), (front + 0.15, -0.05)]
            if self.kind == "car":
                canvas.poly(base + np.array(cabin), self.paint)
                canvas.poly(base + np.array(cabin) * (0.85, 0.85) + (0.0, -0.03), self.glass)
            for k in range(6 if self.kind == "train" else 1 if self.kind == "truck" else 0):
                left = base[0] + (0.6 if self.kind == "truck" else -1.45 + 0.5 * k)
                canvas.box(left, base[1] - 0.3, left + 0.35, base[1] - 0.02, self.glass)
        r = 0.22 if self.kind != "train" else 0.14
        spots = {"bike": (-0.5, 0.5), "train": (-1.2, -0.9, 0.9, 1.2)}.get(self.kind, (-0.55, 0.55))
        for spot in spots:
            hub = axle + point(spot, 0.32)
            canvas.disc(hub, r, r, np.array([25, 25, 28]))
            canvas.disc(hub, 0.55 * r, 0.55 * r, np.array([190, 190, 195]))
            for k in range(2):
                spoke = 0.55 * r * direction(turned / r + 0.5 * math.pi * k)
                canvas.bar(hub - spoke, hub + spoke, 0.3 * r, self.shades[3])

    def _boat(self, canvas: Canvas, base: np.ndarray, t: float) -> None:
        canvas.box(-3.0, 0.3, 3.0, 2.5, np.array([50, 95, 135]))
        hull = [(-1.0, 0.0), (1.2, -0.05), (0.8, 0.45), (-0.9, 0.45)]
        canvas.poly(base + np.array(hull), self.paint)
        canvas.box(base[0] - 0.6, base[1] - 0.35, base[0] + 0.2, base[1], self.shades[0])
        x = np.linspace(-3, 3, 24)
        swell = 0.35 + 0.03 * np.sin(5 * x + 2 * t)
        canvas.line(np.stack([x, swell], 1), 0.04, np.array([190, 215, 225]))
        wake = 0.25 * self.level.at(t)
        canvas.disc(
            base + point(-1.1 - wake, 0.4), 0.1 + 2 * wake, 0.04 + 0.3 * wake, np.array([225, 235, 240])
        )

    def _machine(self, canvas: Canvas, base: np.ndarray, t: float) -> None:
        canvas.sprite(self.hull, affine(base[0], base[1], 0.6, 0.45))
        hub = base + point(0.15, 0.0)
        turn = 2 * math.pi * self.revolutions * 0.25 * self.level.total(t)
        canvas.disc(hub, 0.27, 0.27, self.shades[0])
        canvas.bar(hub, hub + 0.25 * direction(turn), 0.1, self.shades[1])
        canvas.bar(base + point(-0.45, -0.4), base + point(-0.45, -0.7), 0.12, self.shades[2])

    def _oncoming(self, canvas: Canvas, t: float) -> None:
        away = self._away(t)
        if abs(away) > self.speed * self.span or abs(away) > 8.0:
            return
        s = self._closeness(t)
        p = point((1.2 if away > 0 else -1.2) * s * (0.2 + 0.8 / (1 + abs(away))), 0.15 * s)
        p = p + self.shake * s * point(0, math.sin(2 * math.pi * self.revolutions * t))
        canvas.box(p[0] - 0.8 * s, p[1] - 0.1 * s, p[0] + 0.8 * s, p[1] + 0.6 * s, self.paint)
        canvas.poly(p + s * np.array([[-0.65, -0.1], [-0.5, -0.55], [0.5, -0.55], [0.65, -0.1]]), self.glass)
        lamp = np.array([255, 245, 200]) if away < 0 else np.array([210, 30, 30])
        for side in (-0.55, 0.55):
            canvas.disc(p + s * point(side, 0.15), 0.14 * s, 0.12 * s, lamp)
            canvas.box(
                p[0] + s * (side - 0.18),
                p[1] + 0.5 * s,
                p[0] + s * (side + 0.18),
                p[1] + 0.8 * s,
                np.array([20, 20, 22]),
            )


class Rotor(Program):
    """Blades that turn: a fan, a propeller, a helicopter, a windmill, a circular saw or drill."""

    metres, upright = 0.5, True

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.kind = pick(rng, "fan", "propeller", "helicopter", "windmill", "saw")
        super().__init__(
            rng, cast, {"helicopter": 1.0, "windmill": 0.9, "propeller": 0.8}.get(self.kind, 0.3)
        )
        self.metres = {"helicopter": 5.0, "windmill": 8.0, "propeller": 2.0}.get(self.kind, 0.4)
        self.level = Level(rng, seconds, 0.25, 0.12)
        self.blades = 24 if self.kind == "saw" else int(rng.integers(2, 6))
        # Slow enough that a frame of 1/25 s is less than half a blade: faster ones look still or reversed.
        self.rate = float(rng.uniform(4, 11)) * 2 * math.pi / max(self.blades, 3)
        self.radius, self.colour = float(rng.uniform(0.5, 0.9)), tint(rng, "metal")
        self.hull = Sprite(rng, "blob", skin=surface(rng, "metal", 48))
        self.hover = Level(rng, seconds, 0.0, 0.1)

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        turn, r = self.rate * self.level.total(t), self.radius
        shake = 0.012 * self.level.at(t) * math.sin(90 * t)
        hub, squash = point(shake, 0), 1.0
        if self.kind == "helicopter":
            hub, squash = point(shake, -0.35 - 0.1 * self.level.at(t)), 0.14
            canvas.bar(hub + point(-1.2, 0.3), hub + point(0, 0.35), 0.12, self.colour, 2.0)
            canvas.sprite(self.hull, affine(hub[0] + 0.15, hub[1] + 0.38, 0.5, 0.3))
            canvas.bar(hub, hub + point(0, 0.2), 0.08, self.shades[0])
            canvas.bar(hub + point(-0.3, 0.75), hub + point(0.6, 0.75), 0.06, self.shades[0])
        elif self.kind in ("fan", "windmill"):
            canvas.bar(hub, point(0, 1.5), 0.16 if self.kind == "fan" else 0.3, self.shades[0], 1.5)
        elif self.kind == "propeller":
            canvas.sprite(self.hull, affine(0, 0, 0.4, 0.4))
        else:
            canvas.box(-1.4, 0.1, 1.4, 0.9, np.array([170, 125, 75]))
            canvas.disc(hub, r, r, self.colour)
        for k in range(self.blades):
            way = direction(turn + k * 2 * math.pi / self.blades) * (1.0, squash)
            if self.kind == "saw":
                canvas.bar(hub + 0.9 * r * way, hub + 1.08 * r * way, 0.12, self.colour // 2, 0.3)
            else:
                shade = self.shades[1] if k else self.shades[2]
                canvas.bar(
                    hub + 0.1 * r * way, hub + r * way, 0.14 * r * (1 if squash == 1.0 else 0.4), shade, 1.5
                )
        if self.kind == "saw":
            canvas.bar(
                hub - 0.5 * r * direction(turn), hub + 0.5 * r * direction(turn), 0.1, self.colour // 2
            )
        canvas.disc(hub, 0.12 * r, 0.12 * r, self.shades[3])

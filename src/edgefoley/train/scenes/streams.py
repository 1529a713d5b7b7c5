"""Drawn streams of particles: pouring, rain, fountains, taps and rivers, bubbles, steam.

How much of it there is follows a level, and so does the loudness where the particles are heard (`Level`,
`Emitter`): a stream that falls for a while sounds when it lands, not when it leaves.
"""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Sprite, affine, direction, point
from edgefoley.train.scenes.look import surface, tint
from edgefoley.train.scenes.motion import Mark, Rng, Wobble, pick
from edgefoley.train.scenes.program import Cast, Emitter, Level, Program, arm

_GRAVITY = 6.0  # units per s^2; a unit is about half a metre to two


class Pour(Program):
    """A held vessel tilts and what is in it falls into another, which fills; the landing is heard, and the
    first of it splashes."""

    metres, upright = 0.4, True
    strikers = ("water", "water", "water", "sand", "gravel", "leaves")
    struck = ("glass", "metal", "ceramic", "plastic", "water", "earth")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.7)))
        level = Level(rng, seconds, 0.4, 0.25, quick=True)
        begins = float(rng.uniform(0.2, 1.2)) * (rng.random() < 0.7)
        self.level = Level.of(np.where(Level.grid(seconds) < begins, 0.0, level.values)) if begins else level
        self.height = float(rng.uniform(0.45, 0.95))
        self.gravity = float(rng.uniform(12.0, 24.0))
        self.fall = math.sqrt(2 * self.height / self.gravity)
        self.stream = Emitter(rng, 200.0, self.fall, self.level)
        self.splash = Emitter(rng, 70.0, 0.25, Level.of(self._late(seconds)))
        self.colour, self.cup = tint(rng, self.source.striker), tint(rng, self.source.struck)
        self.can, self.dark = self.shades[1], (self.cup * 0.7).astype(np.uint8)
        self.width, self.tall = float(rng.uniform(0.18, 0.4)), float(rng.uniform(0.2, 0.5))
        self.grain, self.jug = float(rng.uniform(0.03, 0.07)), float(rng.uniform(0.5, 0.9))
        self.tremor = Wobble.random(rng, 0.008, 0.5, 3.0)
        self.dry = self.source.striker != "water"
        for start in self.level.onsets():
            lands = self.stream.first(start) + self.fall
            if 0 <= lands < seconds - 0.02:
                self.marks.append(Mark(lands, 0.45, (0.0, 0.0)))

    def _late(self, seconds: float) -> np.ndarray:
        return self.level.many(Level.grid(seconds) - self.fall)

    def activity(self, t: float) -> float:
        return self.level.at(t - self.fall)

    def draw(self, canvas: Canvas, t: float) -> None:
        w = self.width
        lip = point(self.tremor.at(t), -self.height)
        self._jug(canvas, lip, 0.45 + 0.65 * min(1.0, 2.5 * self.level.at(t)))
        ages, traits, level = self.stream.alive(t)
        spread = 0.12 if self.dry else 0.08
        x = lip[0] * (1 - ages / self.fall) + spread * (traits[:, 0] - 0.5) * (0.3 + 2.5 * level)
        y = lip[1] + 0.5 * self.gravity * ages**2
        a = np.stack([x, y], 1)
        tail = np.zeros_like(a) if self.dry else np.stack([0 * ages, 0.02 + 0.012 * self.gravity * ages], 1)
        canvas.streaks(a - tail, a, self.grain, self.colour)
        full = min(0.8, 0.15 + 0.12 * self.level.total(t - self.fall))
        canvas.poly(
            np.array([[-w, -0.05], [w, -0.05], [0.8 * w, self.tall], [-0.8 * w, self.tall]]), self.cup
        )
        canvas.box(-0.9 * w, self.tall * (0.9 - full), 0.9 * w, self.tall * 0.95, self.colour)
        ages, traits, level = self.splash.alive(t)
        up = (0.4 + 1.2 * traits[:, 1]) * (0.4 + level)
        x = (traits[:, 0] - 0.5) * (0.1 + 2.5 * ages)
        drops = np.stack([x, -up * ages + 0.5 * self.gravity * ages**2], 1)
        canvas.streaks(drops, drops, 0.7 * self.grain, self.colour)

    def _jug(self, canvas: Canvas, lip: np.ndarray, tilt: float) -> None:
        """A jug whose lip stays in place while it tilts by an angle, and the hand that holds it."""
        place = affine(lip[0], lip[1], self.jug, angle=-tilt)
        outline = np.array([[0.0, 0.0], [0.12, 0.12], [0.1, 0.9], [0.75, 0.9], [0.72, 0.03]])
        handle = np.array([[0.73, 0.2], [0.98, 0.25], [0.98, 0.6], [0.74, 0.7]])
        outline, handle = (c @ place[:, :2].T + place[:, 2] for c in (outline, handle))
        arm(
            canvas,
            handle[1] + point(0.7, 0.5),
            0.5 * (handle[1] + handle[2]),
            0.22,
            self.shades[2],
            self.skin,
        )
        canvas.line(handle, 0.06, self.dark)
        canvas.poly(outline, self.can)


class Rain(Program):
    """Rain that thickens and thins, with splashes on the ground, behind or in front of things."""

    metres, wide = 2.0, True
    strikers = ("water",)
    struck = ("concrete", "leaves", "metal", "water", "wood", "glass", "earth")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.9)
        self.level = Level(rng, seconds, 0.12, 0.08)
        self.speed, self.slant = float(rng.uniform(3.0, 9.0)), float(rng.uniform(-0.35, 0.35))
        self.fall = 2.4 / self.speed
        rate = float(rng.uniform(60, 160))
        self.drops = Emitter(rng, rate, self.fall, self.level)
        self.rings = Emitter(rng, 0.3 * rate, 0.3, Level.of(self.level.many(Level.grid(seconds) - self.fall)))
        self.colour = np.clip(tint(rng, "water").astype(int) + int(rng.integers(20, 110)), 0, 255)
        self.width, self.length = float(rng.uniform(0.012, 0.03)), float(rng.uniform(0.02, 0.05))
        self.horizon = float(rng.uniform(0.2, 0.8))
        self.ground = Sprite(rng, "box", skin=surface(rng, self.source.struck, 48))
        self.grounded = rng.random() < 0.6

    def activity(self, t: float) -> float:
        return self.level.at(t - 0.6 * self.fall)

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.grounded:
            canvas.sprite(self.ground, affine(0, self.horizon + 1.4, 2.5, 1.4))
        ages, traits, _ = self.rings.alive(t)
        spots = np.stack(
            [3.0 * traits[:, 0] - 1.5, self.horizon + 1.1 * (1 - self.horizon) * traits[:, 1]], 1
        )
        half = np.stack([0.02 + 0.25 * ages, 0 * ages], 1)
        canvas.streaks(spots - half, spots + half, 0.015, self.colour)
        ages, traits, _ = self.drops.alive(t)
        y = -1.2 + self.speed * ages * (0.8 + 0.4 * traits[:, 1])
        p = np.stack([3.2 * traits[:, 0] - 1.6 + self.slant * (y + 1.2), y], 1)
        step = self.length * self.speed * np.array([self.slant, 1.0])
        canvas.streaks(p, p + step, self.width, self.colour)


class Flow(Program):
    """Running water: a river or brook, a fountain, an open tap."""

    metres, upright = 1.0, True
    strikers = ("water",)
    struck = ("stone", "water", "metal", "ceramic")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.kind = pick(rng, "river", "fountain", "tap")
        super().__init__(rng, cast, {"river": 0.8, "fountain": 0.6, "tap": 0.2}[self.kind])
        self.metres = {"river": 4.0, "fountain": 2.0, "tap": 0.25}[self.kind]
        self.level = Level(rng, seconds, 0.3 if self.kind == "tap" else 0.1, 0.15)
        self.colour = tint(rng, "water")
        self.foam = np.clip(self.colour.astype(int) + int(rng.integers(50, 120)), 0, 255)
        self.rush = float(rng.uniform(1.0, 2.6))
        self.top = float(rng.uniform(0.7, 1.2))
        life = (
            math.sqrt(2 * 0.75 / _GRAVITY) if self.kind == "tap" else 2 * math.sqrt(2 * self.top / _GRAVITY)
        )
        self.fall = life if self.kind == "tap" else 0.5 * life
        self.drops = Emitter(rng, 110.0, life, self.level)
        self.lines = rng.random((46, 3))
        self.bend = rng.uniform(-0.3, 0.3, 2)

    def activity(self, t: float) -> float:
        return self.level.at(t - (0.0 if self.kind == "river" else self.fall))

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.kind == "river":
            self._river(canvas, t)
        elif self.kind == "fountain":
            self._fountain(canvas, t)
        else:
            self._tap(canvas, t)

    def _river(self, canvas: Canvas, t: float) -> None:
        x = np.linspace(-2.2, 2.2, 16)
        bank = self.bend[0] * np.sin(1.5 * x) + self.bend[1] * x
        band = np.concatenate([np.stack([x, bank - 0.45], 1), np.stack([x, bank + 0.55], 1)[::-1]])
        canvas.poly(band, self.colour)
        way = self.rush * self.level.total(t)
        at = (4.4 * self.lines[:, 0] + way * (0.7 + 0.6 * self.lines[:, 2])) % 4.4 - 2.2
        y = self.bend[0] * np.sin(1.5 * at) + self.bend[1] * at + 0.92 * self.lines[:, 1] - 0.4
        a = np.stack([at, y], 1)
        half = np.array([0.03 + 0.1 * self.level.at(t), 0.0])
        canvas.streaks(a[:30] - half, a[:30] + half, 0.025, self.foam)
        canvas.streaks(a[30:] - half, a[30:] + half, 0.03, (self.colour * 0.75).astype(np.uint8))

    def _fountain(self, canvas: Canvas, t: float) -> None:
        ages, traits, level = self.drops.alive(t)
        up = np.sqrt(2 * self.top * _GRAVITY * (0.25 + 0.75 * level)) * (0.85 + 0.15 * traits[:, 1])
        p = np.stack([(traits[:, 0] - 0.5) * 1.1 * ages, -up * ages + 0.5 * _GRAVITY * ages**2], 1)
        speed = np.stack([(traits[:, 0] - 0.5) * 1.1, -up + _GRAVITY * ages], 1)
        keep = p[:, 1] < 0.12
        canvas.streaks((p - 0.025 * speed)[keep], p[keep], 0.03, self.foam)
        canvas.disc(point(0, 0.18), 0.95, 0.16, self.shades[1])
        canvas.disc(point(0, 0.14), 0.85, 0.1, self.colour)
        canvas.bar(point(0, 0.0), point(0, 0.18), 0.1, self.shades[2])

    def _tap(self, canvas: Canvas, t: float) -> None:
        canvas.poly(np.array([[-1, 0.32], [1, 0.32], [0.8, 0.8], [-0.8, 0.8]]), self.shades[3])
        metal = np.array([175, 180, 188])
        canvas.bar(point(-0.9, -0.55), point(0.04, -0.55), 0.16, metal)
        canvas.bar(point(0, -0.6), point(0, -0.38), 0.14, metal)
        turn = 1.5 * self.level.at(t)
        canvas.bar(point(-0.3, -0.62), point(-0.3, -0.75), 0.08, metal)
        canvas.bar(
            point(-0.3, -0.75) - 0.2 * direction(turn),
            point(-0.3, -0.75) + 0.2 * direction(turn),
            0.07,
            metal,
        )
        ages, traits, level = self.drops.alive(t)
        p = np.stack([0.1 * (traits[:, 0] - 0.5) * (0.3 + level), -0.38 + 0.5 * _GRAVITY * ages**2], 1)
        canvas.streaks(p - np.stack([0 * ages, 0.02 + 0.1 * ages], 1), p, 0.04, self.foam)
        now = self.activity(t)
        if now > 0.02:
            shake = 0.2 * math.sin(37 * t)
            canvas.disc(
                point(0.03 * shake, 0.4), (0.15 + 0.4 * now) * (1 + shake), 0.04 + 0.06 * now, self.foam
            )


class Bubbles(Program):
    """Bubbles that rise in a tank, a glass or a boiling pot."""

    metres, upright = 0.3, True
    strikers = ("water",)
    struck = ("glass", "metal", "")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.6)))
        self.level = Level(rng, seconds, 0.2, 0.1)
        self.speed, self.depth = float(rng.uniform(0.7, 2.2)), float(rng.uniform(0.6, 1.0))
        self.rise = 2 * self.depth / self.speed
        self.emitter = Emitter(rng, float(rng.uniform(20, 45)) / self.rise, self.rise, self.level)
        self.half, self.size = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.02, 0.07))
        self.water = tint(rng, "water")
        self.pale = np.clip(self.water.astype(int) + 90, 0, 255)
        self.jar = self.shades[0]

    def activity(self, t: float) -> float:
        return self.level.at(t - 0.7 * self.rise)

    def draw(self, canvas: Canvas, t: float) -> None:
        d, h = self.depth, self.half
        canvas.box(-h - 0.06, -d - 0.12, h + 0.06, d + 0.08, self.jar)
        canvas.box(-h, -d, h, d, self.water)
        ages, traits, _ = self.emitter.alive(t)
        y = d - self.speed * ages * (0.85 + 0.3 * traits[:, 1])
        sway = 0.04 * np.sin(9 * ages + 6 * traits[:, 2])
        p = np.stack([1.8 * h * (traits[:, 0] - 0.5) + sway, y], 1)[y > -d]
        big = (traits[:, 3] > 0.5)[y > -d]
        canvas.streaks(p[big], p[big], 2 * self.size, self.pale)
        canvas.streaks(p[~big], p[~big], self.size, self.pale)
        swell = 0.03 * self.activity(t) * np.sin(np.linspace(0, 15, 14) + 20 * t)
        x = np.linspace(-h, h, 14)
        canvas.line(np.stack([x, -d + swell], 1), 0.04, self.pale)


class Steam(Program):
    """Steam or smoke from a kettle, a pipe or a vent: puffs that rise, spread and fade."""

    metres, upright = 0.5, True
    struck = ("metal", "metal", "ceramic")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.2, 0.7)))
        self.level = Level(rng, seconds, 0.25, 0.12)
        self.speed, self.aim = float(rng.uniform(1.0, 2.4)), float(rng.uniform(-2.6, -0.5))
        self.emitter = Emitter(rng, 34.0, 0.6, self.level)
        self.puff = Sprite.glow(rng, (int(g := rng.uniform(170, 255)), int(g), int(g)))
        self.pot, self.kettle = (
            Sprite(rng, pick(rng, "disc", "box"), skin=surface(rng, "metal", 48)),
            rng.random() < 0.6,
        )
        self.rattle = 0.02 * (rng.random() < 0.5)

    def activity(self, t: float) -> float:
        return self.level.at(t - 0.25)

    def draw(self, canvas: Canvas, t: float) -> None:
        spout = point(0, 0)
        if self.kettle:
            lid = self.rattle * self.activity(t) * abs(math.sin(60 * t))
            canvas.bar(point(-0.6, 0.35), spout, 0.14, self.shades[0], 0.6)
            canvas.sprite(self.pot, affine(-0.7, 0.35, 0.42, 0.38))
            canvas.disc(point(-0.7, -0.02 - lid), 0.22, 0.07, self.shades[1])
            canvas.disc(point(-0.7, -0.1 - lid), 0.06, 0.06, self.shades[2])
        else:
            canvas.bar(spout - 1.4 * direction(self.aim), spout, 0.22, self.shades[0])
            canvas.bar(spout - 0.15 * direction(self.aim), spout, 0.3, self.shades[1])
        ages, traits, level = self.emitter.alive(t)
        for age, trait, now in zip(ages[::-1], traits[::-1], level[::-1], strict=True):
            reach = self.speed * (0.3 + 0.7 * now) * (1 - math.exp(-2.5 * age)) / 2.5
            p = (
                spout
                + reach * direction(self.aim + 0.5 * (trait[0] - 0.5)) * (0.8 + 0.4 * trait[1])
                - point(0, 0.35 * age * age)
            )
            r = 0.06 + 0.5 * age * (0.5 + 0.5 * now)
            canvas.sprite(self.puff, affine(p[0], p[1], r, r), (0.2 + 0.6 * now) * (1 - age / 0.6))

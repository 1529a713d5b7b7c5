"""Drawn streams that fill a place: waves, wind in leaves and cloth, flames, crowds, and views at rest.

Speeds follow the integral of the level and sizes the level itself, so how loud it is can be read from the
picture.
"""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Point, Sprite, affine, direction, point
from edgefoley.train.scenes.look import palette, surface, tint
from edgefoley.train.scenes.motion import Rng, Wobble, pick
from edgefoley.train.scenes.program import Cast, Emitter, Level, Program


class Waves(Program):
    """A sea or lake: swells that travel, crests that foam, a shore that they run up."""

    metres, wide = 4.0, True
    strikers = ("water",)
    struck = ("sand", "stone", "water", "wood")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.9)
        self.level = Level(rng, seconds, 0.05, 0.1)
        colour = tint(rng, "water").astype(float)
        self.rows = int(rng.integers(4, 8))
        gains = np.linspace(1.25, 0.6, self.rows)
        self.colours = [np.clip(colour * g, 0, 255).astype(np.uint8) for g in gains]
        self.foam, self.horizon = np.clip(colour + 110, 0, 255), float(rng.uniform(-0.6, 0.1))
        self.rate, self.speed = rng.uniform(2.0, 5.0, self.rows), rng.uniform(3.0, 7.0, self.rows)
        self.phase = rng.uniform(0, 6, self.rows)
        self.shore = rng.random() < 0.5
        self.sand = tint(rng, "sand")

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        a, way, x = self.level.at(t), self.level.total(t), np.linspace(-2, 2, 26)
        for k, colour in enumerate(self.colours):
            depth = (k + 1) / self.rows
            base = self.horizon + (1.2 - self.horizon) * (k / self.rows) ** 1.4
            crest = np.sin(self.rate[k] * x / (0.4 + depth) + self.speed[k] * way + self.phase[k])
            height = depth * (0.04 + 0.2 * a)
            y = base - height * (1 - np.abs(crest) * 1.6) * 0.6
            canvas.poly(np.concatenate([np.stack([x, y], 1), [[2, 3], [-2, 3]]]), colour)
            tops = np.stack([x, y], 1)[np.abs(crest) < 0.45 * a]
            canvas.line(np.stack([x, y], 1), 0.01, (0.6 * colour + 0.4 * self.foam).astype(np.uint8))
            canvas.streaks(tops - point(0.04, 0), tops + point(0.06, 0.02), 0.05 * depth + 0.01, self.foam)
        if self.shore:
            reach = 0.75 - 0.25 * a * math.sin(4 * way)
            y = reach + 0.06 * np.sin(3 * x + 2 * way)
            canvas.poly(np.concatenate([np.stack([x, y], 1), [[2, 3], [-2, 3]]]), self.sand)
            canvas.line(np.stack([x, y], 1), 0.03 + 0.05 * a, self.foam)


class Wind(Program):
    """Wind made visible: grass, a tree's leaves, a flag or washing, leaves that fly."""

    metres, wide = 1.5, True
    strikers = ("leaves", "grass", "cloth")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.8)
        fits = {"leaves": "tree", "grass": "grass", "cloth": "flag"}
        self.kind = fits.get(self.source.striker, pick(rng, "tree", "grass", "flag"))
        self.level = Level(rng, seconds, 0.1, 0.06)
        self.colour = tint(rng, self.source.striker if self.kind != "tree" else pick(rng, "grass", "leaves"))
        self.second = np.clip(self.colour.astype(int) + rng.integers(-50, 50, 3), 0, 255)
        self.roots = np.stack([rng.uniform(-1.6, 1.6, 70), rng.uniform(0.3, 1.3, 70)], 1)
        self.roots = self.roots[np.argsort(self.roots[:, 1])]
        self.tall, self.phase = rng.uniform(0.4, 1.1, 70), rng.uniform(0, 6.3, 70)
        spread = rng.normal(0, 1, (70, 2))
        self.leaves = 0.65 * spread / (1 + 0.4 * np.hypot(*spread.T)[:, None]) - point(0, 0.4)
        self.rate, self.flyers = float(rng.uniform(8, 16)), Emitter(rng, 9.0, 1.4, self.level)

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        a, way = self.level.at(t), self.level.total(t)
        sway = a * (0.5 + 0.5 * np.sin(self.rate * way + self.phase))
        if self.kind == "grass":
            for shade, part in ((self.colour, slice(0, 70, 2)), (self.second, slice(1, 70, 2))):
                foot, tall = self.roots[part], self.tall[part, None]
                mid = foot + tall * np.stack([0.3 * sway[part], 0 * sway[part] - 0.5], 1)
                top = foot + tall * np.stack([1.1 * sway[part], 0.45 * sway[part] - 1.0], 1)
                canvas.streaks(foot, mid, 0.07, shade)
                canvas.streaks(mid, top, 0.04, shade)
        elif self.kind == "tree":
            lean = point(0.15 * a * math.sin(0.3 * self.rate * way), 0)
            canvas.bar(point(0, 1.4), 0.6 * lean + point(0, -0.3), 0.2, self.shades[0], 0.4)
            shift = np.stack(
                [0.16 * sway + 0.05 * a, 0.09 * a * np.cos(1.3 * self.rate * way + 2 * self.phase)], 1
            )
            p = self.leaves + lean + shift
            canvas.streaks(p[::2], p[::2], 0.26, self.colour)
            canvas.streaks(p[1::2], p[1::2], 0.17, self.second)
        else:
            self._flag(canvas, a, way)
        ages, traits, now = self.flyers.alive(t)
        x = -1.7 + 3.2 * ages * (0.5 + now)
        p = np.stack([x, 2 * traits[:, 0] - 1 + 0.2 * np.sin(6 * ages + 6 * traits[:, 1])], 1)
        canvas.streaks(p, p + 0.03, 0.05, self.second)

    def _flag(self, canvas: Canvas, a: float, way: float) -> None:
        canvas.bar(point(-0.8, -1.0), point(-0.8, 1.5), 0.07, self.shades[1])
        u = np.linspace(0, 1, 16)
        droop = 1.2 * (1 - a) ** 2
        wave = (0.03 + 0.15 * a) * u * np.sin(7 * u - self.rate * way)
        top = np.stack([-0.8 + 1.5 * u * math.cos(droop), -0.9 + wave + 1.5 * u * math.sin(droop)], 1)
        shades: list[np.ndarray] = [self.colour, self.second, self.colour]
        for k, shade in enumerate(shades):
            low, high = (np.array([0.02 * k * wave, wave * 0.2 + 0.28 * j + 0 * u]).T for j in (k, k + 1))
            canvas.poly(np.concatenate([top + low, (top + high)[::-1]]), shade)


class Flames(Program):
    """A camp fire, torch or stove: tongues that flicker and leap, a glow, sparks."""

    metres, upright = 0.6, True
    struck = ("wood", "wood", "leaves", "paper", "metal")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.2, 0.9)))
        self.level = Level(rng, seconds, 0.06, 0.12)
        self.count = int(rng.integers(4, 8))
        self.flicker = [Wobble.random(rng, 0.35, 1.5, 7.0) for _ in range(self.count)]
        self.lean = [Wobble.random(rng, 0.3, 1.0, 5.0) for _ in range(self.count)]
        self.half = float(rng.uniform(0.25, 0.8))
        self.layers = [
            (np.array([215, 60, 15]), 1.0),
            (np.array([250, 140, 20]), 0.7),
            (np.array([255, 230, 110]), 0.4),
        ]
        self.glow = Sprite.glow(rng, (255, 150, 50))
        self.sparks = Emitter(rng, 22.0, 0.9, self.level)
        self.logs = rng.uniform(-0.5, 0.5, (3, 2))

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        a = self.level.at(t)
        r = 0.5 + 0.9 * a
        canvas.sprite(
            self.glow, affine(0, -0.4 * a, r, r), min(0.8, 0.5 * a * (1 + 0.3 * self.flicker[0].at(t)))
        )
        for x, tilt in self.logs:
            end = 0.6 * direction(0.5 * tilt) * (1 if x > 0 else -1)
            canvas.bar(point(0.4 * x, 0.12) - end, point(0.4 * x, 0.12) + end, 0.16, self.shades[0] // 2)
        if a < 0.01:
            return
        for colour, share in self.layers:
            for k in range(self.count):
                tall = share * a * 1.3 * max(0.15, 0.75 + self.flicker[k].at(t * (0.6 + a)))
                foot = point(self.half * ((k + 0.5) / self.count * 2 - 1), 0.1)
                half = share * 1.6 * self.half / self.count + 0.03
                tip = foot + point(0.4 * tall * self.lean[k].at(t), -tall)
                belly = 0.45 * tall
                sides = np.array([[0.7, 0.0], [1.0, -0.6 * belly]]) * (half, 1.0)
                outline = np.stack([*(foot + sides * (-1, 1)), tip, *(foot + sides)[::-1]])
                canvas.poly(outline, colour)
        ages, traits, now = self.sparks.alive(t)
        p = np.stack(
            [self.half * (2 * traits[:, 0] - 1) + 0.1 * np.sin(9 * ages), -0.3 - (0.8 + now) * ages], 1
        )
        canvas.streaks(p, p, 0.03, np.array([255, 190, 80]))


class Crowd(Program):
    """Rows of heads that bob, sway, raise arms and jump the more the louder they are."""

    metres, wide = 3.0, True
    strikers = ("", "", "flesh")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.9)
        self.level = Level(rng, seconds, 0.12, 0.1)
        rows = int(rng.integers(2, 5))
        each = int(rng.integers(5, 10))
        count = rows * each
        row = np.repeat(np.arange(rows), each)
        x = (np.tile(np.arange(each), rows) + 0.5 * (row % 2) + 0.5) / each * 3.4 - 1.7
        self.size = (0.9 + 0.25 * row / rows) * 0.55 / math.sqrt(count / 8)
        self.home = np.stack(
            [x + rng.normal(0, 0.05, count), -0.5 + 1.2 * row / rows + rng.normal(0, 0.05, count)], 1
        )
        self.rate, self.phase = rng.uniform(7, 15, count), rng.uniform(0, 6.3, count)
        self.eager = rng.random(count)
        self.skins = np.stack([tint(rng, "flesh") for _ in range(count)])
        self.shirts = palette(rng, 12)[rng.integers(0, 12, count)]
        self.hair = palette(rng, 6)[rng.integers(0, 6, count)] // 2
        self.unison = rng.random() < 0.3

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        a, way = self.level.at(t), self.level.total(t)
        beat = np.sin((10 * way if self.unison else self.rate * way) + self.phase * (not self.unison))
        hop = self.size * 0.7 * a * np.abs(beat) * (0.3 + self.eager)
        for i, home in enumerate(self.home):
            r = self.size[i]
            p = home + point(0.25 * r * a * math.sin(0.5 * self.rate[i] * way), -hop[i])
            canvas.box(p[0] - 0.9 * r, p[1] + 0.9 * r, p[0] + 0.9 * r, p[1] + 4.0 * r, self.shirts[i])
            if self.eager[i] < a - 0.25:
                self._arms(canvas, p, r, 0.5 * float(beat[i]), i)
            canvas.disc(p, 0.75 * r, 0.95 * r, self.skins[i])
            canvas.disc(p - point(0, 0.5 * r), 0.75 * r, 0.55 * r, self.hair[i])

    def _arms(self, canvas: Canvas, p: Point, r: float, wave: float, i: int) -> None:
        for side in (-1.0, 1.0):
            hand = p + r * point(side * (1.1 + wave), -1.5 - 0.3 * side * wave)
            canvas.bar(p + r * point(0.8 * side, 1.2), hand, 0.4 * r, self.skins[i], 0.7)


class Ambience(Program):
    """A view in which nothing that sounds moves: a room, a machine, a stand of trees; the sound is steady."""

    wide = True

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, 0.7)
        self.value = float(rng.uniform(0.15, 0.9))
        materials = [
            pick(rng, "", "wood", "metal", "stone", "leaves", "concrete", "plastic")
            for _ in range(int(rng.integers(0, 6)))
        ]
        self.things = [Sprite(rng, "any", skin=surface(rng, m, 48)) for m in materials]
        self.homes = [
            affine(x, y, rx, ry)
            for x, y, rx, ry in rng.uniform((-1, -1, 0.1, 0.1), (1, 1, 0.6, 0.6), (len(materials), 4))
        ]

    def activity(self, t: float) -> float:
        return self.value

    def draw(self, canvas: Canvas, t: float) -> None:
        for sprite, home in zip(self.things, self.homes, strict=True):
            canvas.sprite(sprite, home)

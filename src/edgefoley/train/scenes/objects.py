"""Drawn things that are used: keys, doors and drawers, rattles, wings and cloth, what rolls and slides."""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Sprite, affine, point
from edgefoley.train.scenes.look import palette, surface
from edgefoley.train.scenes.motion import Mark, Rng, pick, rhythm, smoothstep
from edgefoley.train.scenes.program import Cast, Level, Program, arm


class Keys(Program):
    """Fingers on a keyboard, a piano or buttons; a key goes down and a finger with it."""

    metres = 0.25
    strikers = ("flesh",)
    struck = ("plastic", "plastic", "wood", "metal")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.5)))
        self.piano = rng.random() < 0.45
        self.count = int(rng.integers(8, 13)) if self.piano else int(rng.integers(6, 11))
        times = rhythm(rng, seconds)
        if rng.random() < 0.5:  # typing and runs are denser than beating
            extra = [t + d for t in times for d in (0.11, 0.24) if rng.random() < 0.5]
            times = sorted(t for t in times + extra if t < seconds - 0.03)
            times = [t for i, t in enumerate(times) if i == 0 or t - times[i - 1] > 0.07]
        self.rows = 1 if self.piano else 3
        steps = np.cumsum(rng.integers(-2, 3, len(times))) + self.count // 2
        self.hits = [
            (t, int(k) % self.count, int(rng.integers(self.rows))) for t, k in zip(times, steps, strict=True)
        ]
        self.marks = [Mark(t, float(rng.uniform(0.2, 0.8)), self._tip(k, r)) for t, k, r in self.hits]
        self.board, self.cap = self.shades[0], np.array([240, 238, 230]) if self.piano else self.shades[1]
        self.down, self.lift = float(rng.uniform(0.04, 0.09)), float(rng.uniform(0.1, 0.3))

    def _tip(self, key: int, row: int) -> tuple[float, float]:
        return (key + 0.5) / self.count * 2 - 1, 0.2 if self.piano else -0.25 + 0.25 * row

    def _press(self, t: float, hit: float) -> float:
        """0 up, 1 at the bottom at the instant of the hit, released within a fifth of a second."""
        return smoothstep((t - hit) / 0.05 + 1) if t < hit else 1 - smoothstep((t - hit - 0.06) / 0.1)

    def draw(self, canvas: Canvas, t: float) -> None:
        pressed = {
            (k, r): p for hit, k, r in self.hits if abs(t - hit) < 0.3 and (p := self._press(t, hit)) > 0
        }
        canvas.box(-1.1, -0.65, 1.1, 0.75, self.board)
        wide = 2.0 / self.count
        for row in range(self.rows):
            for k in range(self.count):
                p = pressed.get((k, row), 0.0)
                x, y = self._tip(k, row)
                tall = 0.55 if self.piano else 0.1
                y0 = y - (0.6 if self.piano else 0.1) + self.down * p
                colour = np.clip(self.cap * (1 - 0.35 * p), 0, 255)
                canvas.box(
                    x - 0.45 * wide, y0, x + 0.45 * wide, y0 + tall + (0.3 if self.piano else 0.1), colour
                )
        if self.piano:
            for k in range(self.count - 1):
                if k % 7 not in (2, 6):
                    x = (k + 1) / self.count * 2 - 1
                    canvas.box(x - 0.25 * wide, -0.45, x + 0.25 * wide, 0.0, np.array([20, 20, 22]))
        self._hand(canvas, t)

    def _hand(self, canvas: Canvas, t: float) -> None:
        if not self.hits:
            return
        times = [h[0] for h in self.hits]
        j = int(np.searchsorted(times, t))
        last, after = self.hits[max(0, j - 1)], self.hits[min(j, len(times) - 1)]
        span = max(1e-6, after[0] - last[0])
        w = smoothstep((t - last[0] - 0.06) / max(0.02, span - 0.1)) if j else 1.0
        a, b = np.array(self._tip(*last[1:])), np.array(self._tip(*after[1:]))
        press = max(self._press(t, last[0]) if j else 0.0, self._press(t, after[0]))
        tip = a + w * (b - a) - point(0, self.lift * (1 - press) - self.down * press * 0.5)
        knuckle = tip + point(0.12, 0.42 + 0.3 * self.lift * (1 - press))
        arm(canvas, knuckle + point(0.35, 1.2), knuckle + point(0.08, 0.1), 0.4, self.shades[2], self.skin)
        for k in (-1, 1, 2):
            canvas.bar(
                knuckle + point(0.1 * k, 0),
                knuckle + point(0.13 * k, -0.32 - 0.1 * self.lift),
                0.1,
                self.skin,
            )
        canvas.bar(knuckle, tip, 0.12, (self.skin * 0.9).astype(np.uint8), 0.8)


class Door(Program):
    """A door that swings or a drawer that is pulled: it moves with a soft noise and shuts with a bang."""

    metres, upright = 1.0, True
    struck = ("wood", "wood", "metal", "glass", "plastic")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.drawer = cast.action == "drawer"
        super().__init__(rng, cast, float(rng.uniform(0.3, 1.0)))
        self.metres = 0.5 if self.drawer else 1.0
        self.moves: list[tuple[float, float, bool]] = []  # start, end, whether it shuts
        t, shut = float(rng.uniform(0.1, 0.8)), rng.random() < 0.5
        self.starts_open = shut
        while t < seconds:
            span = float(rng.uniform(0.15, 0.5)) if shut else float(rng.uniform(0.3, 1.3))
            self.moves.append((t, t + span, shut))
            t += span + float(rng.uniform(0.25, 1.3))
            shut = not shut
        self.half, self.tall = float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.8, 1.1))
        self.panel = Sprite(rng, "box", skin=surface(rng, self.source.struck, 48))
        self.frame, self.dark = self.shades[0], (self.shades[1] // 4).astype(np.uint8)
        self.hand = rng.random() < 0.6
        spot = (0.0, 0.3) if self.drawer else (self.half, 0.0)
        for start, end, closes in self.moves:
            speed = min(1.0, 0.2 / (end - start) + 0.2)
            if closes and end < seconds:
                self.marks.append(Mark(end, speed, spot))
            elif not closes and start < seconds:
                self.marks.append(Mark(start, 0.2, spot))
        self.marks.sort(key=lambda m: m.time_s)

    def opening(self, t: float) -> float:
        """0 shut .. 1 open; it shuts at full speed and opens softly."""
        value = 1.0 if self.starts_open else 0.0
        for start, end, closes in self.moves:
            if t < start:
                break
            u = min(1.0, (t - start) / (end - start))
            value = 1 - u**1.7 if closes else u * (2 - u)
        return value

    def activity(self, t: float) -> float:
        return min(1.0, 0.25 * abs(self.opening(t + 0.01) - self.opening(t - 0.01)) / 0.02)

    def draw(self, canvas: Canvas, t: float) -> None:
        w, h, o = self.half, self.tall, self.opening(t)
        if self.drawer:
            canvas.box(-w - 0.15, -0.6, w + 0.15, 0.95, self.frame)
            for y in (-0.3, 0.3, 0.7):
                pull = 0.32 * o if y == 0.3 else 0.0
                if pull:
                    canvas.box(-w, y - 0.16, w, y + 0.16 + pull, self.dark)
                canvas.sprite(self.panel, affine(0, y + pull, w * (1 + 0.25 * pull), 0.17 * (1 + 0.4 * pull)))
                canvas.box(-0.15, y + pull - 0.03, 0.15, y + pull + 0.03, self.shades[3])
            grip = point(0, 0.3 + 0.32 * o)
        else:
            canvas.box(-w - 0.12, -h - 0.12, w + 0.12, h, self.frame)
            canvas.box(-w, -h, w, h, self.dark)
            angle = 1.45 * o
            edge = -w + 2 * w * math.cos(angle)
            flare = 0.25 * math.sin(angle)  # the free edge comes towards the camera
            corners = np.array([[-w, -h], [edge, -h - flare], [edge, h + flare], [-w, h]])
            tone = self.panel.premultiplied[24, 24]
            canvas.poly(corners, tone, 1.0 - 0.35 * o)
            for y in (-0.55, 0.1):
                inner = np.array([[0.15, y], [0.8, y], [0.8, y + 0.5], [0.15, y + 0.5]]) * (edge + w, h) + (
                    -w,
                    0,
                )
                canvas.poly(inner, tone, 0.75 - 0.3 * o)
            grip = point(-w + 0.88 * (edge + w), 0.05)
            canvas.disc(grip, 0.06, 0.05, self.shades[3])
        if self.hand:
            arm(canvas, grip + point(0.5, 1.0), grip, 0.25, self.shades[2], self.skin)


class Shake(Program):
    """A held rattle, box or bottle that is shaken; each reversal sounds."""

    metres = 0.4
    strikers = ("sand", "plastic", "metal", "wood", "water", "paper")
    struck = ("plastic", "wood", "metal", "glass", "paper")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.6)))
        self.level = Level(rng, seconds, 0.4, 0.3)
        self.rate, self.reach = float(rng.uniform(2.0, 4.5)), float(rng.uniform(0.15, 0.45))
        self.aim, self.turn = float(rng.uniform(-0.6, 0.6)), float(rng.uniform(0.2, 1.0))
        self.box = Sprite(rng, pick(rng, "box", "disc", "blob"), skin=surface(rng, self.source.struck, 48))
        self.rx, self.ry = rng.uniform(0.15, 0.4, 2)
        k = 1  # reversals: rate * total(t) passes a whole number plus a half, halves apart
        fine = np.arange(0.0, seconds, 0.002)
        swings = np.array([2 * self.rate * self.level.total(float(t)) for t in fine]) - 0.5
        for k in range(math.ceil(swings[0]), math.floor(swings[-1]) + 1):
            t = float(np.interp(k, swings, fine))
            now = self.level.at(t)
            if now > 0.05 and t < seconds - 0.02:
                self.marks.append(Mark(t, float(np.clip(now, 0.1, 1.0)), self._spot(t)))

    def _swing(self, t: float) -> float:
        return math.sin(2 * math.pi * self.rate * self.level.total(t))

    def _spot(self, t: float) -> tuple[float, float]:
        x = self.reach * self._swing(t)
        return x * math.sin(self.aim), -x * math.cos(self.aim)

    def activity(self, t: float) -> float:
        return 0.6 * self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        p = point(*self._spot(t))
        angle = self.turn * self._swing(t) * 0.6
        grip = p + self.ry * point(-math.sin(angle), math.cos(angle))
        canvas.sprite(self.box, affine(p[0], p[1], self.rx, self.ry, angle))
        arm(canvas, point(0.5, 1.5), grip, 0.28, self.shades[0], self.skin)
        for k in range(3):
            canvas.bar(grip + point(-0.12, -0.08 * k), grip + point(0.12, -0.08 * k), 0.07, self.skin)


class Flap(Program):
    """Wings that beat, or a cloth that is shaken out: each downstroke sounds."""

    metres, upright = 0.5, True
    strikers = ("", "cloth", "paper", "leaves")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.6)))
        self.wings = self.source.striker not in ("cloth", "paper")
        self.level = Level(rng, seconds, 0.35, 0.4)
        self.rate = float(rng.uniform(2.0, 6.0)) if self.wings else float(rng.uniform(1.2, 2.5))
        self.body, self.colour = Sprite(rng, "disc"), palette(rng, 1)[0]
        self.path = float(rng.uniform(0.1, 0.5))
        fine = np.arange(0.0, seconds, 0.002)
        beats = np.array([self.rate * self.level.total(float(t)) for t in fine])
        for k in range(math.ceil(beats[0]), math.floor(beats[-1]) + 1):
            t = float(np.interp(k, beats, fine))
            if self.level.at(t) > 0.1:
                x, y = self._home(t) if self.wings else (0.0, 0.0)
                self.marks.append(
                    Mark(t, float(np.clip(0.8 * self.level.at(t), 0.1, 1)), (float(x), float(y)))
                )

    def _home(self, t: float) -> np.ndarray:
        way = self.level.total(t)
        return point(self.path * math.sin(1.3 * way), 0.5 * self.path * math.cos(1.7 * way))

    def activity(self, t: float) -> float:
        return 0.7 * self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        beat = 2 * math.pi * self.rate * self.level.total(t)
        stroke = math.cos(beat + 0.5 * math.pi) if self.level.at(t) > 0 else 0.4
        home = self._home(t)
        if not self.wings:
            self._cloth(canvas, beat)
            return
        for side in (-1.0, 1.0):
            elbow = home + point(side * 0.45, -0.45 * stroke)
            tip = home + point(side * 0.95, -0.8 * stroke + 0.12)
            wing = [
                home - point(0.12, 0.05),
                elbow - point(0, 0.1),
                tip,
                elbow + point(0, 0.22),
                home + point(0.12, 0.12),
            ]
            canvas.poly(np.stack(wing), self.colour if side > 0 else (self.colour * 0.8).astype(np.uint8))
        canvas.sprite(self.body, affine(home[0], home[1], 0.16, 0.28))
        canvas.disc(home + point(0, -0.3), 0.12, 0.12, self.shades[0])
        canvas.poly(home + np.array([[-0.04, -0.3], [0.04, -0.3], [0, -0.2]]), np.array([230, 170, 50]))

    def _cloth(self, canvas: Canvas, beat: float) -> None:
        u = np.linspace(0, 1, 12)
        wave = 0.35 * np.sin(beat - 4 * u) * u
        left = np.stack([-0.6 + 0.1 * wave, -0.6 + 1.3 * u - 0.3 * np.abs(wave)], 1)
        right = np.stack([0.6 + wave, -0.6 + 1.3 * u - 0.3 * np.abs(wave)], 1)
        canvas.poly(np.concatenate([left, right[::-1]]), self.colour)
        for k in (0.25, 0.5, 0.75):
            canvas.line(left * (1 - k) + right * k, 0.03, (self.colour * 0.7).astype(np.uint8))
        lift = 0.15 * math.sin(beat)
        for side, x in ((-1.0, -0.6), (1.0, 0.6)):
            arm(canvas, point(x + 0.5 * side, 0.6), point(x, -0.6 + lift), 0.22, self.shades[1], self.skin)


class Travel(Program):
    """A wheel or ball that rolls over bumps, or a box that is pushed along: loud while it moves."""

    metres, upright = 0.6, True
    strikers = ("wood", "metal", "plastic", "rubber", "stone", "glass")
    struck = ("wood", "concrete", "stone", "metal", "gravel", "ice")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.1, 0.9)))
        self.rolls = cast.action == "roll"
        self.level = Level(rng, seconds, 0.3, 0.2)
        self.pace, self.radius = float(rng.uniform(0.8, 2.0)), 0.12 + 0.25 * self.source.size
        self.body = Sprite(rng, "disc" if self.rolls else "box", skin=surface(rng, self.source.striker, 48))
        self.floor = Sprite(rng, "box", 64, surface(rng, self.source.struck, 64))
        self.joints = 2.0 / int(rng.integers(2, 6))  # between ridges of the floor
        fine = np.arange(0.0, seconds, 0.004)
        way = np.array([self._x(float(t)) for t in fine]) / self.joints
        for k in range(math.ceil(way[0]), math.floor(way[-1]) + 1):
            t = float(np.interp(k, way, fine))
            if self.rolls and self.level.at(t) > 0.05:
                spot = ((self._x(t) + 1.0) % 2.0 - 1.0, 0.0)
                self.marks.append(Mark(t, float(0.15 + 0.4 * self.level.at(t)), spot))

    def _x(self, t: float) -> float:
        return self.pace * self.level.total(t)

    def activity(self, t: float) -> float:
        return self.level.at(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        canvas.sprite(self.floor, affine(0, 1.0, 1.6, 1.0))
        way, r = self._x(t), self.radius
        ridges = self.joints * np.arange(math.ceil(-1 / self.joints), math.ceil(1 / self.joints))
        for x in ridges if self.rolls else ():
            canvas.bar(point(x, 0.02), point(x, 0.3), 0.03, self.shades[0])
        x = (way + 1.0) % 2.0 - 1.0
        if self.rolls:
            canvas.sprite(self.body, affine(x, -r, r, r, way / r))
            canvas.bar(
                point(x, -r),
                point(x, -r) + 0.9 * r * point(math.cos(way / r), math.sin(way / r)),
                0.3 * r,
                self.shades[1],
            )
        else:
            rattle = 0.012 * self.level.at(t) * math.sin(60 * t)
            canvas.sprite(self.body, affine(x, -r + rattle, 1.3 * r, r))
            grip = point(x - 1.3 * r, -1.1 * r)
            arm(canvas, grip + point(-0.9, -0.6), grip, 0.24, self.shades[2], self.skin)

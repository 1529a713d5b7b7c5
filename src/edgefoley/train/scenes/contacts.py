"""Scenes of bodies that meet: striking, scraping, falling, colliding; each with exact events and a draw call
for any instant.

The action is centred on the world origin and about one unit large; the shot's placement puts it into the
picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.draw import Canvas, Sprite, affine, chain
from edgefoley.train.scenes.motion import Bounce, Event, Rng, Strikes, Strokes, Wobble, pick, smoothstep

Point = NDArray[np.float64]


def point(x: float, y: float) -> Point:
    """A world position (2,)."""
    return np.array([x, y], np.float64)


def direction(angle: float) -> Point:
    """Unit vector; angle 0 points right, positive turns down."""
    return np.array([math.cos(angle), math.sin(angle)])


class Program:
    """An action: `events` in time order, `draw` for any instant, `activity` 0..1 for continuous sound."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def draw(self, canvas: Canvas, t: float) -> None:
        """Draw the action at time t."""
        raise NotImplementedError

    def activity(self, t: float) -> float:
        """Loudness 0..1 of the continuous sound at time t."""
        return 0.0

    def scroll(self, t: float) -> float:
        """How far the background has moved left under a camera that follows the action."""
        return 0.0


class Spray:
    """Chips that fly off at each contact, under gravity."""

    def __init__(self, rng: Rng, count: int) -> None:
        self.speed = rng.uniform(0.4, 2.5, count)
        self.angle = rng.uniform(-math.pi, 0, count)
        self.size = rng.uniform(0.01, 0.05, count)
        self.shade = rng.integers(0, 256, count)
        self.life = float(rng.uniform(0.15, 0.5))

    def draw(self, canvas: Canvas, origin: Point, u: float) -> None:
        """Draw the chips `u` seconds after the contact at `origin`."""
        if 0.0 <= u < self.life:
            for v, a, r, shade in zip(self.speed, self.angle, self.size, self.shade, strict=True):
                p = origin + v * u * direction(a) + point(0, 3.0 * u * u)
                canvas.disc(p, r, r, shade)


class Impact(Program):
    """A tool, hand or stick that swings at one or several objects; see Strikes for its motion."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.strikes = Strikes(rng, seconds)
        self.events = [
            Event(t, s, "impact") for t, s in zip(self.strikes.times, self.strikes.strengths, strict=True)
        ]
        self.style = pick(rng, "stick", "stick", "hammer", "knife", "hand", "depth", "clap")
        spots = int(rng.integers(1, 4))
        self.objects = [
            point(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.15, 0.15))) for _ in range(spots)
        ]
        stay = rng.random() < 0.6
        choice = rng.integers(0, 1 if stay else spots, len(self.events) + 2)
        wander = float(rng.uniform(0, 0.12))
        self.targets = [self.objects[c] + rng.normal(0, wander, 2) * (1, 0.3) for c in choice]
        self.sprites = [Sprite(rng, pick(rng, "box", "any", "disc")) for _ in range(spots)]
        self.sizes = [tuple(np.exp(rng.uniform(math.log(0.08), math.log(0.9), 2))) for _ in range(spots)]
        self.objectless = rng.random() < 0.25  # the tool strikes the background itself
        self.response = pick(rng, "none", "none", "shake", "squash", "tilt")
        self.yielding = float(rng.uniform(0.02, 0.15))
        self.spray = Spray(rng, int(rng.integers(2, 9))) if rng.random() < 0.25 else None
        self.angle = float(rng.uniform(0.1, math.pi - 0.1))  # from grip to tip
        self.swing = {
            "stick": rng.uniform(0.4, 1.6),
            "hammer": rng.uniform(0.5, 1.6),
            "knife": rng.uniform(0, 0.25),
        }.get(self.style, rng.uniform(0, 0.6)) * (1 if self.angle < math.pi / 2 else -1)
        self.lift = {"stick": rng.uniform(0, 0.3), "knife": rng.uniform(0.1, 0.6)}.get(
            self.style, rng.uniform(0.1, 0.7)
        )
        self.length = float(
            {"stick": rng.uniform(0.6, 1.6), "knife": rng.uniform(0.3, 0.9)}.get(
                self.style, rng.uniform(0.3, 1.0)
            )
        )
        self.width = float(math.exp(rng.uniform(math.log(0.025), math.log(0.12))))
        self.arm = float(rng.uniform(0.12, 0.4))
        self.shades = rng.integers(0, 256, 4)
        self.head = Sprite(rng, "any")
        self.tremor = Wobble.random(rng, math.exp(rng.uniform(math.log(0.01), math.log(0.25))), 0.4, 4.0)
        self.away = rng.random() < 0.2  # the tool leaves the picture in long gaps

    def _target(self, t: float) -> Point:
        i, u = self.strikes.gap(t)
        last = len(self.targets) - 1
        w = smoothstep((u - 0.15) / 0.7)
        return np.asarray(self.targets[min(max(i - 1, 0), last)] * (1 - w) + self.targets[min(i, last)] * w)

    def _objects(self, canvas: Canvas, t: float) -> None:
        since, index = self.strikes.since(t)
        ring = math.exp(-since / self.yielding) if math.isfinite(since) else 0.0
        for place, sprite, (rx, ry) in zip(self.objects, self.sprites, self.sizes, strict=True):
            near = index >= 0 and abs(self.targets[index][0] - place[0]) < rx + 0.1
            kick = ring * self.strikes.strengths[index] * math.cos(since * 60) if near else 0.0
            x = place[0] + 0.05 * kick * (self.response == "shake")
            squash = 1.0 - 0.2 * kick * (self.response == "squash")
            tilt = 0.12 * kick * (self.response == "tilt")
            canvas.sprite(sprite, affine(x, place[1] + ry, rx, ry * squash, tilt))

    def draw(self, canvas: Canvas, t: float) -> None:
        if not self.objectless:
            self._objects(canvas, t)
        h, target = self.strikes.height(t), self._target(t)
        if self.away and h > 0.3:
            target = target - point(0, 2.5 * (h - 0.3))
        target = target + point(self.tremor.at(t), 0) * min(1.0, 5 * h)
        if self.style == "depth":  # seen along the stroke: the tool shrinks as it lands
            r = self.width * 2 * (1 + 1.5 * h)
            tip = target + point(0.15 * h, 0.3 * h)
            canvas.bar(
                tip + self.length * 1.5 * direction(self.angle), tip, self.arm * (1 + h), self.shades[0], 0.6
            )
            canvas.sprite(self.head, affine(tip[0], tip[1], r, r))
        elif self.style == "clap":
            for side in (-1.0, 1.0):
                palm = target + point(side * (0.6 * h + 0.5 * self.width), 0)
                canvas.bar(palm + point(side * 0.7, 0.9), palm, self.arm, self.shades[0], 0.7)
                canvas.disc(palm, self.arm * 0.45, self.arm * 0.8, self.shades[1])
        else:
            self._tool(canvas, target, h)
        since, index = self.strikes.since(t)
        if self.spray is not None and index >= 0:
            self.spray.draw(canvas, self.targets[index], since)

    def _tool(self, canvas: Canvas, target: Point, h: float) -> None:
        grip = target - self.length * direction(self.angle) - point(0, self.lift * h)
        tip = grip + self.length * direction(self.angle - self.swing * h)
        elbow = grip + 1.6 * direction(self.angle + math.pi + 0.3 * self.swing * (1 - h))
        canvas.bar(elbow, grip, self.arm * 1.3, self.shades[0], 0.7)
        if self.style == "hand":
            canvas.bar(grip, tip, self.arm * 0.9, self.shades[0], 0.6)
            return
        canvas.bar(grip, tip, self.width * (2 if self.style == "knife" else 1), self.shades[1], 0.8)
        canvas.disc(grip, self.arm * 0.5, self.arm * 0.5, self.shades[2])
        if self.style == "hammer":
            angle = self.angle - self.swing * h
            canvas.sprite(self.head, affine(tip[0], tip[1], self.width, 2.5 * self.width, angle))


class Scrape(Program):
    """A tool rubbed back and forth over a surface: an event at each stroke, activity while it moves."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.strokes = Strokes.random(rng, seconds)
        self.events = [
            Event(t, 0.15 + 0.6 * v, "scrape")
            for t, v in zip(self.strokes.times, self.strokes.speeds, strict=True)
        ]
        self.sprite, self.rx, self.ry = Sprite(rng, "any"), *rng.uniform(0.3, 1.2, 2)
        self.reach, self.tilt = float(rng.uniform(0.08, 0.6)), float(rng.uniform(-0.5, 0.5))
        self.angle, self.length = float(rng.uniform(0.2, 2.9)), float(rng.uniform(0.4, 1.4))
        self.width, self.arm = float(rng.uniform(0.03, 0.15)), float(rng.uniform(0.1, 0.4))
        self.shades = rng.integers(0, 256, 2)

    def activity(self, t: float) -> float:
        return self.strokes.state(t)[1]

    def draw(self, canvas: Canvas, t: float) -> None:
        canvas.sprite(self.sprite, affine(0, self.ry, self.rx, self.ry))
        along, _ = self.strokes.state(t)
        tip = self.reach * along * direction(self.tilt)
        grip = tip - self.length * direction(self.angle)
        canvas.bar(grip - 1.5 * direction(self.angle + 0.3 * along), grip, self.arm, self.shades[0], 0.7)
        canvas.bar(grip, tip, self.width, self.shades[1])


class Drop(Program):
    """Balls and boxes that fall and bounce, dribbling, and bodies that slide into others."""

    def __init__(self, rng: Rng, seconds: float, dribble: bool = False) -> None:
        super().__init__()
        gravity = math.exp(rng.uniform(math.log(4.0), math.log(30.0)))
        self.bodies: list[Bounce] = []
        t, resting = float(rng.uniform(0.0, 0.8)), 0.0
        while t < seconds and len(self.bodies) < 7:
            fall = Bounce(
                t,
                float(rng.uniform(0.4, 1.5)),
                gravity,
                float(rng.uniform(0.05, 0.9)),
                float(rng.uniform(0, 2)) * (rng.random() < 0.4),
            )
            self.bodies.append(fall)
            resting = max(resting, fall.times[-1])
            t += (
                float(rng.uniform(0.2, 2.0))
                if rng.random() < 0.3
                else max(0.3, resting - t + float(rng.uniform(0.2, 1.0)))
            )
        if dribble:
            self.bodies = self._dribble(rng, seconds, gravity)
        self.x0, self.vx = rng.uniform(-0.8, 0.8, len(self.bodies)), rng.normal(0, 0.3, len(self.bodies))
        self.shapes = [pick(rng, "disc", "disc", "any", "box") for _ in self.bodies]
        self.sprites = [Sprite(rng, s) for s in self.shapes]
        self.radii = np.exp(rng.uniform(math.log(0.05), math.log(0.4), len(self.bodies)))
        self.spin = rng.normal(0, 4, len(self.bodies))
        self.squash, self.hidden = float(rng.uniform(0, 0.25)), rng.random() < 0.6
        self.floor = Sprite(rng, "box") if rng.random() < 0.5 else None
        self.hand = int(rng.integers(0, 256)) if dribble and rng.random() < 0.8 else None
        top = max([math.sqrt(b.first_speed) for b in self.bodies], default=1.0)
        for b in self.bodies:
            self.events += [
                Event(x, min(1.0, max(0.08, math.sqrt(v) / top)), "bounce")
                for x, v in zip(b.times, b.speeds, strict=True)
            ]
        self.events = sorted((e for e in self.events if e.time_s < seconds), key=lambda e: e.time_s)

    def _dribble(self, rng: Rng, seconds: float, gravity: float) -> list[Bounce]:
        height = float(rng.uniform(0.4, 1.2))
        body = Bounce(float(rng.uniform(0.1, 0.6)), height, gravity, 0.999)
        period = 2 * math.sqrt(2 * height / gravity)
        body.times = [
            body.times[0] + k * period for k in range(int(max(1, (seconds - body.times[0]) / period)) + 1)
        ]
        body.speeds = [body.first_speed] * len(body.times)
        body._ups = [body.first_speed] * len(body.times)
        return [body]

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.floor is not None:
            canvas.sprite(self.floor, affine(0, 1.0, 2.0, 1.0))
        for i, b in enumerate(self.bodies):
            if self.hidden and t < b.release_s - 0.3:
                continue
            u, r = max(0.0, t - b.release_s), self.radii[i]
            since, index = b.since(t)
            moving = min(u, b.times[-1] - b.release_s)  # drifts and turns until it rests
            x = self.x0[i] + self.vx[i] * min(moving, 4.0)
            near = 1.0 - self.squash * math.exp(-since / 0.03) if index >= 0 else 1.0
            turn = affine(angle=self.spin[i] * moving * (0.3 if self.shapes[i] == "disc" else 1.0))
            squashed = affine(x, -b.height(t) - r * near, r / near, r * near)
            canvas.sprite(self.sprites[i], chain(squashed, turn))
            if self.hand is not None:
                hand = point(x, -max(b.height(t), 0.75 * b.height0) - 2 * r)
                canvas.bar(hand + point(0.5, -1.0), hand, 0.25, self.hand, 0.7)


class Collide(Program):
    """A body that travels at constant speed into others at rest, which fly apart."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        count = int(rng.integers(1, 4))
        self.hits = np.sort(rng.uniform(0.6, max(0.7, seconds - 0.3), count))
        self.hits = self.hits[np.r_[True, np.diff(self.hits) > 0.9]]
        self.speeds = rng.uniform(0.6, 4.0, len(self.hits))
        self.events = [
            Event(float(t), float(min(1.0, 0.3 + 0.2 * v)), "collide")
            for t, v in zip(self.hits, self.speeds, strict=True)
        ]
        self.ball, self.radius = Sprite(rng, "disc"), float(rng.uniform(0.06, 0.25))
        self.pins = [Sprite(rng) for _ in range(int(rng.integers(1, 6)))]
        self.spots = rng.uniform(-0.15, 0.15, (len(self.pins), 2))
        self.flight = rng.normal(0, 0.6, (len(self.pins), 2)) + point(1.0, -0.2)
        self.size, self.spin, self.lead = (
            float(rng.uniform(0.06, 0.25)),
            float(rng.normal(0, 6)),
            float(rng.uniform(0.7, 2.0)),
        )
        self.stops, self.depth = rng.random() < 0.5, float(rng.uniform(0, 0.8)) * (rng.random() < 0.4)

    def draw(self, canvas: Canvas, t: float) -> None:
        i = min(int(np.searchsorted(self.hits, t - 0.8)), len(self.hits) - 1)
        u, v = t - self.hits[i], self.speeds[i]
        for spot, flight, sprite in zip(self.spots, self.flight, self.pins, strict=True):
            w = max(0.0, u)
            p = point(0.15 + self.radius + self.size, 0) + spot + flight * v * 0.5 * w + point(0, 1.5 * w * w)
            canvas.sprite(sprite, affine(p[0], p[1], self.size, 1.6 * self.size, self.spin * w))
        x = v * u if u < 0 else (0.0 if self.stops else 0.6 * v * u)
        if x > -self.lead * 2 and u < 0.8:
            r = self.radius * math.exp(-self.depth * x)
            canvas.sprite(self.ball, affine(x, 0.1, r, r, 3 * x))

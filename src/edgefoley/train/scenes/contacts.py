"""Drawn actions of bodies that meet: striking, scraping, falling, colliding; each with exact marks."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Point, Sprite, affine, chain, direction, point
from edgefoley.train.scenes.look import surface, tint
from edgefoley.train.scenes.motion import Bounce, Mark, Rng, Strikes, Strokes, Wobble, pick, smoothstep
from edgefoley.train.scenes.program import Cast, Program, Spray, arm

_STYLES = {
    "strike": ("stick", "stick", "hand", "depth"),
    "hammer": ("hammer",),
    "chop": ("knife", "axe"),
    "clap": ("clap",),
    "punch": ("fist", "depth"),
}
_HARD = ("wood", "metal", "glass", "ceramic", "stone", "concrete", "plastic")


class Impact(Program):
    """A tool, hand or stick that swings at one or several objects; see Strikes for its motion. mute: it is
    waved about and strikes nothing."""

    struck = (*_HARD, "cloth", "paper", "earth", "leaves", "water")

    def __init__(self, rng: Rng, seconds: float, cast: Cast, mute: bool = False) -> None:
        style = pick(rng, *_STYLES[cast.action])
        fits = {
            "strike": ("wood", "wood", "metal", "plastic") if style == "stick" else ("flesh",),
            "hammer": ("metal", "metal", "wood", "rubber"),
            "chop": ("metal",),
            "clap": ("flesh", "flesh", "wood", "metal"),
            "punch": ("flesh",),
        }[cast.action]
        clap = pick(rng, *fits)
        under = {
            "clap": clap,
            "punch": pick(rng, "flesh", "cloth", "rubber"),
            "chop": pick(rng, "wood", "wood", "leaves"),
        }
        super().__init__(
            rng, Cast(cast.action, cast.striker or clap, cast.struck or under.get(cast.action, ""))
        )
        self.style = style
        self.strikes = Strikes(rng, seconds, [] if mute else None)
        self._place_targets(rng, len(self.strikes.times))
        self.marks = [
            Mark(t, s, (float(p[0]), float(p[1])))
            for t, s, p in zip(self.strikes.times, self.strikes.strengths, self.targets, strict=False)
        ]
        self.response = pick(rng, "none", "none", "shake", "squash", "tilt")
        self.yielding = float(rng.uniform(0.02, 0.15))
        self.spray = Spray(rng, int(rng.integers(2, 9))) if rng.random() < 0.25 else None
        self._shape_tool(rng)
        self.tremor = Wobble.random(rng, math.exp(rng.uniform(math.log(0.01), math.log(0.25))), 0.4, 4.0)
        self.away = rng.random() < 0.2  # the tool leaves the picture in long gaps

    def _place_targets(self, rng: Rng, count: int) -> None:
        spots = int(rng.integers(1, 4))
        self.objects = [
            point(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.15, 0.15))) for _ in range(spots)
        ]
        choice = rng.integers(0, 1 if rng.random() < 0.6 else spots, count + 2)
        wander = float(rng.uniform(0, 0.12))
        self.targets = [self.objects[c] + rng.normal(0, wander, 2) * (1, 0.3) for c in choice]
        shapes = [pick(rng, "box", "any", "disc") for _ in range(spots)]
        self.sprites = [Sprite(rng, s, skin=surface(rng, self.source.struck, 48)) for s in shapes]
        self.sizes = [tuple(np.exp(rng.uniform(math.log(0.08), math.log(0.9), 2))) for _ in range(spots)]
        self.objectless = rng.random() < 0.2  # the tool strikes the background itself

    def _shape_tool(self, rng: Rng) -> None:
        self.angle = float(rng.uniform(0.1, math.pi - 0.1))  # from grip to tip
        side = 1 if self.angle < math.pi / 2 else -1
        swings = {"stick": (0.4, 1.6), "hammer": (0.5, 1.6), "axe": (0.6, 1.6), "knife": (0.0, 0.25)}
        self.swing = float(rng.uniform(*swings.get(self.style, (0.0, 0.6)))) * side
        lifts = {"stick": (0.0, 0.3), "knife": (0.1, 0.6), "axe": (0.0, 0.4)}
        self.lift = float(rng.uniform(*lifts.get(self.style, (0.1, 0.7))))
        lengths = {"stick": (0.6, 1.6), "knife": (0.3, 0.9), "axe": (0.6, 1.2)}
        self.length = float(rng.uniform(*lengths.get(self.style, (0.3, 1.0))))
        self.width = float(math.exp(rng.uniform(math.log(0.03), math.log(0.12))))
        self.arm = float(rng.uniform(0.12, 0.4))
        self.colour = tint(rng, self.source.striker)
        self.head = Sprite(rng, pick(rng, "box", "any"), skin=surface(rng, self.source.striker, 48))

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
        if not self.objectless and self.style != "clap":
            self._objects(canvas, t)
        h, target = self.strikes.height(t), self._target(t)
        if self.away and h > 0.3:
            target = target - point(0, 2.5 * (h - 0.3))
        target = target + point(self.tremor.at(t), 0) * min(1.0, 5 * h)
        if self.style == "depth":  # seen along the stroke: the tool shrinks as it lands
            r = (0.12 + self.width) * (1 + 1.5 * h)
            tip = target + point(0.15 * h, 0.3 * h)
            elbow = tip + self.length * 1.5 * direction(self.angle)
            canvas.bar(elbow, tip, self.arm * (1 + h), self.shades[0], 0.6)
            canvas.disc(tip, r, r, self.skin if self.source.striker == "flesh" else self.colour)
        elif self.style == "clap":
            self._clap(canvas, target, h)
        else:
            self._tool(canvas, target, h)
        since, index = self.strikes.since(t)
        if self.spray is not None and index >= 0:
            self.spray.draw(canvas, self.targets[index], since)

    def _clap(self, canvas: Canvas, target: Point, h: float) -> None:
        held = self.source.striker != "flesh"
        for side in (-1.0, 1.0):
            palm = target + point(side * (0.6 * h + 0.25 * self.arm), 0)
            arm(
                canvas,
                palm + point(side * 0.7, 0.9),
                palm + point(side * 0.05, 0.1),
                self.arm,
                self.shades[0],
                self.skin,
            )
            colour = self.colour if held else self.skin
            canvas.disc(palm, self.arm * 0.25, self.arm * 0.8, colour)
            if not held:
                for k in range(3):
                    tip = palm + point(0.0, -0.75 * self.arm)
                    canvas.bar(palm, tip + point(side * 0.1 * k * self.arm, 0.1 * k), 0.12 * self.arm, colour)

    def _tool(self, canvas: Canvas, target: Point, h: float) -> None:
        grip = target - self.length * direction(self.angle) - point(0, self.lift * h)
        angle = self.angle - self.swing * h
        tip = grip + self.length * direction(angle)
        elbow = grip + 1.6 * direction(self.angle + math.pi + 0.3 * self.swing * (1 - h))
        if self.style in ("hand", "fist"):
            arm(canvas, elbow, tip, self.arm, self.shades[0], self.skin)
            r = self.arm * (0.5 if self.style == "hand" else 0.75)
            canvas.disc(tip - 0.5 * r * direction(angle), r, r, self.skin)
            return
        if self.style == "knife":
            back = point(-math.sin(angle), math.cos(angle)) * -2.5 * self.width
            blade = np.stack([grip, tip, tip + 0.7 * back, grip + back])
            canvas.poly(blade, self.colour)
            canvas.line(blade[:2], 0.02, 255 - self.colour // 2)  # an edge that shows on any ground
        else:
            canvas.bar(grip, tip, self.width, self.shades[2] if self.style != "stick" else self.colour, 0.8)
        if self.style in ("hammer", "axe"):
            reach = (1.0, 2.5) if self.style == "hammer" else (1.6, 3.0)
            r = max(0.05, self.width)
            canvas.sprite(self.head, affine(tip[0], tip[1], reach[0] * r, reach[1] * r, angle))
        arm(canvas, elbow, grip, self.arm, self.shades[0], self.skin)


class Scrape(Program):
    """A tool rubbed back and forth over a surface: a mark at each stroke, activity while it moves."""

    strikers = ("wood", "metal", "stone", "plastic", "cloth", "paper")
    struck = (*_HARD, "cloth", "earth", "ice")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast)
        self.strokes = Strokes.random(rng, seconds)
        skin = surface(rng, self.source.struck, 48)
        self.sprite, self.rx, self.ry = (
            Sprite(rng, pick(rng, "box", "any"), skin=skin),
            *rng.uniform(0.3, 1.2, 2),
        )
        self.reach, self.tilt = float(rng.uniform(0.08, 0.6)), float(rng.uniform(-0.5, 0.5))
        self.angle, self.length = float(rng.uniform(0.2, 2.9)), float(rng.uniform(0.4, 1.4))
        self.width, self.arm = float(rng.uniform(0.03, 0.15)), float(rng.uniform(0.1, 0.4))
        self.colour = tint(rng, self.source.striker)
        self.block = rng.random() < 0.5  # a block or brush instead of a stick
        strokes = zip(self.strokes.times, self.strokes.speeds, strict=True)
        self.marks = [Mark(t, 0.15 + 0.6 * v, self._spot(t)) for t, v in strokes]

    def _spot(self, t: float) -> tuple[float, float]:
        x, y = self.reach * self.strokes.state(t)[0] * direction(self.tilt)
        return float(x), float(y)

    def activity(self, t: float) -> float:
        return self.strokes.state(t)[1]

    def draw(self, canvas: Canvas, t: float) -> None:
        canvas.sprite(self.sprite, affine(0, self.ry, self.rx + self.reach, self.ry))
        along, _ = self.strokes.state(t)
        tip = point(*self._spot(t))
        grip = tip - (0.3 if self.block else self.length) * direction(self.angle)
        if self.block:
            canvas.bar(tip - 0.2 * direction(self.tilt), tip + 0.2 * direction(self.tilt), 0.14, self.colour)
        else:
            canvas.bar(grip, tip, self.width, self.colour)
        elbow = grip - 1.5 * direction(self.angle + 0.3 * along)
        arm(canvas, elbow, grip, self.arm, self.shades[0], self.skin)


class Drop(Program):
    """Things that fall, bounce and roll to rest; a ball that is dribbled (action bounce)."""

    strikers = (*_HARD, "rubber", "rubber", "paper", "leaves")
    struck = ("wood", "stone", "concrete", "metal", "earth", "grass", "cloth", "sand", "snow")
    floors: ClassVar[float] = 0.6  # share of scenes that draw their own floor

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        dribble = cast.action == "bounce"
        largest = math.exp(rng.uniform(math.log(0.07), math.log(0.4)))
        fits = ("rubber", "rubber", "plastic") if dribble else self.strikers
        size = math.log(largest / 0.07) / math.log(0.4 / 0.07)
        super().__init__(rng, Cast(cast.action, cast.striker or pick(rng, *fits), cast.struck), size)
        gravity = math.exp(rng.uniform(math.log(4.0), math.log(30.0)))
        self.bodies = self._dribble(rng, seconds, gravity) if dribble else self._falls(rng, seconds, gravity)
        count = len(self.bodies)
        self.x0, self.vx = rng.uniform(-0.7, 0.7, count), rng.normal(0, 0.15 if dribble else 0.3, count)
        self.shapes = [
            pick(rng, "disc") if dribble else pick(rng, "disc", "disc", "any", "box") for _ in range(count)
        ]
        skin = surface(rng, self.source.striker, 48)
        self.sprites = [Sprite(rng, s, skin=skin) for s in self.shapes]
        self.radii = largest * rng.uniform(0.6, 1.0, count)
        self.spin = rng.normal(0, 4, count)
        self.squash, self.hidden = float(rng.uniform(0, 0.25)), rng.random() < 0.6
        self.floor = Sprite(rng, "box", skin=surface(rng, self.source.struck, 48))
        self.floored = rng.random() < self.floors
        self.hand = dribble and rng.random() < 0.8
        top = max([math.sqrt(b.first_speed) for b in self.bodies], default=1.0)
        for i, b in enumerate(self.bodies):
            for t, v in zip(b.times, b.speeds, strict=True):
                strength = min(1.0, max(0.08, math.sqrt(v) / top))
                self.marks.append(Mark(t, strength, (self._x(i, t), 0.0)))
        self.marks = sorted((m for m in self.marks if m.time_s < seconds), key=lambda m: m.time_s)

    @staticmethod
    def _falls(rng: Rng, seconds: float, gravity: float) -> list[Bounce]:
        bodies: list[Bounce] = []
        t, resting = float(rng.uniform(0.0, 0.8)), 0.0
        while t < seconds and len(bodies) < 7:
            height, bounce = float(rng.uniform(0.4, 1.5)), float(rng.uniform(0.05, 0.9))
            fall = Bounce(t, height, gravity, bounce, float(rng.uniform(0, 2)) * (rng.random() < 0.4))
            bodies.append(fall)
            resting = max(resting, fall.times[-1])
            overlap = rng.random() < 0.3
            wait = rng.uniform(0.2, 2.0) if overlap else max(0.3, resting - t + rng.uniform(0.2, 1.0))
            t += float(wait)
        return bodies

    @staticmethod
    def _dribble(rng: Rng, seconds: float, gravity: float) -> list[Bounce]:
        height = float(rng.uniform(0.4, 1.2))
        body = Bounce(float(rng.uniform(0.1, 0.6)), height, gravity, 0.999)
        period = 2 * math.sqrt(2 * height / gravity)
        count = int(max(1, (seconds - body.times[0]) / period)) + 1
        body.times = [body.times[0] + k * period for k in range(count)]
        body.speeds = [body.first_speed] * count
        body._ups = [body.first_speed] * count
        return [body]

    def _moving(self, i: int, t: float) -> float:
        """Seconds for which body i has drifted and turned; it stops when it rests."""
        b = self.bodies[i]
        return min(max(0.0, t - b.release_s), b.times[-1] - b.release_s)

    def _x(self, i: int, t: float) -> float:
        return float(self.x0[i] + self.vx[i] * min(self._moving(i, t), 4.0))

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.floored:
            canvas.sprite(self.floor, affine(0, 1.0, 2.0, 1.0))
        for i, b in enumerate(self.bodies):
            if self.hidden and t < b.release_s - 0.3:
                continue
            r, moving = self.radii[i], self._moving(i, t)
            since, index = b.since(t)
            near = 1.0 - self.squash * math.exp(-since / 0.03) if index >= 0 else 1.0
            turn = affine(angle=self.spin[i] * moving * (0.3 if self.shapes[i] == "disc" else 1.0))
            squashed = affine(self._x(i, t), -b.height(t) - r * near, r / near, r * near)
            canvas.sprite(self.sprites[i], chain(squashed, turn))
            if self.hand:
                hand = point(self._x(i, t), -max(b.height(t), 0.75 * b.height0) - 2 * r)
                arm(canvas, hand + point(0.5, -1.0), hand, 0.25, self.shades[0], self.skin)


class Collide(Program):
    """A body that travels at constant speed into others at rest, which fly apart."""

    strikers = (*_HARD, "rubber")
    struck = ("wood", "metal", "plastic", "glass", "paper")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.size = float(rng.uniform(0.06, 0.25))
        super().__init__(rng, cast, 3 * self.size)
        self.hits = np.sort(rng.uniform(0.6, max(0.7, seconds - 0.3), int(rng.integers(1, 4))))
        self.hits = self.hits[np.r_[True, np.diff(self.hits) > 0.9]]
        self.speeds = rng.uniform(0.6, 4.0, len(self.hits))
        self.ball = Sprite(rng, "disc", skin=surface(rng, self.source.striker, 48))
        self.radius = float(rng.uniform(0.06, 0.25))
        skin = surface(rng, self.source.struck, 48)
        self.pins = [Sprite(rng, pick(rng, "box", "any"), skin=skin) for _ in range(int(rng.integers(1, 6)))]
        self.spots = rng.uniform(-0.15, 0.15, (len(self.pins), 2))
        self.spots[0] = 0.0
        self.flight = rng.normal(0, 0.6, (len(self.pins), 2)) + point(1.0, -0.2)
        self.spin, self.lead = float(rng.normal(0, 6)), float(rng.uniform(0.7, 2.0))
        self.stops, self.depth = rng.random() < 0.5, float(rng.uniform(0, 0.8)) * (rng.random() < 0.4)
        for t, v in zip(self.hits, self.speeds, strict=True):
            if t < seconds:
                self.marks.append(Mark(float(t), float(min(1.0, 0.3 + 0.2 * v)), (self.radius, 0.1)))

    def draw(self, canvas: Canvas, t: float) -> None:
        i = min(int(np.searchsorted(self.hits, t - 0.8)), len(self.hits) - 1)
        u, v = t - self.hits[i], self.speeds[i]
        for spot, flight, sprite in zip(self.spots, self.flight, self.pins, strict=True):
            w = max(0.0, u)
            p = point(0.02 + self.radius + self.size, 0) + spot + flight * v * 0.5 * w + point(0, 1.5 * w * w)
            canvas.sprite(sprite, affine(p[0], p[1], self.size, 1.6 * self.size, self.spin * w))
        x = v * u if u < 0 else (0.0 if self.stops else 0.6 * v * u)
        if x > -self.lead * 2 and u < 0.8:
            r = self.radius * math.exp(-self.depth * x)
            canvas.sprite(self.ball, affine(x, 0.1, r, r, 3 * x))

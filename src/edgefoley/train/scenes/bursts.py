"""Drawn bursts: shots, sparks and fireworks, and things that break into flying pieces."""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.draw import Canvas, Point, Sprite, affine, direction, point
from edgefoley.train.scenes.look import surface, tint
from edgefoley.train.scenes.motion import Mark, Rng, pick, rhythm
from edgefoley.train.scenes.program import Cast, Program, arm


class Burst(Program):
    """A flash, the recoil of a held object, a puff of smoke, or a firework's expanding sparks."""

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        self.firework = rng.random() < 0.35
        super().__init__(rng, cast, float(rng.uniform(0.3, 1.0)))
        self.metres = 20.0 if self.firework else 0.6
        self.times = self._when(rng, seconds)
        self.flash = float(rng.uniform(0.015, 0.12)) * (rng.random() < 0.7)
        self.recoil, self.kick = float(rng.uniform(0.02, 0.4)), float(rng.uniform(0, 0.15))
        self.smoke = float(rng.uniform(0.2, 0.8)) * (rng.random() < 0.6)
        if not self.flash and not self.smoke:
            self.recoil = max(self.recoil, 0.2)
        self.return_s, self.drift = float(rng.uniform(0.04, 0.3)), rng.normal(0, 0.2, 2) - (0, 0.2)
        gray = int(rng.uniform(90, 240))
        self.glow, self.cloud = Sprite.glow(rng, (255, 235, 170)), Sprite.glow(rng, (gray, gray, gray))
        self.radius, self.length = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 1.1))
        self.width, self.metal = float(rng.uniform(0.06, 0.2)), tint(rng, "metal")
        n = int(rng.integers(10, 26))
        self.rays, self.speeds = rng.uniform(0, 2 * math.pi, n), rng.uniform(0.4, 1.0, n)
        self.life = float(rng.uniform(0.5, 1.4))
        self.spots = rng.uniform(-0.6, 0.6, (len(self.times) + 1, 2))
        self.colours = np.clip(rng.integers(60, 320, (len(self.times) + 1, 3)), 0, 255)
        tip = point(-0.4 + self.length, 0.1)
        for i, t in enumerate(self.times):
            x, y = self.spots[i] if self.firework else tip
            self.marks.append(Mark(t, float(rng.uniform(0.6, 1.0)), (float(x), float(y))))

    def _when(self, rng: Rng, seconds: float) -> list[float]:
        if self.firework or rng.random() > 0.4:
            times = rhythm(rng, seconds)
            gap = 0.2 if self.firework else 0.0
            return [x for i, x in enumerate(times) if i == 0 or x - times[i - 1] > gap]
        rate, t, times = float(rng.uniform(0.08, 0.2)), float(rng.uniform(0.2, 1.5)), []
        while t < seconds - 0.05:
            for _ in range(int(rng.integers(3, 14))):
                times.append(t)
                t += rate
            t += float(rng.uniform(0.4, 2.0))
        return [x for x in times if x < seconds - 0.05]

    def draw(self, canvas: Canvas, t: float) -> None:
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        if self.firework:
            for k in range(max(0, i - 2), i + 1):
                self._sparks(canvas, k, t - self.times[k])
            return
        u = t - self.times[i] if i >= 0 else math.inf
        back = (u / 0.02 if u < 0.02 else math.exp(-(u - 0.02) / self.return_s)) if math.isfinite(u) else 0.0
        grip = point(-0.4 - self.kick * back, 0.1)
        muzzle = grip + self.length * direction(-self.recoil * back)
        canvas.bar(grip, muzzle, self.width, self.metal)
        canvas.bar(grip + point(0.04, 0), grip + point(-0.02, 0.28), self.width * 1.1, self.shades[1])
        arm(canvas, grip + point(-0.8, 0.9), grip + point(0, 0.2), 0.24, self.shades[0], self.skin)
        for k in range(max(0, i - 2), i + 1):
            w = t - self.times[k]
            if self.smoke and w < 1.5:
                r = self.radius * (0.2 + 0.8 * (1 - math.exp(-4 * w)))
                p = point(-0.4 + self.length + 0.5 * r, 0.1) + self.drift * w
                alpha = self.smoke * math.exp(-2.5 * w) * min(1.0, w / 0.02)
                canvas.sprite(self.cloud, affine(p[0], p[1], r, 0.8 * r), alpha)
        if u < self.flash:
            r = self.radius * (1.2 - u / self.flash)
            canvas.sprite(self.glow, affine(muzzle[0] + 0.3 * r, muzzle[1], r, 0.7 * r))
            ends = muzzle + 0.9 * r * np.stack([np.cos(self.rays[:6]), np.sin(self.rays[:6])], 1)
            canvas.streaks(np.repeat(muzzle[None], 6, 0), ends, 0.03, np.array([255, 225, 120]))

    def _sparks(self, canvas: Canvas, k: int, u: float) -> None:
        if u > self.life:
            return
        centre, gain = self.spots[k], (1 - u / self.life) ** 0.5
        reach = self.radius * 1.5 * (1 - math.exp(-4 * u))
        way = np.stack([np.cos(self.rays), np.sin(self.rays)], 1)
        p = centre + reach * self.speeds[:, None] * way + point(0, 0.3 * u * u)
        canvas.streaks(p - 0.15 * reach * way, p, 0.035, self.colours[k] * gain)
        if u < 0.15:
            r = self.radius * (1 - u / 0.15) + 0.05
            canvas.sprite(self.glow, affine(centre[0], centre[1], r, r))


class Break(Program):
    """A plate, pane or vase that falls or is hit and flies to pieces; the pieces land."""

    upright = True
    strikers = ("glass", "ceramic", "glass", "ceramic", "wood", "ice", "stone", "plastic")
    struck = ("concrete", "wood", "stone", "metal")

    def __init__(self, rng: Rng, seconds: float, cast: Cast) -> None:
        super().__init__(rng, cast, float(rng.uniform(0.15, 0.8)))
        self.radius = 0.12 + 0.3 * self.source.size
        self.struck_by_tool = rng.random() < 0.4
        self.gravity, self.height = float(rng.uniform(5.0, 12.0)), float(rng.uniform(0.5, 1.3))
        self.times: list[float] = []
        t = float(rng.uniform(0.5, 1.2))
        while t < seconds - 0.05:
            self.times.append(t)
            t += float(rng.uniform(1.6, 3.0))
        self.home = point(0, -self.radius)
        skin = surface(rng, self.source.striker, 48)
        self.whole = Sprite(rng, pick(rng, "disc", "box", "blob"), skin=skin)
        n = int(rng.integers(7, 14))
        angles = np.sort(rng.uniform(0, 2 * math.pi, n))
        self.way = np.stack([np.cos(angles), np.sin(angles)], 1)
        self.speed = rng.uniform(0.5, 2.2, n)[:, None] * self.way - (0, float(rng.uniform(0.2, 1.2)))
        self.spin, self.part = rng.normal(0, 8, n), rng.uniform(0.3, 0.75, n) * self.radius
        self.colours = np.stack([skin[int(a), int(b)] for a, b in rng.integers(8, 40, (n, 2))])
        self.tool, self.floor = (
            tint(rng, "metal"),
            Sprite(rng, "box", skin=surface(rng, self.source.struck, 48)),
        )
        self.floored = rng.random() < 0.6
        for t in self.times:
            self.marks.append(Mark(t, float(rng.uniform(0.7, 1.0)), (0.0, self._break_y())))
            for k in rng.permutation(n)[:4]:
                land = t + self._flight(int(k))
                x = float(self.home[0] + self.speed[k, 0] * (land - t))
                if 0.12 < land - t < 1.4 and land < seconds:
                    self.marks.append(Mark(land, float(rng.uniform(0.1, 0.3)), (x, 0.0)))
        self.marks.sort(key=lambda m: m.time_s)

    def _break_y(self) -> float:
        return -self.radius if self.struck_by_tool else 0.0

    def _flight(self, k: int) -> float:
        """Seconds until piece k lands on y = 0."""
        up, drop = -self.speed[k, 1], -self.home[1]
        return float((up + math.sqrt(up * up + 2 * self.gravity * drop)) / self.gravity)

    def draw(self, canvas: Canvas, t: float) -> None:
        if self.floored:
            canvas.sprite(self.floor, affine(0, 1.0, 2.2, 1.0))
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        following = self.times[i + 1] if i + 1 < len(self.times) else math.inf
        left = following - t
        fall = math.sqrt(2 * self.height / self.gravity)
        if left < 0.9:
            self._before(canvas, left, fall)
        if i >= 0 and left > 0.5:
            self._pieces(canvas, t - self.times[i])

    def _before(self, canvas: Canvas, left: float, fall: float) -> None:
        r, lift, turn = self.radius, 0.0, 0.0
        if not self.struck_by_tool:
            lift = self.height - 0.5 * self.gravity * max(0.0, fall - left) ** 2
            turn = 2.0 * max(0.0, fall - left)
        canvas.sprite(self.whole, affine(0, self.home[1] - lift, r, r, turn))
        if self.struck_by_tool:
            swing = 1.4 * min(1.0, left / 0.25)
            tip = self.home + point(-r, 0)
            grip = tip + 0.9 * direction(math.pi - 0.3 - swing)
            canvas.bar(grip, tip + (grip - tip) * 0.0 - point(swing * 0.5, swing * 0.3), 0.1, self.tool)
        elif left > fall:
            grip = self.home - point(0, self.height + r)
            arm(canvas, grip + point(0.6, -0.9), grip, 0.22, self.shades[0], self.skin)

    def _pieces(self, canvas: Canvas, u: float) -> None:
        for k, (velocity, r) in enumerate(zip(self.speed, self.part, strict=True)):
            w = min(u, self._flight(k))
            p: Point = self.home + velocity * w + point(0, 0.5 * self.gravity * w * w)
            angles = self.spin[k] * w + np.array([0.0, 2.0, 3.9])
            corners = p + r * np.stack([np.cos(angles), np.sin(angles)], 1) * (1.0, 0.8)
            canvas.poly(corners, self.colours[k])

"""Scenes of living things, bursts and endless motion; bodies that meet are in scene_contacts."""

from __future__ import annotations

import math

import numpy as np

from edgefoley.train.scenes.contacts import Point, Program, direction, point
from edgefoley.train.scenes.draw import Canvas, Sprite, affine, noise_image
from edgefoley.train.scenes.motion import Calls, Event, Phase, Rng, Wobble, pick, rhythm, smoothstep


class Step(Program):
    """Two- or four-legged figures that walk or run; a foot lands when its phase reaches a whole number."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.legs = 4 if rng.random() < 0.35 else 2
        self.phase = Phase.random(rng, seconds, 0.6, 1.8)
        run = rng.random() < 0.4
        gaits = {
            "walk": (0.0, 0.5, 0.25, 0.75),
            "trot": (0.0, 0.5, 0.5, 0.0),
            "gallop": (0.0, 0.12, 0.5, 0.62),
        }
        self.offsets = (0.0, 0.5) if self.legs == 2 else gaits[pick(rng, *gaits)]
        self.duty = float(rng.uniform(0.3, 0.45) if run else rng.uniform(0.5, 0.65))
        self.stride, self.lift, self.leg = (
            float(rng.uniform(0.3, 0.7)),
            float(rng.uniform(0.06, 0.3)),
            float(rng.uniform(0.7, 1.1)),
        )
        self.front = rng.random() < 0.3  # seen from the front: feet lift and land, no stride
        self.follow = self.front or rng.random() < 0.5
        self.width, self.shades = float(rng.uniform(0.08, 0.22)), rng.integers(0, 256, 4)
        self.body = Sprite(rng, pick(rng, "box", "blob", "disc"))
        self.feet_only = rng.random() < 0.25
        strength = float(rng.uniform(0.3, 1.0))
        hits = sorted(t for o in set(self.offsets) for t in self.phase.crossings(o, seconds))
        self.events = [
            Event(t, strength, "step") for i, t in enumerate(hits) if i == 0 or t - hits[i - 1] > 0.03
        ]

    def _travel(self, t: float) -> float:
        return self.phase.at(t) * self.stride / self.duty

    def scroll(self, t: float) -> float:
        return self._travel(t) if self.follow and not self.front else 0.0

    def _foot(self, leg: int, phase: float) -> tuple[float, float]:
        p = (phase + self.offsets[leg]) % 1.0
        if p < self.duty:
            return self.stride * (0.5 - p / self.duty), 0.0
        u = (p - self.duty) / (1 - self.duty)
        return self.stride * (smoothstep(u) - 0.5), self.lift * math.sin(math.pi * u) * (1 - 0.3 * u)

    def draw(self, canvas: Canvas, t: float) -> None:
        phase = self.phase.at(t)
        x = 0.0 if self.follow else -1.2 + self._travel(t) % 2.4
        bob = 0.04 * math.cos(4 * math.pi * phase)
        for leg in range(self.legs):
            fx, fy = self._foot(leg, phase)
            base = (0.5 if leg >= 2 else -0.5) * (self.legs == 4)
            if self.front:
                base, fx = base + (0.12 if leg % 2 else -0.12), 0.0
            hip, foot = point(x + base, -self.leg + bob), point(x + base + fx, -fy)
            half = 0.5 * math.hypot(*(foot - hip))
            bend = math.sqrt(max(0.0, (0.55 * self.leg) ** 2 - half**2))
            knee = (hip + foot) / 2 + point(bend * (0.3 if self.front else 1.0), 0)
            canvas.bar(hip, knee, self.width, self.shades[leg % 2])
            canvas.bar(knee, foot, 0.8 * self.width, self.shades[leg % 2])
            canvas.bar(foot - point(0.03, 0.03), foot + point(0.16, -0.03), 0.07, self.shades[2])
        if not self.feet_only:
            tall = 0.2 if self.legs == 4 else 0.45
            canvas.sprite(
                self.body, affine(x, -self.leg - 0.8 * tall + bob, 0.65 if self.legs == 4 else 0.25, tall)
            )
            canvas.disc(
                point(x + (0.75 if self.legs == 4 else 0), -self.leg - 2.1 * tall + bob),
                0.16,
                0.18,
                self.shades[3],
            )


class Vocal(Program):
    """A head whose mouth opens and whose body jerks with each call."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.calls = Calls.random(rng, seconds)
        self.events = [
            Event(t, s, "vocal") for t, s in zip(self.calls.times, self.calls.strengths, strict=True)
        ]
        self.head, self.body = (
            Sprite(rng, pick(rng, "disc", "blob")),
            Sprite(rng, pick(rng, "blob", "disc", "box")),
        )
        self.size, self.gape = float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.1, 0.6))
        self.push = point(float(rng.uniform(0, 0.25)), float(rng.uniform(-0.2, 0.15))) * (rng.random() < 0.8)
        self.nod, self.swell = (
            float(rng.uniform(-0.4, 0.4)),
            float(rng.uniform(0, 0.15)) * (rng.random() < 0.5),
        )
        self.dark, self.profile = int(rng.integers(0, 60)), rng.random() < 0.6
        self.idle = [Wobble.random(rng, 0.05, 0.2, 1.5) for _ in range(2)]
        self.shade, self.eye = int(rng.integers(0, 256)), int(rng.integers(0, 256))

    def activity(self, t: float) -> float:
        return self.calls.openness(t)

    def draw(self, canvas: Canvas, t: float) -> None:
        gape, jerk, r = self.calls.openness(t), self.calls.jerk(t), self.size
        p = point(self.idle[0].at(t), self.idle[1].at(t)) + self.push * jerk
        canvas.sprite(
            self.body,
            affine(
                p[0] * 0.5 - 0.6 * r,
                1.5 * r + p[1] * 0.4,
                1.2 * r * (1 + self.swell * gape),
                r * (1 + self.swell * gape),
            ),
        )
        angle = -self.nod * gape + 0.5 * self.idle[0].at(t)
        canvas.sprite(self.head, affine(p[0], p[1], r, r * 0.9, angle))
        canvas.disc(p + r * point(0.25, -0.35), 0.1 * r, 0.1 * r, self.eye)
        wide = self.gape * gape * r
        if self.profile:  # two jaws that part
            hinge, reach = p + r * point(0.35, 0.2), 0.95 * r
            lean = 0.9 * self.gape * gape
            canvas.bar(hinge, hinge + reach * direction(angle - 0.3 * lean), 0.35 * r, self.shade, 0.5)
            canvas.bar(hinge, hinge + reach * direction(angle + lean + 0.15), 0.25 * r, self.shade, 0.5)
        elif wide > 0.01:
            canvas.disc(p + r * point(0.1, 0.4) + point(0, 0.5 * wide), 0.35 * r, wide, self.dark)


class Burst(Program):
    """A flash, the recoil of a held object, a puff of smoke, or a firework's expanding sparks."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.firework = rng.random() < 0.3
        if rng.random() < 0.3 and not self.firework:
            rate, t, times = float(rng.uniform(0.08, 0.2)), float(rng.uniform(0.2, 1.5)), []
            while t < seconds - 0.05:
                for _ in range(int(rng.integers(3, 14))):
                    times.append(t)
                    t += rate
                t += float(rng.uniform(0.4, 2.0))
            self.times = [x for x in times if x < seconds - 0.05]
        else:
            self.times = rhythm(rng, seconds)
            if self.firework:
                self.times = [x for i, x in enumerate(self.times) if i == 0 or x - self.times[i - 1] > 0.2]
        self.events = [Event(t, float(rng.uniform(0.6, 1.0)), "burst") for t in self.times]
        self.flash = float(rng.uniform(0.015, 0.12)) * (rng.random() < 0.7)
        self.recoil, self.kick = float(rng.uniform(0.02, 0.4)), float(rng.uniform(0, 0.15))
        self.smoke = float(rng.uniform(0.2, 0.8)) * (rng.random() < 0.6)
        if not self.flash and not self.smoke:
            self.recoil = max(self.recoil, 0.2)
        self.return_s, self.drift = float(rng.uniform(0.04, 0.3)), rng.normal(0, 0.2, 2) - (0, 0.2)
        self.glow, self.cloud = Sprite.glow(rng, 255), Sprite.glow(rng, float(rng.uniform(90, 240)))
        self.size, self.length = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 1.1))
        self.width, self.shades = float(rng.uniform(0.06, 0.2)), rng.integers(0, 256, 2)
        n = int(rng.integers(8, 22))
        self.rays, self.speeds, self.life = (
            rng.uniform(0, 2 * math.pi, n),
            rng.uniform(0.4, 1.0, n),
            float(rng.uniform(0.5, 1.4)),
        )
        self.spots = rng.uniform(-0.6, 0.6, (len(self.times) + 1, 2))

    def draw(self, canvas: Canvas, t: float) -> None:
        i = int(np.searchsorted(self.times, t, side="right")) - 1
        u = t - self.times[i] if i >= 0 else math.inf
        if self.firework:
            for k in range(max(0, i - 2), i + 1):
                self._sparks(canvas, self.spots[k], t - self.times[k])
            return
        back = (u / 0.02 if u < 0.02 else math.exp(-(u - 0.02) / self.return_s)) if math.isfinite(u) else 0.0
        grip = point(-0.4 - self.kick * back, 0.1)
        muzzle = grip + self.length * direction(-self.recoil * back)
        canvas.bar(grip + point(-0.8, 0.9), grip, 0.3, self.shades[0], 0.6)
        canvas.bar(grip, muzzle, self.width, self.shades[1])
        canvas.bar(grip, grip + point(-0.05, 0.25), self.width * 1.1, self.shades[1])
        for k in range(max(0, i - 2), i + 1):
            w = t - self.times[k]
            if self.smoke and w < 1.5:
                r = self.size * (0.2 + 0.8 * (1 - math.exp(-4 * w)))
                p = point(-0.4 + self.length + 0.5 * r, 0.1) + self.drift * w
                canvas.sprite(
                    self.cloud,
                    affine(p[0], p[1], r, 0.8 * r),
                    self.smoke * math.exp(-2.5 * w) * min(1.0, w / 0.02),
                )
        if u < self.flash:
            r = self.size * (1.2 - u / self.flash)
            canvas.sprite(self.glow, affine(muzzle[0] + 0.3 * r, muzzle[1], r, 0.7 * r))

    def _sparks(self, canvas: Canvas, centre: Point, u: float) -> None:
        if u > self.life:
            return
        shade = 255 * (1 - u / self.life) ** 0.5
        reach = self.size * 1.5 * (1 - math.exp(-4 * u))
        for a, v in zip(self.rays, self.speeds, strict=True):
            p = centre + reach * v * direction(a) + point(0, 0.3 * u * u)
            canvas.bar(p - 0.15 * reach * direction(a), p + 0.03 * direction(a), 0.03, shade)
        if u < 0.15:
            r = self.size * (1 - u / 0.15) + 0.05
            canvas.sprite(self.glow, affine(centre[0], centre[1], r, r))


class Texture(Program):
    """Endless motion with a slowly varying intensity: rain, flames, waves, a rotor, vibration."""

    def __init__(self, rng: Rng, seconds: float) -> None:
        super().__init__()
        self.what = pick(rng, "rain", "flames", "waves", "rotor", "vibration")
        self.level, self.base = Wobble.random(rng, 0.25, 0.1, 0.6), float(rng.uniform(0.3, 0.8))
        self.sprite = Sprite(rng, "any")
        self.drops = rng.uniform(-1.5, 1.5, (30, 2))
        self.rate, self.size = float(rng.uniform(2, 14)), float(rng.uniform(0.2, 0.9))
        self.shade, self.blades = int(rng.integers(0, 256)), int(rng.integers(2, 6))
        self.wobbles = [Wobble.random(rng, 0.3, 2.0, 9.0) for _ in range(6)]
        self.noise = noise_image(rng, 32)

    def activity(self, t: float) -> float:
        return float(min(1.0, max(0.05, self.base + self.level.at(t))))

    def draw(self, canvas: Canvas, t: float) -> None:
        a = self.activity(t)
        if self.what == "rain":
            for x, y in self.drops[: int(30 * a) + 1]:
                p = point(x, (y + self.rate * 0.4 * t) % 3.0 - 1.5)
                canvas.bar(p, p + point(0.02, 0.18), 0.02, self.shade)
        elif self.what == "flames":
            for k, w in enumerate(self.wobbles):
                tall = max(0.1, a + w.at(t))
                foot = point((k - 2.5) * 0.22 * self.size, 0.2)
                canvas.poly(
                    np.stack(
                        [
                            foot - point(0.15, 0),
                            foot + point(0.2 * w.at(t + 0.1), -tall),
                            foot + point(0.15, 0),
                        ]
                    ),
                    150 + 17 * k,
                )
        elif self.what == "waves":
            x = np.linspace(-2, 2, 24)
            for k, w in enumerate(self.wobbles[:4]):
                y = 0.2 * k - 0.2 + 0.15 * a * np.sin(4 * x + self.rate * 0.3 * t + k) + 0.1 * a * w.at(t)
                canvas.poly(
                    np.concatenate([np.stack([x, y], 1), [[2, 3], [-2, 3]]]), (self.shade + 37 * k) % 256
                )
        elif self.what == "rotor":
            for k in range(self.blades):
                angle = self.rate * 3 * t + k * 2 * math.pi / self.blades
                canvas.bar(point(0, 0), self.size * direction(angle), 0.15, self.shade, 1.3)
        else:
            shift = 0.06 * a * math.sin(2 * math.pi * self.rate * 2 * t)
            canvas.sprite(self.sprite, affine(shift, 0.5 * shift, self.size, self.size))


class Quiet(Program):
    """Things that move without sound: waving limbs, drifting and turning shapes, people shifting about."""

    def __init__(self, rng: Rng, seconds: float, count: int | None = None) -> None:
        super().__init__()
        n = int(rng.integers(1, 4)) if count is None else count
        self.sprites = [Sprite(rng) for _ in range(n)]
        self.sizes = np.exp(rng.uniform(math.log(0.08), math.log(0.7), (n, 2)))
        pace = float(rng.uniform(0.3, 2.0))
        self.paths = [
            [
                Wobble.random(rng, 0.5, 0.1, pace),
                Wobble.random(rng, 0.3, 0.1, pace),
                Wobble.random(rng, 0.5, 0.1, pace),
            ]
            for _ in range(n)
        ]
        self.homes = rng.uniform(-1, 1, (n, 2))
        self.limb = rng.random(n) < 0.5
        self.shades = rng.integers(0, 256, n)

    def draw(self, canvas: Canvas, t: float) -> None:
        for sprite, (rx, ry), (wx, wy, wa), home, limb, shade in zip(
            self.sprites, self.sizes, self.paths, self.homes, self.limb, self.shades, strict=True
        ):
            if limb:
                joint = home + 0.5 * direction(2 * wa.at(t) - 1.5)
                canvas.bar(home, joint, 0.3 * rx + 0.05, shade, 0.8)
                canvas.bar(joint, joint + 0.5 * direction(2 * wx.at(t) - 1.5), 0.25 * rx + 0.04, shade, 0.7)
            else:
                canvas.sprite(sprite, affine(home[0] + wx.at(t), home[1] + wy.at(t), rx, ry, wa.at(t)))

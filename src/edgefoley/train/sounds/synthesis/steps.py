"""Footsteps: a heel, a roll over the sole and a toe on hard ground, or a crush of loose ground.

Loose ground is granular: while the foot presses, micro-impacts arrive at a rate that follows the force, each
filtered by what is crushed (Cook, "Modeling Bill's gait: analysis and parametric synthesis of walking
sounds", AES 22nd conference, 2002; Fontana & Bresin, "Physics-based sound synthesis and control: crushing,
walking and running by crumpling sounds", 2003). Force on the ground has two humps, heel strike and push off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.modal import MATERIALS, Body, body, hit, plate_pitch
from edgefoley.train.sounds.synthesis.noise import (
    Points,
    drift,
    filtered,
    instants,
    noise,
    pick,
    power_law,
)
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw, scatter


@dataclass(frozen=True)
class Ground:
    """grains: spectrum of one micro-impact; wash: spectrum of the finest, unresolved ones; rate:
    micro-impacts per second at full force; wash_level, thump_level: against the grains; grain_ms: decay of a
    micro-impact; exponent: of the power law of their sizes."""

    grains: Points
    wash: Points
    rate: float
    wash_level: float
    thump_level: float
    grain_ms: float
    exponent: float


GROUNDS: Final[dict[str, Ground]] = {
    "gravel": Ground(
        [(150, -20), (500, -4), (1400, 0), (3500, -5), (12_000, -24)],
        [(150, -16), (1000, 0), (3500, -5), (14_000, -26)], 900, 0.25, 0.5, 2.2, 1.6),
    "snow": Ground(
        [(150, -12), (500, 0), (1500, -4), (4000, -16), (12_000, -40)],
        [(100, -12), (400, 0), (1200, -5), (4000, -20), (12_000, -44)], 1600, 0.5, 0.4, 1.6, 1.9),
    "grass": Ground(
        [(300, -18), (1500, -6), (4000, 0), (9000, -6), (16_000, -20)],
        [(80, -4), (400, 0), (2000, -3), (6000, -8), (16_000, -26)], 320, 1.0, 1.1, 1.2, 2.0),
    "leaves": Ground(
        [(400, -20), (1800, -3), (4500, 0), (10_000, -5), (18_000, -18)],
        [(300, -20), (2000, -2), (5000, 0), (11_000, -8), (18_000, -22)], 700, 0.35, 0.3, 1.4, 1.45),
    "sand": Ground(
        [(200, -16), (800, -2), (2500, 0), (7000, -8), (14_000, -24)],
        [(120, -12), (700, 0), (2500, -2), (7000, -12), (14_000, -28)], 900, 1.4, 0.8, 0.5, 2.3),
    "earth": Ground(
        [(80, -8), (250, 0), (900, -8), (3000, -20), (9000, -40)],
        [(80, -6), (250, 0), (900, -9), (3000, -22), (9000, -40)], 180, 0.5, 1.6, 2.0, 1.9),
}  # fmt: skip


def pressure(rng: Generator, samples: int, strength: float) -> tuple[Array, float]:
    """(force (samples,) 0..1 of one step, seconds to the push off): a steep heel strike and a rounder push
    off; a hard step is shorter."""
    t = clock(samples)
    roll = draw(rng, 0.13, 0.2) * (1.3 - 0.5 * strength)
    width = roll * 0.38
    heel = np.minimum(t / 0.012, 1.0) * np.exp(-0.5 * (np.maximum(t - 0.012, 0) / width) ** 2)
    toe = draw(rng, 0.45, 0.95) * np.exp(-0.5 * ((t - roll * 1.35) / (width * 1.2)) ** 2)
    return np.maximum(heel, toe), roll * 1.35


def thump(rng: Generator, samples: int, pitch: float, decay_s: float) -> Array:
    """A dull blow from sample 0 that falls slightly in pitch, peak about 1: weight on the ground, a panel, a
    chest."""
    t = clock(samples)
    phase = 2 * np.pi * pitch * (t + 0.35 * decay_s * (1 - np.exp(-t / decay_s)))
    shape = (1 - np.exp(-t * 700)) * np.exp(-t / decay_s)
    muffled = noise(
        rng, samples, [(30, -12), (pitch, 0), (pitch * 3, -10), (pitch * 12, -40), (pitch * 40, -80)]
    )
    return np.asarray((np.sin(phase) + 0.5 * muffled) * shape)


def crush(rng: Generator, ground: str, force: Array, brightness: float = 1.0, fineness: float = 1.0) -> Array:
    """Loose ground under ``force`` (samples,) 0..1: grains at a rate ~ force^1.5 and the wash of the finest,
    peak about 1. ``brightness`` shifts the spectra in frequency, ``fineness`` divides the grains' decay."""
    kind = GROUNDS[ground]
    samples = len(force)
    length = int(kind.grain_ms * 8e-3 * RATE / fineness) + 48
    t = clock(length)
    grains = np.empty((40, length))
    for row in grains:
        shifted = [(hz * brightness * draw(rng, 0.7, 1.45), db) for hz, db in kind.grains]
        shifted.sort()
        decay = kind.grain_ms * 1e-3 / fineness * draw(rng, 0.4, 2.0)
        row[:] = noise(rng, length, shifted) * np.exp(-t / decay) * (1 - np.exp(-t * 9000))
    starts = instants(rng, kind.rate * force**1.5, samples)
    gains = power_law(rng, len(starts), kind.exponent, 0.03, 1.0)
    at_force = force[np.minimum(starts.astype(np.int64), samples - 1)]
    out = np.zeros(samples)
    scatter(out, grains, pick(rng, len(starts), 40), starts, gains * (0.3 + 0.7 * at_force))
    out /= np.abs(out).max() + 1e-12
    wash = noise(rng, samples, [(hz * brightness, db) for hz, db in kind.wash])
    wash *= force**1.3 * drift(rng, samples, 60, 0.35)
    return out + kind.wash_level * 0.3 * wash


def loose_step(body_rng: Generator, rng: Generator, ground: str, strength: float, seconds: float) -> Array:
    """One step on loose ground from sample 0; ``body_rng`` draws shoe and ground, ``rng`` the step."""
    brightness, fineness = draw(body_rng, 0.75, 1.3), draw(body_rng, 0.7, 1.5)
    weight = draw(body_rng, 0.6, 1.5)
    samples = count(seconds)
    force, _ = pressure(rng, samples, strength)
    out = crush(
        rng, ground, force * (0.35 + 0.65 * strength), brightness * (0.75 + 0.45 * strength), fineness
    )
    out /= np.abs(out).max() + 1e-12
    heel = thump(rng, samples, draw(rng, 55, 95), 0.025)
    return out * (1 - np.exp(-clock(samples) * 900)) + GROUNDS[ground].thump_level * weight * 0.35 * heel


def hard_step(
    rng: Generator, floor: Body, sole: float, strength: float, seconds: float, boom: float = 0.5
) -> Array:
    """One step on a floor that rings as ``floor``: heel at sample 0, a brush of the sole, toe later.
    ``sole``: softness of the shoe (0.5 stiletto, 2 leather, 8 rubber, 20 bare); ``boom``: of what lies below.
    """
    samples = count(seconds)
    _, push = pressure(rng, samples, strength)
    heel = hit(rng, floor, strength, seconds, sole)
    out = heel / (np.abs(heel).max() + 1e-12)
    toe_at = int(push * 0.55 * RATE)
    toe = hit(rng, floor, strength * 0.7, seconds, sole * 1.8)
    add_at(out, toe / (np.abs(toe).max() + 1e-12), toe_at, draw(rng, 0.2, 0.5))
    t = clock(samples)
    brush = noise(rng, samples, [(300, -18), (1500, 0), (5000, -4), (12_000, -22)])
    brush *= np.exp(-0.5 * ((t - push * 0.45) / 0.03) ** 2) * drift(rng, samples, 80, 0.5)
    out += draw(rng, 0.008, 0.04) * brush * np.minimum(t / 0.01, 1)
    return out + boom * thump(rng, samples, draw(rng, 60, 120), 0.03)


def floor_body(rng: Generator, material: str) -> Body:
    """A floor as a body: boards, a metal stair or grating, concrete, tiles, ice."""
    if material == "wood":
        return body(rng, "plate", "wood", draw(rng, 75, 180), 30, draw(rng, 1.2, 2.5), 30)
    if material == "metal":
        thickness, length, width = draw(rng, 0.003, 0.006), draw(rng, 0.4, 0.8), draw(rng, 0.25, 0.4)
        sheet = plate_pitch(MATERIALS["metal"], length, width, thickness)
        return body(rng, "plate", "metal", sheet, 40, draw(rng, 6, 18), 30)
    if material == "ice":
        return body(rng, "block", "ice", draw(rng, 250, 600), 24, draw(rng, 1.5, 3), 20)
    return body(rng, "block", "concrete", draw(rng, 180, 420), 24, draw(rng, 1.5, 3.5), 20)


def wet_step(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A step into shallow water from sample 0: slap, then spray and bubbles while the foot leaves."""
    from edgefoley.train.sounds.synthesis.liquid import bubble_cloud, splash

    samples = count(seconds)
    depth = draw(body_rng, 0.4, 1.6)
    out = splash(rng, strength, seconds, 0.5 * depth)
    force, push = pressure(rng, samples, strength)
    drops = bubble_cloud(rng, 90 * force, (0.5e-3, 3e-3 * depth))
    squelch = filtered(
        noise(rng, samples, [(200, -6), (1200, 0), (6000, -8), (14_000, -26)]), [(60, -30), (150, 0)]
    )
    late = np.exp(-0.5 * ((clock(samples) - push) / 0.05) ** 2) * drift(rng, samples, 90, 0.8)
    return out / np.abs(out).max() + 0.35 * drops / (np.abs(drops).max() + 1e-12) + 0.05 * squelch * late
